// SPDX-License-Identifier: GPL-2.0
//
// From what is recorded to what nvmet should look like. Pure.
//
// One subsystem a volume, with one namespace (NSID 1). One nvmet port for each port of the array that serves something.
//
// ANA. A group (x, y) stands for "x is active, y is standby": optimized on x, non-optimized on y, and it exists on these two
// ports only. Both orders of a pair that is in use exist. A volume on two ports is in the group (active, standby); failover
// moves it to the group of the opposite order, which nvmet does in one step for both paths, and which concerns no other
// volume. A volume on one port is in group 1, which is optimized everywhere.
// The numbers of the groups have no meaning. A pair keeps the numbers it has in the running kernel; a new pair gets the
// lowest free ones. So nothing moves when volumes come and go.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pav/model.hpp"
#include "pav/nvmet.hpp"

namespace pav {

// What is recorded, but cannot be served now, and why.
struct LeftOut {
    std::string volume;  // full name; empty: concerns the port as a whole
    std::string port;    // empty: concerns the volume as a whole
    std::string reason;
};

struct Desired {
    nvmet::State state;
    std::vector<LeftOut> left_out;
};

// Why a port cannot listen now, or nothing.
using PortCheck = std::function<std::optional<std::string>(const Port &port)>;

// A port that cannot listen now gets no new links; links that the kernel has stay. Two volumes with one NQN are refused.
Result<Desired> derive(const Config &config, const std::vector<Volume> &volumes, const nvmet::State &current,
                       const PortCheck &not_ready);

// R12's rules, and that the group's zone owns the ports. `group_zone` 0: not known, not checked.
Result<void> check_ports(const Config &config, const std::vector<std::string> &ports, unsigned group_zone,
                         const std::string &volume);

// What is pavcfg's in nvmet whatever the file of owned names says: its range of port numbers, and the names that begin with the
// array's serial prefix. `owned` gets these and the NQNs of all volumes.
void claim(nvmet::Owned &owned, const Config &config, const std::vector<Volume> &volumes);

// What the running kernel really does with a volume.
struct Live {
    bool served = false;                        // has an enabled namespace
    std::vector<std::string> linked_ports;      // port names
    std::map<std::string, nvmet::AnaState> paths;  // by port name, of linked ports
    std::string active;                         // the optimized path; empty: none
};
Live live_of(const Config &config, const Volume &volume, const nvmet::State &current);

}  // namespace pav
