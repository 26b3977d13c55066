// SPDX-License-Identifier: GPL-2.0
//
// /var/lib/pav/state.json: what commands decided for this host, and which groups it has. The configuration file belongs to people,
// its comments and its order too, so a program never writes it; what a command decides overrides it from here. The file is replaced
// as a whole; without it the configuration file holds, groups find their zone by their volumes' ports, and a boot waits only for
// groups of which a drive is there.
#pragma once

#include <map>
#include <string>

#include "pav/model.hpp"

namespace pav {

// A group that was made or opened here, and not deleted since.
struct HostGroup {
    std::string name;       // when it was last open here
    unsigned zone = 0;      // 0: no command said
    bool exported = false;  // `restore` neither waits for it nor opens it

    bool operator==(const HostGroup &) const = default;
};

struct HostState {
    std::map<unsigned, Protocol> protocols;   // by controller: differs from the file
    std::map<std::string, HostGroup> groups;  // by UUID

    bool is_exported(const std::string &uuid) const {
        const auto it = groups.find(uuid);
        return it != groups.end() && it->second.exported;
    }

    bool operator==(const HostState &) const = default;
};

inline constexpr const char *default_state_file = "/var/lib/pav/state.json";

// A file that does not exist gives an empty state. A damaged one is an error that names line and column or the key.
Result<HostState> load_state(const std::string &file);
Result<void> save_state(const std::string &file, const HostState &state);

// Puts the state's protocols over the file's.
void overlay(Config &config, const HostState &state);

}  // namespace pav
