// SPDX-License-Identifier: GPL-2.0
//
// Groups: create, find, import, export, delete; and restore, which is import plus serving.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pav/array.hpp"
#include "pav/signals.hpp"

namespace pav {

namespace {

// What the kernel does before it opens a group that its drives call open (kmod/DESIGN.md, "The owner stamp"), and how long at least.
std::string what_it_waits_for(const std::string &owner, const Uuid &id, bool takeover) {
    if (is_this_machine(id)) return "this machine had it open when it stopped: about 4 seconds";
    if (takeover) return fmt::format("host {} has it open, or left it so: it is cut off, about 15 seconds", owner);
    return fmt::format("host {} has it open, or left it so: is it silent? about 15 seconds", owner);
}

}  // namespace

Result<Outcome> Array::create_group(const std::string &name, unsigned zone, const std::vector<std::string> &drives,
                                    const std::vector<std::string> &spares, std::optional<unsigned> data_drives,
                                    std::optional<unsigned> reserve_percent) {
    const char *tried = "create the group";
    if (auto good = check_name("group", name); !good) return good.error();
    if (zone == 0) {
        if (config_.zones.size() != 1)
            return Error{tried, name, 0, "it is not said in which zone", fmt::format("add: zone {}", config_.zones.begin()->first)};
        zone = config_.zones.begin()->first;
    }
    if (!config_.zones.contains(zone))
        return Error{tried, name, 0, fmt::format("zone {} is not in {}", zone, config_.file), "see pavcfg show controllers for the zones"};
    if (auto ready = begin(Access::change); !ready) return ready.error();

    GroupSpec spec{name, {}, data_drives, reserve_percent};
    for (const auto &path : drives) spec.drives.push_back({path, false});
    for (const auto &path : spares) spec.drives.push_back({path, true});

    if (auto blank = check_blank(tried, name, spec.drives); !blank) return blank.error();
    if (auto created = engine_->create_group(spec); !created) return created.error();
    Outcome out;
    const auto group = find_group(name);
    if (!group) return group.error();
    state_.groups[to_string(group->uuid)] = {name, zone, false};
    note(out);
    out.done.push_back(fmt::format("group {} created in zone {}: {}+2 on {} drives{}, capacity {} with a reserve of {} %", name, zone, group->data_drives,
                                   drives.size(), spares.empty() ? "" : fmt::format(" and {} spare", spares.size()),
                                   size_text(group->capacity_bytes), group->reserve_percent));
    return out;
}

// Opens what is found on `drives` (or on all there are). With `patient`, waits for groups of which some drives lack, and for those
// that this host had and of which none is there. Gives the groups that could not be opened.
std::vector<LeftOut> Array::import_found(Outcome &out, const std::string &name, unsigned zone, std::vector<std::string> drives,
                                         bool patient, bool takeover) {
    struct Found {
        std::string name;
        std::vector<std::string> paths;
        std::vector<std::uint64_t> generations;  // of their superblocks
        unsigned members = 0;                    // that had not failed when the newest of these was written
        std::uint64_t generation = 0;            // of the newest
        std::string owner;                       // the host that has it open, or had and died
        Uuid owner_id{};

        // How many of the members are here. One that failed, and is still in its bay, is none: the others wrote superblocks after its last.
        // A power cut leaves some with the newest and some with the one before.
        std::size_t here() const {
            return static_cast<std::size_t>(std::count_if(generations.begin(), generations.end(), [&](std::uint64_t g) { return g + 1 >= generation; }));
        }
    };
    std::map<std::string, Found> found;  // by group UUID
    std::set<std::string> open;          // UUIDs of groups
    if (const auto groups = engine_->groups())
        for (const auto &group : *groups) open.insert(to_string(group.uuid));
    std::vector<std::string> without;
    const bool named_drives = !drives.empty();
    const auto used = drives_in_use();
    const auto scan = [&] {
        if (!named_drives)
            if (const auto candidates = machine_.drives.candidates(config_.drive_patterns)) drives = *candidates;
        found.clear();
        without.clear();
        for (const auto &path : drives) {
            if (used.contains(machine_.drives.identity(path))) {
                if (named_drives) without.push_back(fmt::format("{}: an open group has it already", path));
                continue;
            }
            const auto label = engine_->probe_drive(path);
            if (!label || !label->has_group()) {
                if (named_drives) without.push_back(label ? fmt::format("{}: {}", path, label->problem) : label.error().to_text());
                continue;
            }
            if (!name.empty() && label->group != name) {
                if (named_drives) without.push_back(fmt::format("{}: it belongs to group {}", path, label->group));
                continue;
            }
            auto &group = found[to_string(label->group_uuid)];
            group.name = label->group;
            group.paths.push_back(path);
            group.generations.push_back(label->generation);
            if (!label->owner.empty()) {
                group.owner = label->owner;
                group.owner_id = label->owner_id;
            }
            if (label->generation >= group.generation) {
                group.generation = label->generation;
                group.members = label->expected_drives;
            }
        }
    };
    // After a power cut the drives of a group, all of one model, may all be late.
    const auto absent = [&] {
        std::vector<std::string> names;
        for (const auto &[uuid, group] : state_.groups)
            if (!group.exported && !found.contains(uuid) && !open.contains(uuid)) names.push_back(group.name.empty() ? uuid : group.name);
        return names;
    };
    const auto missing = [&] {
        scan();
        std::vector<std::string> lacking;
        for (const auto &[uuid, group] : found)
            if (!open.contains(uuid) && group.here() < group.members && !state_.is_exported(uuid))
                lacking.push_back(fmt::format("drives of group {}: {} of {} are here", group.name, group.here(), group.members));
        for (const auto &group : absent()) lacking.push_back(fmt::format("drives of group {}: none is here", group));
        return lacking;
    };
    if (patient)
        wait_for(missing);
    else
        scan();

    std::vector<LeftOut> failed;
    for (const auto &problem : without) failed.push_back({"", "", problem});
    if (patient)
        for (const auto &group : absent())
            failed.push_back({"", "", fmt::format("group {}: none of its drives is here (looked at {}); if they are not to come back: pavcfg export group name {}", group,
                                                  fmt::join(config_.drive_patterns, " "), group)});
    for (const auto &[uuid, group] : found) {
        if (patient && state_.is_exported(uuid)) {
            out.warnings.push_back(fmt::format("group {} was exported and stays closed (pavcfg import group name {})", group.name, group.name));
            continue;
        }
        if (open.contains(uuid)) {
            for (const auto &path : group.paths) take_back(out, path, group.name);
            continue;
        }
        options_.progress(fmt::format("importing group {} from {} drives{}", group.name, group.paths.size(),
                                      group.owner.empty() ? "" : "; " + what_it_waits_for(group.owner, group.owner_id, takeover)));
        const auto imported = engine_->import_group(group.paths, group.name, takeover);
        if (!imported) {
            failed.push_back({"", "", imported.error().to_text()});
            continue;
        }
        out.done.push_back(fmt::format("group {} imported from {} drives", *imported, group.paths.size()));
        if (group.here() < group.members)
            out.warnings.push_back(fmt::format("group {} has only {} of its {} drives", *imported, group.here(), group.members));
        HostGroup &known = state_.groups[uuid];
        known.name = *imported;
        known.exported = false;
        if (zone) known.zone = zone;
    }
    return failed;
}

Result<Outcome> Array::import_group(const std::string &name, unsigned zone, const std::vector<std::string> &drives, bool takeover) {
    if (takeover && name.empty())
        return Error{"import", "groups", 0, "takeover cuts another host off, and it is not said from which group", "add: name GROUP"};
    if (zone && !config_.zones.contains(zone))
        return Error{"import the group", name, 0, fmt::format("zone {} is not in {}", zone, config_.file), "name a zone of the file"};
    if (auto ready = begin(Access::change); !ready) return ready.error();
    Outcome out;
    const auto failed = import_found(out, name, zone, drives, false, takeover);
    if (out.done.empty()) {
        if (!failed.empty()) {
            std::vector<std::string> reasons;
            for (const auto &one : failed) reasons.push_back(one.reason);
            return Error{"import the group", name, 0, fmt::format("{}", fmt::join(reasons, "; ")), "see pavcfg show groups for those that are open"};
        }
        if (!name.empty() && find_group(name)) return out;  // it is open already
        return Error{"import", name.empty() ? "groups" : "group " + name, ENOENT, "no drive that is not in use belongs to one",
                     fmt::format("looked at {}; name the drives, or see lsblk", fmt::join(config_.drive_patterns, " "))};
    }
    if (auto settled = settle(out); !settled) return settled.error();
    out.left_out.insert(out.left_out.end(), failed.begin(), failed.end());
    note(out);
    return out;
}

// That one of its volumes is open on this host besides nvmet is seen before hosts lose it: the engine would refuse, and they would
// have lost their disk for nothing.
Result<void> Array::refuse_open(const char *tried, const std::vector<Volume> &volumes) {
    const auto current = read_nvmet();
    if (!current) return current.error();
    for (const auto &volume : volumes) {
        const unsigned ours = !options_.dry_run && live_of(config_, volume, *current).served;  // begin() leaves it out of a dry run's
        if (volume.openers > ours)
            return Error{tried, volume.full_name(), EBUSY, fmt::format("/dev/{} is open on this host", volume.block_device),
                         fmt::format("unmount it, or see who has it: fuser -v /dev/{}", volume.block_device)};
    }
    return {};
}

Result<Outcome> Array::export_group(const std::string &name) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    Outcome out;
    const auto group = find_group(name);
    if (!group) {
        const auto known = std::find_if(state_.groups.begin(), state_.groups.end(), [&](const auto &entry) { return entry.second.name == name || entry.first == name; });
        if (known == state_.groups.end()) return group.error();
        if (!known->second.exported) out.done.push_back(fmt::format("group {} is not open; restore no longer waits for it", name));
        known->second.exported = true;
        note(out);
        return out;
    }
    auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    std::erase_if(*volumes, [&](const Volume &volume) { return volume.group != name; });
    if (auto closed = refuse_open("export the group", *volumes); !closed) return closed.error();

    const nvmet::SignalsBlocked whole;
    if (auto settled = settle(out, {name}); !settled) return settled.error();
    out.left_out.clear();
    if (auto exported = engine_->export_group(name); !exported) {
        Error error = exported.error();
        Outcome back;
        if (auto settled = settle(back); !settled) error.reason += "; and its volumes could not be served again: " + settled.error().to_text();
        for (const auto &left : back.left_out) error.reason += fmt::format("; left out when it was served again: {}{} {}", left.volume, left.port, left.reason);
        return error;
    }
    state_.groups[to_string(group->uuid)].name = name;
    state_.groups[to_string(group->uuid)].exported = true;
    note(out);
    out.done.push_back(fmt::format("group {} exported: its drives are free to go to another host", name));
    return out;
}

Result<Outcome> Array::delete_group(const std::string &name) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto group = find_group(name);
    if (!group) return group.error();
    const auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    std::vector<std::string> names;
    for (const auto &volume : *volumes)
        if (volume.group == name) names.push_back(volume.name);
    if (!names.empty())
        return Error{"delete the group", name, 0, fmt::format("it has volumes: {}", fmt::join(names, ", ")),
                     "delete them first: pavcfg delete volume name …"};
    Outcome out;
    if (const auto drives = engine_->drives(name))
        for (const auto &drive : *drives)
            if (!is_present(drive))
                out.warnings.push_back(fmt::format("drive {} (slot {}) is not here and was not wiped; should it come back: pavcfg wipe drives {}",
                                                   drive.path.empty() ? to_string(drive.uuid) : drive.path, drive.slot,
                                                   drive.path.empty() ? "DRIVE" : drive.path));
    if (auto destroyed = engine_->destroy_group(name); !destroyed) {
        if (find_group(name)) return destroyed.error();
        out.warnings.push_back(destroyed.error().to_text());  // a drive that could not be wiped: the group is gone all the same
    }
    state_.groups.erase(to_string(group->uuid));
    note(out);
    out.done.push_back(fmt::format("group {} deleted", name));
    return out;
}

Result<Outcome> Array::checkpoint_group(const std::string &name) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    if (const auto group = find_group(name); !group) return group.error();
    if (auto done = engine_->checkpoint_group(name); !done) return done.error();
    Outcome out;
    out.done.push_back(fmt::format("checkpoint of group {} written", name));
    return out;
}

Result<Outcome> Array::restore() {
    if (!options_.wait_seconds) options_.wait_seconds = config_.wait_seconds;
    if (auto ready = begin(Access::change); !ready) return ready.error();
    Outcome out;
    if (!real_engine_) out.done.emplace_back("the module pavraid is loaded, and the groups are opened that it finds: which, cannot be seen without it");
    const auto failed = import_found(out, "", 0, {}, true, false);
    auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    std::set<std::string> needed;
    for (const auto &volume : *volumes)
        for (const auto &name : export_of(volume.props).ports)
            if (config_.port(name)) needed.insert(name);
    if (!options_.dry_run)
        for (const auto &name : needed) {
            const bool roce = config_.protocol_of(*config_.port(name)) == Protocol::roce;
            if (auto loaded = machine_.modules.load(roce ? "nvmet-rdma" : "nvmet-tcp"); !loaded)
                out.warnings.push_back(loaded.error().to_text());
        }
    wait_for([&] {
        std::vector<std::string> missing;
        for (const auto &name : needed)
            if (const auto why = not_ready(*config_.port(name))) missing.push_back(fmt::format("port {}: {}", name, *why));
        return missing;
    });
    if (auto settled = settle(out); !settled) return settled.error();
    out.left_out.insert(out.left_out.end(), failed.begin(), failed.end());
    note(out);
    if (!out.plan.empty()) out.done.push_back(fmt::format("nvmet brought after the record in {} steps", out.plan.steps.size()));
    return out;
}

}  // namespace pav
