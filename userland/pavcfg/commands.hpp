// SPDX-License-Identifier: GPL-2.0
//
// The language of pavcfg: one table of commands, from which the parser, the help, the completion and the manual page come.
//
// A command is its words ("create volume"), then parameters in any order, each a key and a value ("size 100 GB"), as in the
// array's guide. A flag is a key alone ("preferred"). A list takes all words up to the next key ("drives /dev/nvme0n1 …").
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pav/model.hpp"

namespace pav::cli {

enum class ArgType {
    name,     // of something new
    group,
    volume,
    port,     // "100g-1/3"
    host,     // NQN, or "any"
    number,   // Param::low … Param::high
    size,     // "100 GB": two words or one
    choice,   // one of Param::choices
    drives,   // list of paths
    drive,    // a path, or the number of a slot
    flag,
};

struct Param {
    std::string_view key;
    ArgType type;
    std::string_view placeholder;
    std::string_view help;
    bool required = false;
    bool bare = false;  // the key may be left out when the value comes first
    unsigned low = 0, high = 0;
    std::vector<std::string_view> choices = {};
};

enum class Id {
    create_group, create_volume, assign_volume, unassign_volume, allow_host, disallow_host,
    failover, failback, configure_controller, grow_volume, rename_volume, delete_volume, delete_group,
    import_group, export_group, checkpoint_group, fail_drive, wipe_drives,
    replace_drive, add_drives, remove_drive, return_drive, scrub_group, restore,
    show_groups, show_drives, show_tasks, show_volumes, show_volume, show_controllers, show_ports, show_hosts, show_status, show_events,
    show_mapped_network, help,
};

struct Command {
    Id id;
    std::string_view words;
    std::vector<Param> params;
    std::string_view summary;   // one line
    std::string_view details;   // paragraphs; may be empty
    std::string_view example;   // without "pavcfg"
    std::string_view question;  // not empty: the command asks this, or needs --yes
    std::string_view fillers;   // words that may stand before a key, for reading's sake: "to"
};

const std::vector<Command> &commands();

// A command as it was given, values checked for their form.
struct Call {
    const Command *command = nullptr;
    std::map<std::string, std::vector<std::string>, std::less<>> values;  // by key; a flag has an empty list

    bool has(std::string_view key) const { return values.find(key) != values.end(); }
    std::string text(std::string_view key) const;  // empty if it is not there
    unsigned number(std::string_view key, unsigned otherwise = 0) const;
    std::uint64_t size(std::string_view key) const;
    const std::vector<std::string> &list(std::string_view key) const;
};

// A wrong word is an error that names it and what was probably meant; its remedy is the command's usage.
Result<Call> parse(const std::vector<std::string> &words);

std::string usage(const Command &command);          // one line
std::string help_for(const std::vector<std::string> &words);  // of all commands, of a verb, or of one command
std::string manual_section();                       // troff, for pavcfg.8

// What may come next. Values that only the running array knows come from `values`.
using ValuesOf = std::function<std::vector<std::string>(ArgType type)>;
std::vector<std::string> complete(const std::vector<std::string> &words, const std::string &partial, const ValuesOf &values);

}  // namespace pav::cli
