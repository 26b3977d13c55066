// SPDX-License-Identifier: GPL-2.0
#include "pavcfg/render.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pav::cli {

using nlohmann::json;

namespace {

std::size_t width_of(const std::string &text) {  // characters of UTF-8
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string joined(const std::vector<std::string> &items, const char *none = "-") {
    return items.empty() ? none : fmt::format("{}", fmt::join(items, ", "));
}

std::string or_dash(const std::string &text) { return text.empty() ? "-" : text; }

std::string percent(std::uint64_t part, std::uint64_t whole) {
    return whole ? fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole)) : "-";
}

std::string zone_text(unsigned zone) { return zone ? std::to_string(zone) : "-"; }

json zone_json(unsigned zone) { return zone ? json(zone) : json(); }

auto drives_that_are(const GroupView &view, DriveState state) {
    return std::count_if(view.drives.begin(), view.drives.end(), [&](const Drive &d) { return d.state == state; });
}

auto volumes_of_group(const Snapshot &snap, const GroupView &view) {
    return std::count_if(snap.volumes.begin(), snap.volumes.end(), [&](const auto &v) { return v.volume.group == view.group.name; });
}

std::string counters_text(const Counters &counters, const char *indent) {
    std::string out;
    for (const auto &[name, value] : counters) out += fmt::format("{}{:<24} {}\n", indent, name, value);
    return out;
}

std::string hosts_of(const Export &exported) {
    if (exported.allow_any) return "any";
    return joined({exported.hosts.begin(), exported.hosts.end()}, "none");
}

std::vector<const VolumeView *> of_port(const Snapshot &snap, const std::string &port) {
    std::vector<const VolumeView *> volumes;
    for (const auto &volume : snap.volumes)
        if (volume.exported.has_port(port)) volumes.push_back(&volume);
    return volumes;
}

std::vector<std::string> volumes_of_controller(const Snapshot &snap, unsigned controller) {
    std::vector<std::string> names;
    for (const auto &port : snap.ports)
        if (port.port.controller == controller)
            for (const auto *volume : of_port(snap, port.port.name)) names.push_back(volume->volume.full_name());
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

// Of a drive that no open group uses. Whether a host whose stamp is on it still lives, the stamp does not tell; an import does.
std::string closed_state(const Snapshot &snap, const DriveLabel &label) {
    const bool open = std::any_of(snap.groups.begin(), snap.groups.end(), [&](const auto &view) { return view.group.uuid == label.group_uuid; });
    if (open) return "out of its group";
    return label.owner.empty() ? "group not open" : fmt::format("group open on {}, or left so", label.owner);
}

std::string left_out_text(const LeftOut &left) {
    if (left.volume.empty() && left.port.empty()) return left.reason;
    if (left.volume.empty()) return fmt::format("port {}: {}", left.port, left.reason);
    return fmt::format("volume {}: {}", left.volume, left.reason);
}

}  // namespace

std::string Table::text() const {
    std::vector<std::size_t> widths;
    for (const auto &column : columns_) widths.push_back(width_of(column));
    for (const auto &row : rows_)
        for (std::size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], width_of(row[i]));
    const auto line = [&](char c) {
        std::string out = "+";
        for (const auto width : widths) out += std::string(width + 2, c) + "+";
        return out + "\n";
    };
    const auto cells = [&](const std::vector<std::string> &row) {
        std::string out = "|";
        for (std::size_t i = 0; i < row.size(); i++) out += " " + row[i] + std::string(widths[i] - width_of(row[i]), ' ') + " |";
        return out + "\n";
    };
    std::string out = line('-') + cells(columns_) + line('=');
    for (const auto &row : rows_) out += cells(row);
    return rows_.empty() ? out : out + line('-');
}

// ---- groups and drives --------------------------------------------------------------------------------------------------

std::string groups_text(const Snapshot &snap, const std::string &only) {
    Table table({"Name", "Zone", "Status", "RAID", "Drives", "Spares", "Failed", "Volumes", "Logical", "Physical", "Physical %", "Capacity", "Free",
                 "Overcommit", "Full In"});
    for (const auto &view : snap.groups) {
        if (!only.empty() && view.group.name != only) continue;
        const auto count = [&](DriveState state) { return std::to_string(drives_that_are(view, state)); };
        table.add({view.group.name, zone_text(view.zone), view.status, fmt::format("{}+2", view.group.data_drives), count(DriveState::active), count(DriveState::spare),
                   count(DriveState::failed), std::to_string(volumes_of_group(snap, view)), size_text(view.group.provisioned_bytes), size_text(view.group.used_bytes),
                   percent(view.group.used_bytes, view.group.capacity_bytes), size_text(view.group.capacity_bytes), size_text(view.group.free_bytes),
                   overcommit_text(view.group), time_to_full_text(view.group)});
    }
    return table.text();
}

std::string drives_text(const Snapshot &snap, const std::vector<DriveLabel> &closed, const std::string &group) {
    Table table({"Group", "Slot", "Drive", "State", "Size", "UUID"});
    for (const auto &view : snap.groups)
        if (group.empty() || view.group.name == group)
            for (const auto &drive : view.drives)
                table.add({view.group.name, std::to_string(drive.slot), or_dash(drive.path), std::string(to_string(drive.state)), size_text(drive.bytes),
                           to_string(drive.uuid)});
    for (const auto &label : closed)
        table.add({label.group, std::to_string(label.drive.slot), label.path, closed_state(snap, label), size_text(label.drive.bytes), to_string(label.drive.uuid)});
    return table.text();
}

json groups_json(const Snapshot &snap, const std::string &only) {
    json list = json::array();
    for (const auto &view : snap.groups) {
        if (!only.empty() && view.group.name != only) continue;
        const Group &g = view.group;
        const auto growth = growth_of(g);
        const auto full_in = seconds_to_full(g);
        list.push_back({{"name", g.name}, {"uuid", to_string(g.uuid)}, {"zone", zone_json(view.zone)}, {"state", to_string(g.state)}, {"status", view.status},
                        {"active_drives", drives_that_are(view, DriveState::active)}, {"spares", drives_that_are(view, DriveState::spare)},
                        {"failed_drives", drives_that_are(view, DriveState::failed)}, {"volume_count", volumes_of_group(snap, view)},
                        {"data_drives", g.data_drives}, {"segment_bytes", g.segment_bytes}, {"reserve_percent", g.reserve_percent},
                        {"capacity_bytes", g.capacity_bytes}, {"used_bytes", g.used_bytes}, {"free_bytes", g.free_bytes},
                        {"provisioned_bytes", g.provisioned_bytes},
                        {"overcommit", g.capacity_bytes ? json(static_cast<double>(g.provisioned_bytes) / static_cast<double>(g.capacity_bytes)) : json()},
                        {"growth_bytes_per_second", growth ? json(growth->bytes_per_second) : json()},
                        {"growth_seconds", growth ? json(growth->seconds) : json()}, {"full_in_seconds", full_in ? json(*full_in) : json()},
                        {"generation", g.generation}, {"stripe_seq", g.stripe_seq}, {"counters", g.counters}});
    }
    return {{"groups", list}};
}

json drives_json(const Snapshot &snap, const std::vector<DriveLabel> &closed, const std::string &group) {
    json list = json::array();
    for (const auto &view : snap.groups)
        if (group.empty() || view.group.name == group)
            for (const auto &drive : view.drives)
                list.push_back({{"group", view.group.name}, {"slot", drive.slot}, {"path", drive.path}, {"state", to_string(drive.state)},
                                {"bytes", drive.bytes}, {"uuid", to_string(drive.uuid)}, {"counters", drive.counters}});
    for (const auto &label : closed)
        list.push_back({{"group", label.group}, {"slot", label.drive.slot}, {"path", label.path}, {"state", closed_state(snap, label)}, {"bytes", label.drive.bytes},
                        {"uuid", to_string(label.drive.uuid)}, {"owner", label.owner.empty() ? json() : json(label.owner)}});
    return {{"drives", list}};
}

// ---- tasks --------------------------------------------------------------------------------------------------------------

namespace {

std::string state_of(const Task &task) {
    if (task.running) return "running";
    if (!task.started) return "never";
    return task.interrupted() ? "interrupted" : "done";
}

std::string percent_text(const Task &task) {
    const auto percent = percent_of(task);
    return percent ? fmt::format("{:.1f} %", *percent) : "-";
}

std::string time_text(std::uint64_t seconds) {
    if (!seconds) return "-";
    const auto time = static_cast<std::time_t>(seconds);
    std::tm local{};
    localtime_r(&time, &local);
    return fmt::format("{:%Y-%m-%d %H:%M:%S}", local);
}

}  // namespace

std::string progress_text(const Task &task) {
    std::string text = percent_of(task) ? percent_text(task) : "begins";
    if (task.rate) text += fmt::format(", {}/s", size_text(task.rate));
    if (const auto left = seconds_left(task)) text += fmt::format(", {} left", duration_text(*left));
    return text;
}

std::string tasks_text(const std::vector<GroupView> &groups, const std::string &only) {
    Table table({"Group", "Task", "State", "Done", "Rate", "Time Left", "Rebuilt", "Healed", "Beyond Repair", "Begun", "Ended"});
    for (const auto &view : groups) {
        if (!only.empty() && view.group.name != only) continue;
        for (const auto &task : view.group.tasks) {
            const auto left = seconds_left(task);
            table.add({view.group.name, std::string(to_string(task.kind)), state_of(task), percent_text(task),
                       task.running && task.rate ? size_text(task.rate) + "/s" : "-", left ? duration_text(*left) : "-", size_text(task.rebuilt_bytes),
                       size_text(task.healed_bytes), fmt::format("{}", task.lost), time_text(task.started),
                       task.running || task.interrupted() ? "-" : time_text(task.finished)});
        }
    }
    return table.text();
}

json tasks_json(const std::vector<GroupView> &groups, const std::string &only) {
    json list = json::array();
    for (const auto &view : groups) {
        if (!only.empty() && view.group.name != only) continue;
        for (const auto &task : view.group.tasks) {
            const auto left = seconds_left(task);
            const auto done = percent_of(task);
            list.push_back({{"group", view.group.name}, {"task", to_string(task.kind)}, {"state", state_of(task)}, {"done_segments", task.done},
                            {"total_segments", task.total}, {"percent", done ? json(*done) : json()}, {"bytes_per_second", task.rate},
                            {"seconds", task.seconds}, {"seconds_left", left ? json(*left) : json()}, {"rebuilt_bytes", task.rebuilt_bytes},
                            {"healed_bytes", task.healed_bytes}, {"stripes_beyond_repair", task.lost}, {"started", task.started},
                            {"finished", task.finished}});
        }
    }
    return {{"tasks", list}};
}

// ---- volumes --------------------------------------------------------------------------------------------------------------

std::string volumes_text(const Snapshot &snap, const std::string &group) {
    Table table({"Name", "Type", "Status", "Serial", "Media Group", "# Copies", "Total Capacity", "Used", "Protocol", "Preferred", "Standby", "Active"});
    for (const auto &v : snap.volumes) {
        if (!group.empty() && v.volume.group != group) continue;
        const std::string preferred = v.exported.ports.empty() ? "" : v.exported.ports.front();
        table.add({v.volume.name, "RWD-6", v.status, v.volume.serial, v.volume.group, "0", size_text(v.volume.size_bytes), size_text(v.volume.mapped_bytes),
                   v.protocol ? std::string(display_name(*v.protocol)) : "-", or_dash(preferred), v.exported.ports.size() > 1 ? v.exported.ports[1] : "-", or_dash(v.live.active)});
    }
    return table.text();
}

std::string volume_text(const VolumeView &v) {
    std::string out;
    const auto line = [&](std::string_view key, const std::string &value) { out += fmt::format("{:<18} {}\n", fmt::format("{}:", key), value); };
    line("Volume", v.volume.name);
    line("Media Group", fmt::format("{} (zone {})", v.volume.group, zone_text(v.zone)));
    line("Status", v.status);
    line("Total Capacity", fmt::format("{} ({} bytes)", size_text(v.volume.size_bytes), v.volume.size_bytes));
    line("Used", fmt::format("{} ({})", size_text(v.volume.mapped_bytes), percent(v.volume.mapped_bytes, v.volume.size_bytes)));
    line("Block Device", or_dash(v.volume.block_device));
    line("Device Serial", v.volume.serial);
    line("Subsystem NQN", v.nqn);
    line("UUID", to_string(v.volume.uuid));
    line("NGUID", to_string(v.volume.nguid));
    line("Preferred Port", v.exported.ports.empty() ? "-" : v.exported.ports.front());
    line("Standby Port", v.exported.ports.size() > 1 ? v.exported.ports[1] : "-");
    line("Active Port", or_dash(v.live.active));
    for (const auto &[port, state] : v.live.paths) line("Path " + port, std::string(nvmet::to_string(state)));
    line("Hosts", hosts_of(v.exported));
    return out + counters_text(v.volume.counters, "  ");
}

json volume_json(const VolumeView &v) {
    json paths = json::object();
    for (const auto &[port, state] : v.live.paths) paths[port] = nvmet::to_string(state);
    return {{"name", v.volume.name}, {"group", v.volume.group}, {"zone", zone_json(v.zone)}, {"status", v.status}, {"size_bytes", v.volume.size_bytes},
            {"protocol", v.protocol ? json(to_string(*v.protocol)) : json()},
            {"mapped_bytes", v.volume.mapped_bytes}, {"block_device", v.volume.block_device}, {"serial", v.volume.serial}, {"nqn", v.nqn},
            {"uuid", to_string(v.volume.uuid)}, {"nguid", to_string(v.volume.nguid)}, {"openers", v.volume.openers}, {"ports", v.exported.ports},
            {"preferred", v.exported.ports.empty() ? json() : json(v.exported.ports.front())},
            {"standby", v.exported.ports.size() > 1 ? json(v.exported.ports[1]) : json()},
            {"active", v.live.active.empty() ? json() : json(v.live.active)}, {"paths", paths}, {"served", v.live.served},
            {"allow_any_host", v.exported.allow_any}, {"hosts", v.exported.hosts}, {"counters", v.volume.counters}};
}

json volumes_json(const Snapshot &snap, const std::string &group) {
    json list = json::array();
    for (const auto &v : snap.volumes)
        if (group.empty() || v.volume.group == group) list.push_back(volume_json(v));
    return {{"volumes", list}};
}

// ---- controllers and ports --------------------------------------------------------------------------------------------------

std::string controllers_text(const Snapshot &snap) {
    Table table({"Controller", "Zone", "Protocol", "Set By", "Ports", "Volumes"});
    for (const auto &[id, c] : snap.config.controllers) {
        std::vector<std::string> ports;
        for (const auto &port : snap.ports)
            if (port.port.controller == id) ports.push_back(port.port.name);
        table.add({std::to_string(id), std::to_string(c.zone), std::string(display_name(c.protocol)), c.protocol_in_file ? "command" : "file",
                   joined(ports), joined(volumes_of_controller(snap, id))});
    }
    return table.text();
}

json controllers_json(const Snapshot &snap) {
    json list = json::array();
    for (const auto &[id, c] : snap.config.controllers) {
        json ports = json::array();
        for (const auto &port : snap.ports)
            if (port.port.controller == id) ports.push_back(port.port.name);
        list.push_back({{"id", id}, {"zone", c.zone}, {"protocol", to_string(c.protocol)},
                        {"protocol_in_file", to_string(c.protocol_in_file.value_or(c.protocol))}, {"ports", ports}, {"volumes", volumes_of_controller(snap, id)}});
    }
    return {{"controllers", list}};
}

std::string ports_text(const Snapshot &snap) {
    Table table({"Port", "IP Address", "Interface", "Type", "Speed", "Negotiated", "MTU", "Operational", "Admin", "Controller", "Zone", "Preferred", "Active", "Remark"});
    for (const auto &p : snap.ports) {
        const auto &i = p.interface;
        table.add({p.port.name, p.port.ip, p.port.interface, std::string(display_name(p.protocol)), fmt::format("{} Gbps", p.port.parsed.speed_gbps),
                   i.speed_mbps > 0 ? fmt::format("{:g} Gbps", i.speed_mbps / 1000.0) : "-", i.exists ? std::to_string(i.mtu) : "-",
                   i.link_up ? "Up" : "Down", i.admin_up ? "Up" : "Down", fmt::format("Controller {}", p.port.controller), std::to_string(p.zone),
                   fmt::format("{}", p.preferred_of.size()), fmt::format("{}", p.active_of.size()), p.not_ready.value_or("")});
    }
    return table.text();
}

json ports_json(const Snapshot &snap) {
    json list = json::array();
    for (const auto &p : snap.ports) {
        const auto &i = p.interface;
        list.push_back({{"name", p.port.name}, {"controller", p.port.controller}, {"zone", p.zone}, {"protocol", to_string(p.protocol)},
                        {"interface", p.port.interface}, {"ip", p.port.ip}, {"trsvcid", p.port.trsvcid}, {"mac", i.mac}, {"mtu", i.mtu},
                        {"speed_gbps", p.port.parsed.speed_gbps}, {"negotiated_mbps", i.speed_mbps > 0 ? json(i.speed_mbps) : json()},
                        {"link_up", i.link_up}, {"admin_up", i.admin_up}, {"ready", !p.not_ready},
                        {"not_ready", p.not_ready ? json(*p.not_ready) : json()}, {"nvmet_port", nvmet_port_id(p.port)},
                        {"preferred_of", p.preferred_of}, {"active_of", p.active_of}, {"serves", p.serves}});
    }
    return {{"ports", list}};
}

std::string mapped_network_text(const Snapshot &snap, Protocol protocol) {
    Table table({"Mac Address", "Volume", "Device Serial", "IP Address", "Slot", "Controller", "Zone", "Protocol", "Preferred", "Active", "ANA State"});
    for (const auto &p : snap.ports) {
        if (p.protocol != protocol) continue;
        for (const auto *v : of_port(snap, p.port.name)) {
            const auto path = v->live.paths.find(p.port.name);
            table.add({or_dash(p.interface.mac), v->volume.full_name(), v->volume.serial, p.port.ip, p.port.name, std::to_string(p.port.controller),
                       std::to_string(p.zone), std::string(display_name(protocol)), v->exported.ports.front() == p.port.name ? "Yes" : "No",
                       v->live.active == p.port.name ? "Yes" : "No",
                       path == v->live.paths.end() ? "not served" : std::string(nvmet::to_string(path->second))});
        }
    }
    return "Volume Mapped Network list\n" + table.text();
}

json mapped_network_json(const Snapshot &snap, Protocol protocol) {
    json list = json::array();
    for (const auto &p : snap.ports) {
        if (p.protocol != protocol) continue;
        for (const auto *v : of_port(snap, p.port.name)) {
            const auto path = v->live.paths.find(p.port.name);
            list.push_back({{"mac_address", p.interface.mac}, {"volume", v->volume.name}, {"group", v->volume.group}, {"device_serial", v->volume.serial},
                            {"nqn", v->nqn}, {"ip_address", p.port.ip}, {"trsvcid", p.port.trsvcid}, {"slot", p.port.name},
                            {"controller", p.port.controller}, {"zone", p.zone}, {"protocol", to_string(protocol)},
                            {"preferred", v->exported.ports.front() == p.port.name}, {"active", v->live.active == p.port.name},
                            {"ana_state", path == v->live.paths.end() ? json() : json(nvmet::to_string(path->second))}});
        }
    }
    return {{"volume_mapped_network", list}};
}

std::string hosts_text(const Snapshot &snap) {
    Table table({"Host", "Volume", "Device Serial"});
    for (const auto &v : snap.volumes) {
        if (v.exported.allow_any) table.add({"any", v.volume.full_name(), v.volume.serial});
        for (const auto &host : v.exported.hosts) table.add({host, v.volume.full_name(), v.volume.serial});
    }
    return table.text();
}

json hosts_json(const Snapshot &snap) {
    json list = json::array();
    for (const auto &v : snap.volumes)
        list.push_back({{"volume", v.volume.name}, {"group", v.volume.group}, {"any", v.exported.allow_any}, {"hosts", v.exported.hosts}});
    return {{"hosts", list}};
}

// ---- status -------------------------------------------------------------------------------------------------------------------

std::vector<std::string> problems_of(const Snapshot &snap) {
    std::vector<std::string> problems;
    if (!snap.engine_loaded) problems.emplace_back("the module pavraid is not loaded: pavcfg restore");
    for (const auto &view : snap.groups) {
        if (view.group.state != GroupState::online) problems.push_back(fmt::format("group {} is {}", view.group.name, to_string(view.group.state)));
        for (const auto &drive : view.drives)
            if (drive.state == DriveState::failed)
                problems.push_back(fmt::format("group {}: drive {} ({}) has failed (pavcfg replace drive {} in group {} with NEW, or put it back)",
                                               view.group.name, drive.slot, or_dash(drive.path), drive.slot, view.group.name));
        for (const auto &task : view.group.tasks) {
            if (task.lost)
                problems.push_back(fmt::format("group {}: the {} met {} stripes that are beyond repair", view.group.name, to_string(task.kind), task.lost));
            if (task.kind == TaskKind::rebuild && task.running) problems.push_back(fmt::format("group {} is being rebuilt: {}", view.group.name, progress_text(task)));
        }
        if (view.group.provisioned_bytes > view.group.capacity_bytes)
            problems.push_back(fmt::format("group {} is overprovisioned: {} of volumes on {}", view.group.name, size_text(view.group.provisioned_bytes),
                                           size_text(view.group.capacity_bytes)));
    }
    for (const auto &name : snap.closed_groups)
        problems.push_back(fmt::format("group {} is not open (pavcfg restore; if it is not to come back: pavcfg export group name {})", name, name));
    for (const auto &left : snap.left_out) problems.push_back(left_out_text(left));
    for (const auto &v : snap.volumes) {
        if (v.exported.assigned() && !v.exported.allow_any && v.exported.hosts.empty())
            problems.push_back(fmt::format("volume {}: no host may connect (pavcfg allow host NQN to volume {})", v.volume.full_name(), v.volume.name));
        if (!v.exported.ports.empty() && v.exported.active != v.exported.ports.front())
            problems.push_back(fmt::format("volume {} is failed over to {} (pavcfg failback volume {})", v.volume.full_name(), v.exported.active, v.volume.name));
    }
    if (snap.drift_error) problems.push_back(snap.drift_error->to_text());
    if (!snap.drift.empty())
        problems.push_back(fmt::format("nvmet differs from what is recorded in {} places: pavcfg restore (--dry-run shows them)", snap.drift.steps.size()));
    return problems;
}

std::string status_text(const Snapshot &snap) {
    const auto served = std::count_if(snap.volumes.begin(), snap.volumes.end(), [](const auto &v) { return v.live.served; });
    const auto ready = std::count_if(snap.ports.begin(), snap.ports.end(), [](const auto &p) { return !p.not_ready; });
    std::string out;
    out += fmt::format("Engine:      {}\n", snap.engine_loaded ? "pavraid loaded" : "pavraid not loaded");
    out += fmt::format("Target:      {}\n", snap.nvmet_loaded ? "nvmet loaded" : "nvmet not loaded");
    out += fmt::format("Groups:      {}\n", snap.groups.size());
    for (const auto &view : snap.groups) {
        const Group &g = view.group;
        const auto growth = growth_of(g);
        out += fmt::format("  {}: {}, {} of {} used ({}), {} provisioned ({})\n", g.name, view.status, size_text(g.used_bytes), size_text(g.capacity_bytes),
                           percent(g.used_bytes, g.capacity_bytes), size_text(g.provisioned_bytes), overcommit_text(g));
        if (growth && seconds_to_full(g))
            out += fmt::format("  {}: full in {}, if it goes on as in the last {}\n", g.name, time_to_full_text(g), duration_text(growth->seconds));
    }
    out += fmt::format("Volumes:     {}, {} served\n", snap.volumes.size(), served);
    out += fmt::format("Controllers: {}\n", snap.config.controllers.size());
    out += fmt::format("Ports:       {}, {} ready\n", snap.ports.size(), ready);
    const auto problems = problems_of(snap);
    if (problems.empty()) return out + "All is well.\n";
    out += "To be looked at:\n";
    for (const auto &problem : problems) out += "  - " + problem + "\n";
    return out;
}

json status_json(const Snapshot &snap) {
    json left = json::array();
    for (const auto &one : snap.left_out) left.push_back({{"volume", one.volume}, {"port", one.port}, {"reason", one.reason}});
    json plan = json::array();
    for (const auto &step : snap.drift.steps) plan.push_back(step.to_text());
    json out{{"engine_loaded", snap.engine_loaded}, {"nvmet_loaded", snap.nvmet_loaded}, {"problems", problems_of(snap)}, {"closed_groups", snap.closed_groups}, {"left_out", left}, {"drift", plan}};
    out.update(groups_json(snap, ""));
    out.update(tasks_json(snap.groups, ""));
    out.update(volumes_json(snap, ""));
    out.update(ports_json(snap));
    return out;
}

// ---- outcomes -----------------------------------------------------------------------------------------------------------------

json error_json(const Error &error) {
    return {{"error", {{"text", error.to_text()}, {"tried", error.tried}, {"object", error.object}, {"errno", error.err},
                       {"reason", error.reason}, {"remedy", error.remedy}}}};
}

json outcome_json(const Outcome &outcome, bool dry_run) {
    json left = json::array(), plan = json::array(), volumes = json::array();
    for (const auto &one : outcome.left_out) left.push_back({{"volume", one.volume}, {"port", one.port}, {"reason", one.reason}});
    for (const auto &step : outcome.plan.steps) plan.push_back(step.to_text());
    for (const auto &volume : outcome.volumes)
        volumes.push_back({{"name", volume.name}, {"group", volume.group}, {"block_device", volume.block_device}, {"device_serial", volume.serial},
                           {"nqn", nqn_of(volume)}, {"uuid", to_string(volume.uuid)}, {"size_bytes", volume.size_bytes}});
    return {{"dry_run", dry_run}, {"done", outcome.done}, {"warnings", outcome.warnings}, {"left_out", left}, {"nvmet_steps", plan}, {"volumes", volumes}};
}

}  // namespace pav::cli
