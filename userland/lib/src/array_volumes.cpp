// SPDX-License-Identifier: GPL-2.0
//
// Volumes: create, delete, grow, rename; where they are served, to whom, and over which path; and a controller's protocol.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pav/array.hpp"
#include "pav/signals.hpp"

namespace pav {

namespace {

Uuid random_uuid(const Random &random) {
    Uuid uuid;
    random(uuid.data(), uuid.size());
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x40);  // version 4
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);  // variant 1
    return uuid;
}

}  // namespace

// Prefix and random hexadecimal digits, 16 characters in all as in "GB00051104bbf912". Not one that a volume here has.
Result<std::string> Array::fresh_serial() {
    const auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    constexpr std::size_t length = 16;
    for (;;) {
        std::uint8_t bytes[length / 2];
        machine_.random(bytes, sizeof(bytes));
        std::string serial = config_.serial_prefix;
        for (const std::uint8_t byte : bytes) serial += fmt::format("{:02x}", byte);
        serial.resize(length);
        if (std::none_of(volumes->begin(), volumes->end(), [&](const Volume &v) { return v.serial == serial; })) return serial;
    }
}

Result<Outcome> Array::create_volume(const std::string &name, const std::string &group, std::uint64_t size_bytes,
                                     std::optional<NqnForm> nqn_form) {
    if (auto good = check_name("volume", name); !good) return good.error();
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto found = find_group(group);
    if (!found) return found.error();
    const auto serial = fresh_serial();
    if (!serial) return serial.error();
    VolumeSpec spec{group, name, size_bytes, *serial, random_uuid(machine_.random), {}};
    // The NGUID is what Linux hosts name the disk by (nvme-eui.…); a version 4 UUID is as unique as one can be without a
    // registered prefix.
    spec.nguid = random_uuid(machine_.random);
    if (auto created = engine_->create_volume(spec); !created) return created.error();
    if (nqn_form.value_or(config_.nqn_form) == NqnForm::uuid) {
        const std::string nqn = "nqn.2014-08.org.nvmexpress:uuid:" + to_string(spec.uuid);
        if (auto set = engine_->set_props(group, name, {{std::string(prop_nqn), nqn}}); !set) {
            const auto removed = engine_->delete_volume(group, name);
            return removed ? set.error() : removed.error();
        }
    }
    auto volume = find_volume({name, group});
    if (!volume) return volume.error();
    Outcome out;
    out.done.push_back(fmt::format("volume {} created in group {}: {}, serial {}", name, group, size_text(size_bytes), volume->serial));
    out.volumes.push_back(std::move(volume).value());
    const std::uint64_t provisioned = found->provisioned_bytes + size_bytes;
    if (provisioned > found->capacity_bytes)
        out.warnings.push_back(fmt::format("group {} is overprovisioned: volumes of {} on a capacity of {}", group,
                                           size_text(provisioned), size_text(found->capacity_bytes)));
    return out;
}

Result<Outcome> Array::delete_volume(const VolumeRef &ref) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto volume = find_volume(ref);
    if (!volume) return volume.error();
    if (auto closed = refuse_open("delete the volume", {*volume}); !closed) return closed.error();
    Outcome out;
    const nvmet::SignalsBlocked whole;
    const Export before = export_of(volume->props);
    // nvmet holds the device open: it has to let go first.
    if (before.assigned()) {
        Export none;
        none.nqn = before.nqn;
        if (auto changed = change_exports(out, {{*volume, none}}); !changed) return changed.error();
    }
    if (auto deleted = engine_->delete_volume(volume->group, volume->name); !deleted) {
        if (before.assigned()) {
            Outcome back;
            const auto now = find_volume({volume->name, volume->group});
            if (!now) return now.error();
            if (auto changed = change_exports(back, {{*now, before}}); !changed) {
                Error error = deleted.error();
                error.reason += "; and it could not be served again: " + changed.error().to_text();
                return error;
            }
        }
        return deleted.error();
    }
    out.done.push_back(fmt::format("volume {} deleted", volume->full_name()));
    return out;
}

Result<Outcome> Array::grow_volume(const VolumeRef &ref, std::uint64_t size_bytes) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto volume = find_volume(ref);
    if (!volume) return volume.error();
    Outcome out;
    if (size_bytes < volume->size_bytes)
        return Error{"grow the volume", volume->full_name(), 0,
                     fmt::format("it has {} and would shrink to {}", size_text(volume->size_bytes), size_text(size_bytes)),
                     "volumes only grow"};
    if (size_bytes > volume->size_bytes) {
        if (auto grown = engine_->grow_volume(volume->group, volume->name, size_bytes); !grown) return grown.error();
        out.done.push_back(fmt::format("volume {} grown from {} to {}", volume->full_name(), size_text(volume->size_bytes), size_text(size_bytes)));
    }
    // Said again, it tells the hosts, if they could not be told the first time.
    const auto current = read_nvmet();
    if (!options_.dry_run && current && live_of(config_, *volume, *current).served)
        if (auto told = nvmet::revalidate_size(machine_.tree, nqn_of(*volume), 1); !told)
            out.warnings.push_back("hosts were not told the new size: " + told.error().to_text());
    return out;
}

Result<Outcome> Array::rename_volume(const VolumeRef &ref, const std::string &to) {
    if (auto good = check_name("volume", to); !good) return good.error();
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto volume = find_volume(ref);
    if (!volume) return volume.error();
    if (auto renamed = engine_->rename_volume(volume->group, volume->name, to); !renamed) return renamed.error();
    Outcome out;
    out.done.push_back(fmt::format("volume {} renamed to {}", volume->full_name(), to));
    return out;
}

Result<Outcome> Array::assign(const VolumeRef &ref, const std::string &port, bool preferred) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto volume = find_volume(ref);
    if (!volume) return volume.error();
    Export wanted = export_of(volume->props);
    auto in_order = wanted.ports;
    if (!wanted.has_port(port)) {
        in_order.push_back(port);
        wanted.ports.insert(preferred ? wanted.ports.begin() : wanted.ports.end(), port);
        if (preferred || wanted.ports.size() == 1) wanted.active = port;
    } else if (preferred && wanted.ports.front() != port) {
        std::swap(wanted.ports[0], wanted.ports[1]);
        wanted.active = port;
    }
    const auto group = find_group(volume->group);
    const auto volumes = engine_->volumes();
    if (!group) return group.error();
    if (!volumes) return volumes.error();
    if (auto good = check_ports(config_, in_order, zone_of_group(*group, *volumes), volume->name); !good) return good.error();

    Outcome out;
    if (auto changed = change_exports(out, {{*volume, wanted}}, {port}); !changed) return changed.error();
    auto now = find_volume({volume->name, volume->group});
    if (!now) return now.error();
    if (wanted != export_of(volume->props))
        out.done.push_back(fmt::format("volume {} assigned to port {}{}", volume->full_name(), port,
                                       wanted.ports.front() == port ? ", preferred" : ", standby"));
    if (!wanted.allow_any && wanted.hosts.empty())
        out.warnings.push_back(fmt::format("no host may connect yet: pavcfg allow host NQN to volume {} (or: allow host any)", volume->name));
    out.volumes.push_back(std::move(now).value());
    return out;
}

Result<Outcome> Array::unassign(const VolumeRef &ref, const std::string &port) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto volume = find_volume(ref);
    if (!volume) return volume.error();
    Export wanted = export_of(volume->props);
    Outcome out;
    if (!port.empty() && !wanted.has_port(port)) {
        if (!config_.port(port))
            if (auto known = check_ports(config_, {port}, 0, volume->name); !known) return known.error();
        return out;
    }
    if (port.empty() && !wanted.assigned()) return out;
    std::erase_if(wanted.ports, [&](const std::string &name) { return port.empty() || name == port; });
    wanted.active = wanted.ports.empty() ? "" : wanted.ports.front();
    if (auto changed = change_exports(out, {{*volume, wanted}}); !changed) return changed.error();
    out.done.push_back(fmt::format("volume {} unassigned from {}", volume->full_name(), port.empty() ? "all ports" : "port " + port));
    return out;
}

Result<Outcome> Array::allow_host(const VolumeRef &ref, const std::string &nqn) {
    if (nqn != "any")
        if (auto good = check_nqn(nqn); !good) return good.error();
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto volume = find_volume(ref);
    if (!volume) return volume.error();
    const Export before = export_of(volume->props);
    Export wanted = before;
    Outcome out;
    if (nqn == "any") {
        wanted.allow_any = true;
        wanted.hosts.clear();
        if (!before.hosts.empty())
            out.warnings.push_back(fmt::format("the {} hosts that were named are forgotten: any host may connect now", before.hosts.size()));
    } else {
        if (before.allow_any)
            return Error{"allow the host", nqn, 0, fmt::format("any host may connect to volume {} already", volume->name),
                         fmt::format("first: pavcfg disallow host any to volume {}", volume->name)};
        wanted.hosts.insert(nqn);
    }
    if (wanted == before) return out;
    if (auto changed = change_exports(out, {{*volume, wanted}}); !changed) return changed.error();
    out.done.push_back(fmt::format("{} may connect to volume {}", nqn == "any" ? "any host" : nqn, volume->full_name()));
    return out;
}

Result<Outcome> Array::disallow_host(const VolumeRef &ref, const std::string &nqn) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto volume = find_volume(ref);
    if (!volume) return volume.error();
    const Export before = export_of(volume->props);
    Export wanted = before;
    Outcome out;
    if (nqn == "any")
        wanted.allow_any = false;
    else if (before.allow_any)
        return Error{"disallow the host", nqn, 0, fmt::format("any host may connect to volume {}", volume->name),
                     fmt::format("first: pavcfg disallow host any to volume {}; then allow those that may", volume->name)};
    else
        wanted.hosts.erase(nqn);
    if (wanted == before) return out;
    if (auto changed = change_exports(out, {{*volume, wanted}}); !changed) return changed.error();
    out.done.push_back(fmt::format("{} may no longer connect to volume {}", nqn == "any" ? "not every host" : nqn, volume->full_name()));
    if (nqn == "any") out.done.back() = fmt::format("only hosts that are named may connect to volume {}", volume->full_name());
    out.warnings.emplace_back("a host that is connected stays connected until it disconnects");
    return out;
}

Result<Outcome> Array::failover(const PathSelector &which) { return move_active(which, false); }
Result<Outcome> Array::failback(const PathSelector &which) { return move_active(which, true); }

// Failover makes the standby port active, failback the preferred one. Neither touches a link or a namespace's device: nvmet
// changes one number and tells the hosts.
Result<Outcome> Array::move_active(const PathSelector &which, bool back) {
    const char *tried = back ? "fail back" : "fail over";
    if (!back && !which.volume && which.group.empty() && which.port.empty() && !which.controller)
        return Error{tried, "volumes", 0, "it is not said which", "name a volume, a port-name, a controller or a grpname"};
    if (!which.port.empty())
        if (auto known = check_ports(config_, {which.port}, 0, ""); !known) {
            Error error = known.error();
            error.tried = tried, error.object = which.port;
            return error;
        }
    if (which.controller && !config_.controllers.contains(which.controller))
        return Error{tried, fmt::format("controller {}", which.controller), ENOENT, "there is no such controller", "see pavcfg show controllers"};
    if (auto ready = begin(Access::change); !ready) return ready.error();

    std::vector<Volume> volumes;
    if (which.volume) {
        auto volume = find_volume(*which.volume);
        if (!volume) return volume.error();
        if (export_of(volume->props).ports.size() != 2)
            return Error{tried, volume->full_name(), 0, "it has no second path",
                         fmt::format("pavcfg assign volume name {} port-name P, with a port of another controller", volume->name)};
        volumes.push_back(std::move(volume).value());
    } else {
        if (!which.group.empty())
            if (auto group = find_group(which.group); !group) return group.error();
        auto all = engine_->volumes();
        if (!all) return all.error();
        volumes = std::move(all).value();
        std::erase_if(volumes, [&](const Volume &volume) { return !which.group.empty() && volume.group != which.group; });
    }
    // The port that a volume leaves decides for failover, the one it returns to for failback.
    const auto concerned = [&](const std::string &name) {
        const Port *port = config_.port(name);
        if (!port) return false;
        if (!which.port.empty()) return name == which.port;
        return !which.controller || port->controller == which.controller;
    };
    Outcome out;
    std::vector<std::pair<Volume, Export>> changes;
    std::set<std::string> needed;
    for (const auto &volume : volumes) {
        Export wanted = export_of(volume.props);
        if (!wanted.assigned()) continue;
        if (!concerned(back ? wanted.ports.front() : wanted.active)) continue;
        if (wanted.ports.size() != 2) {
            if (!back) out.warnings.push_back(fmt::format("volume {} has no second path and stays where it is", volume.full_name()));
            continue;
        }
        std::string to = wanted.ports.front();
        // By port or controller, failover means away from it; else to the port that is not preferred.
        const bool away = !which.volume && (!which.port.empty() || which.controller);
        if (!back) to = away ? wanted.standby() : wanted.ports[1];
        if (to == wanted.active) continue;
        if (!config_.port(to))
            return Error{tried, volume.full_name(), 0, fmt::format("port {} is not in {}", to, config_.file), "put it into the file"};
        wanted.active = to;
        needed.insert(to);
        changes.emplace_back(volume, std::move(wanted));
    }
    if (changes.empty()) return out;
    if (auto changed = change_exports(out, changes, needed); !changed) return changed.error();
    for (const auto &[volume, exported] : changes)
        out.done.push_back(fmt::format("volume {} is active on port {}{}", volume.full_name(), exported.active,
                                       exported.active == exported.ports.front() ? " (preferred)" : ""));
    return out;
}

Result<Outcome> Array::configure_controller(unsigned id, Protocol protocol) {
    const std::string object = fmt::format("controller {}", id);
    const char *tried = "change the protocol of";
    const auto controller = config_.controllers.find(id);
    if (controller == config_.controllers.end())
        return Error{tried, object, ENOENT, fmt::format("it is not in {}", config_.file), "see pavcfg show controllers"};
    const Protocol in_file = controller->second.protocol;  // begin() puts the state over it
    if (auto ready = begin(Access::change); !ready) return ready.error();
    Outcome out;
    if (controller->second.protocol == protocol) return out;
    const auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    std::vector<std::string> in_the_way;
    for (const auto &volume : *volumes)
        for (const auto &name : export_of(volume.props).ports)
            if (const Port *port = config_.port(name); port && port->controller == id)
                in_the_way.push_back(fmt::format("{} (port {})", volume.full_name(), name));
    if (!in_the_way.empty())
        return Error{tried, object, EBUSY, fmt::format("it serves volumes: {}", fmt::join(in_the_way, ", ")),
                     "unassign them from its ports first"};
    if (protocol == in_file)
        state_.protocols.erase(id);
    else
        state_.protocols[id] = protocol;
    if (auto saved = save(); !saved) return saved.error();
    controller->second.protocol = protocol;
    out.done.push_back(fmt::format("controller {} speaks {} now", id, display_name(protocol)));
    if (auto settled = settle(out); !settled) return settled.error();
    out.left_out.clear();
    return out;
}

}  // namespace pav
