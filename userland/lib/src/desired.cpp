// SPDX-License-Identifier: GPL-2.0
#include "pav/desired.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace pav {

namespace {

using Pair = std::pair<std::string, std::string>;  // active, standby

// One number less than nvmet has stays free: the planner moves a namespace there before it disables it.
constexpr unsigned last_pair_group = nvmet::max_ana_group - 1;

bool has_state(const nvmet::State &current, const Port &port, unsigned group, nvmet::AnaState state) {
    const auto it = current.ports.find(nvmet_port_id(port));
    if (it == current.ports.end()) return false;
    const auto found = it->second.ana_groups.find(group);
    return found != it->second.ana_groups.end() && found->second == state;
}

Result<std::map<Pair, unsigned>> number_pairs(const Config &config, const std::set<Pair> &pairs, const nvmet::State &current) {
    std::map<Pair, unsigned> numbers;
    std::set<unsigned> taken;
    for (const auto &pair : pairs)
        for (unsigned group = 2; group <= last_pair_group; group++) {
            if (taken.contains(group)) continue;
            if (!has_state(current, *config.port(pair.first), group, nvmet::AnaState::optimized)) continue;
            if (!has_state(current, *config.port(pair.second), group, nvmet::AnaState::non_optimized)) continue;
            numbers[pair] = group;
            taken.insert(group);
            break;
        }
    unsigned next = 2;
    for (const auto &pair : pairs) {
        if (numbers.contains(pair)) continue;
        while (taken.contains(next)) next++;
        if (next > last_pair_group)
            return Error{"number the ANA groups", fmt::format("{} / {}", pair.first, pair.second), 0,
                         fmt::format("nvmet has {} groups, two for each pair of ports in use", nvmet::max_ana_group),
                         "assign volumes to pairs of ports that are in use already"};
        numbers[pair] = next;
        taken.insert(next);
    }
    return numbers;
}

bool linked_now(const nvmet::State &current, const Port &port, const std::string &nqn) {
    const auto it = current.ports.find(nvmet_port_id(port));
    return it != current.ports.end() && it->second.subsystems.contains(nqn);
}

std::string unknown_port(const Config &config, const std::string &name) {
    return fmt::format("port {} is not in {}", name, config.file);
}

nvmet::Subsystem subsystem_of(const Config &config, const Volume &volume, const Export &exported, unsigned ana_group, const nvmet::State &current) {
    nvmet::Subsystem s;
    s.serial = volume.serial;
    // Once a host has seen a subsystem the kernel refuses to change its model, and with that the whole plan would be refused. So another
    // model in the file is for subsystems that are made from now on. What is no model of ours was left half built.
    const auto live = current.subsystems.find(nqn_of(volume));
    const bool fixed = live != current.subsystems.end() && live->second.model && check_model(*live->second.model);
    s.model = fixed ? *live->second.model : config.model;
    s.allow_any_host = exported.allow_any;
    s.allowed_hosts = exported.hosts;
    nvmet::Namespace n;
    n.device_path = "/dev/" + volume.block_device;
    if (!is_nil(volume.uuid)) n.uuid = to_string(volume.uuid);
    if (!is_nil(volume.nguid)) n.nguid = to_string(volume.nguid);
    n.ana_grpid = ana_group;
    s.namespaces.emplace(1, std::move(n));
    return s;
}

nvmet::Port &port_entry(const Config &config, const Port &port, nvmet::State &state) {
    auto &entry = state.ports[nvmet_port_id(port)];
    entry.trtype = nvmet_transport(config.protocol_of(port));
    entry.traddr = port.ip;
    entry.trsvcid = port.trsvcid;
    entry.ana_groups[1] = nvmet::AnaState::optimized;
    return entry;
}

}  // namespace

Result<Desired> derive(const Config &config, const std::vector<Volume> &volumes, const nvmet::State &current,
                       const PortCheck &not_ready) {
    Desired desired;
    std::set<Pair> pairs;
    // Ports that this host does not have are left out; what remains of a pair is served alone.
    std::vector<std::pair<const Volume *, Export>> served;
    for (const auto &volume : volumes) {
        Export exported = export_of(volume.props);
        if (!exported.assigned()) continue;
        if (volume.serial.empty() || volume.block_device.empty()) {
            desired.left_out.push_back({volume.full_name(), "", "the engine gives no serial or block device for it"});
            continue;
        }
        std::erase_if(exported.ports, [&](const std::string &name) {
            if (config.port(name)) return false;
            desired.left_out.push_back({volume.full_name(), name, unknown_port(config, name)});
            return true;
        });
        if (exported.ports.empty()) continue;
        if (!exported.has_port(exported.active)) exported.active = exported.ports.front();
        if (exported.ports.size() == 2) {
            pairs.emplace(exported.ports[0], exported.ports[1]);
            pairs.emplace(exported.ports[1], exported.ports[0]);
        }
        served.emplace_back(&volume, std::move(exported));
    }
    auto numbers = number_pairs(config, pairs, current);
    if (!numbers) return numbers.error();

    std::map<std::string, std::optional<std::string>> checked;  // by port name; one look each
    for (const auto &[volume, exported] : served) {
        const std::string nqn = nqn_of(*volume);
        const unsigned group = exported.ports.size() == 2 ? (*numbers)[{exported.active, exported.standby()}] : 1;
        if (!desired.state.subsystems.emplace(nqn, subsystem_of(config, *volume, exported, group, current)).second)
            return Error{"serve the volume", volume->full_name(), 0,
                         fmt::format("another volume has the NQN {} too", nqn),
                         "one is a copy of the other: export the group that was not meant"};
        for (const auto &name : exported.ports) {
            const Port &port = *config.port(name);
            auto &entry = port_entry(config, port, desired.state);
            const auto [it, fresh] = checked.try_emplace(name);
            if (fresh) {
                it->second = not_ready(port);
                if (it->second) desired.left_out.push_back({"", name, *it->second});
            }
            if (!it->second || linked_now(current, port, nqn)) entry.subsystems.insert(nqn);
        }
    }
    for (const auto &[pair, number] : *numbers) {
        desired.state.ports[nvmet_port_id(*config.port(pair.first))].ana_groups[number] = nvmet::AnaState::optimized;
        desired.state.ports[nvmet_port_id(*config.port(pair.second))].ana_groups[number] = nvmet::AnaState::non_optimized;
    }
    return desired;
}

Result<void> check_ports(const Config &config, const std::vector<std::string> &ports, unsigned group_zone,
                         const std::string &volume) {
    const auto refuse = [&](std::string reason, std::string remedy) {
        return Error{"assign the volume", volume, 0, std::move(reason), std::move(remedy)};
    };
    std::vector<std::string> names;
    for (const auto &[name, port] : config.ports) names.push_back(name);
    for (const auto &name : ports) {
        if (config.port(name)) continue;
        const auto near = nearest(name, names);
        return refuse(unknown_port(config, name), near ? fmt::format("did you mean {}?", *near)
                                                       : fmt::format("there are: {}", fmt::join(names, ", ")));
    }
    if (ports.size() > 2)
        return refuse(fmt::format("it is on {} and {} already, and an HA pair has exactly two ports", ports[0], ports[1]),
                      fmt::format("take one away first: pavcfg unassign volume name {} port-name {}", volume, ports[1]));
    if (ports.size() == 2) {
        const Port &a = *config.port(ports[0]), &b = *config.port(ports[1]);
        if (config.zone_of(a) != config.zone_of(b))
            return refuse(fmt::format("{} is in zone {} and {} in zone {}: an HA pair lies in one zone", a.name,
                                      config.zone_of(a), b.name, config.zone_of(b)),
                          "choose ports of the same zone; see pavcfg show ports");
        if (a.controller == b.controller)
            return refuse(fmt::format("{} and {} belong to one controller ({}): losing it would lose both paths", a.name, b.name,
                                      a.controller), "choose ports of different controllers; see pavcfg show ports");
    }
    for (const auto &name : ports)
        if (const unsigned zone = config.zone_of(*config.port(name)); group_zone && zone != group_zone)
            return refuse(fmt::format("its group is in zone {} and port {} in zone {}", group_zone, name, zone),
                          fmt::format("choose a port of zone {}; see pavcfg show ports", group_zone));
    return {};
}

void claim(nvmet::Owned &owned, const Config &config, const std::vector<Volume> &volumes) {
    owned.port_range = {nvmet_port_first, nvmet_port_last};
    owned.nqn_prefixes = {config.serial_prefix};
    for (const auto &volume : volumes)
        if (!volume.serial.empty()) owned.subsystems.insert(nqn_of(volume));
}

Live live_of(const Config &config, const Volume &volume, const nvmet::State &current) {
    Live live;
    const std::string nqn = nqn_of(volume);
    const auto subsystem = current.subsystems.find(nqn);
    if (subsystem == current.subsystems.end()) return live;
    const auto ns = subsystem->second.namespaces.find(1);
    if (ns == subsystem->second.namespaces.end() || !ns->second.enable) return live;
    live.served = true;
    for (const auto &[name, port] : config.ports) {
        if (!linked_now(current, port, nqn)) continue;
        live.linked_ports.push_back(name);
        const auto &groups = current.ports.at(nvmet_port_id(port)).ana_groups;
        const auto state = groups.find(ns->second.ana_grpid);
        const auto path = state == groups.end() ? nvmet::AnaState::inaccessible : state->second;
        live.paths[name] = path;
        if (path == nvmet::AnaState::optimized) live.active = name;
    }
    return live;
}

}  // namespace pav
