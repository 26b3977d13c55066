// SPDX-License-Identifier: GPL-2.0
//
// What is there, all of it, for the show commands.
#include <algorithm>
#include <set>

#include "pav/array.hpp"

namespace pav {

Result<Snapshot> Array::snapshot() {
    if (auto ready = begin(Access::look); !ready) return ready.error();
    Snapshot snap;
    snap.config = config_;
    snap.engine_loaded = real_engine_ != nullptr;
    auto current = read_nvmet(&snap.nvmet_loaded);
    if (!current) return current.error();
    auto groups = engine_->groups();
    if (!groups) return groups.error();
    auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    for (auto &group : *groups) {
        auto drives = engine_->drives(group.name);
        if (!drives) return drives.error();
        snap.groups.push_back({group, zone_of_group(group, *volumes), std::move(drives).value(), std::string(status_of(group))});
    }
    std::set<std::string> open;
    for (const auto &group : *groups) open.insert(to_string(group.uuid));
    for (const auto &[uuid, known] : state_.groups)
        if (snap.engine_loaded && !known.exported && !open.contains(uuid)) snap.closed_groups.push_back(known.name.empty() ? uuid : known.name);
    for (const auto &volume : *volumes) {
        VolumeView view{volume, 0, export_of(volume.props), nqn_of(volume), "Online", live_of(config_, volume, *current), {}};
        for (const auto &name : view.exported.ports)
            if (const Port *port = config_.port(name); port && !view.protocol) view.protocol = config_.protocol_of(*port);
        const auto group = std::find_if(snap.groups.begin(), snap.groups.end(), [&](const auto &g) { return g.group.name == volume.group; });
        if (group != snap.groups.end()) {
            view.zone = group->zone;
            view.status = group->status;
        }
        snap.volumes.push_back(std::move(view));
    }
    for (const auto &[name, port] : config_.ports) {
        PortView view{port, config_.zone_of(port), config_.protocol_of(port), machine_.network.look(port.interface, port.ip), {}, {}, {}, {}};
        view.not_ready = why_not_ready(port, view.protocol, view.interface);
        for (const auto &volume : snap.volumes) {
            if (!volume.exported.ports.empty() && volume.exported.ports.front() == name) view.preferred_of.push_back(volume.volume.full_name());
            if (volume.live.active == name) view.active_of.push_back(volume.volume.full_name());
            if (volume.live.paths.contains(name)) view.serves.push_back(volume.volume.full_name());
        }
        snap.ports.push_back(std::move(view));
    }
    Desired desired;
    if (auto drift = plan_for(*volumes, desired))
        snap.drift = std::move(drift).value();
    else
        snap.drift_error = drift.error();
    snap.left_out = std::move(desired.left_out);
    return snap;
}

bool Snapshot::needs_attention() const {
    if (!engine_loaded || !closed_groups.empty() || !left_out.empty() || !drift.empty() || drift_error) return true;
    return std::any_of(groups.begin(), groups.end(), [](const GroupView &view) {
        return view.group.state != GroupState::online ||
               std::any_of(view.drives.begin(), view.drives.end(), [](const Drive &drive) { return drive.state == DriveState::failed; }) ||
               std::any_of(view.group.tasks.begin(), view.group.tasks.end(), [](const Task &task) { return task.lost != 0; });
    });
}

}  // namespace pav
