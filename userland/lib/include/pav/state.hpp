// SPDX-License-Identifier: GPL-2.0
//
// /var/lib/pav/state.json: what commands decided for this host. The configuration file belongs to people, its comments and
// its order too, so a program never writes it; what a command decides overrides it from here. The file is replaced as a whole;
// without it the configuration file holds and groups find their zone by their volumes' ports.
#pragma once

#include <map>
#include <set>
#include <string>

#include "pav/model.hpp"

namespace pav {

struct HostState {
    std::map<unsigned, Protocol> protocols;      // by controller: differs from the file
    std::map<std::string, unsigned> group_zones; // by group UUID
    std::set<std::string> exported_groups;       // by group UUID: `restore` leaves them alone

    bool operator==(const HostState &) const = default;
};

inline constexpr const char *default_state_file = "/var/lib/pav/state.json";

// A file that does not exist gives an empty state. A damaged one is an error that names line and column or the key.
Result<HostState> load_state(const std::string &file);
Result<void> save_state(const std::string &file, const HostState &state);

// Puts the state's protocols over the file's.
void overlay(Config &config, const HostState &state);

}  // namespace pav
