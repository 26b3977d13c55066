// SPDX-License-Identifier: GPL-2.0
//
// Drives of groups: fail, replace, add, remove, take back, wipe; and scrub.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pav/array.hpp"

namespace pav {

namespace {

std::string list_text(const std::vector<std::string> &items) { return fmt::format("{}", fmt::join(items, ", ")); }

std::string text_of(const Drive &drive) { return drive.path.empty() ? fmt::format("in slot {}", drive.slot) : drive.path; }

std::string back_text(const std::string &path, const std::string &group) {
    return fmt::format("drive {} is back in group {}; what it missed is rebuilt", path, group);
}

}  // namespace

// Identities of the drives that open groups have.
std::set<std::string> Array::drives_in_use() {
    std::set<std::string> used;
    const auto groups = engine_->groups();
    if (!groups) return used;
    for (const auto &group : *groups)
        if (const auto drives = engine_->drives(group.name))
            for (const auto &drive : *drives)
                if (!drive.path.empty() && drive.state != DriveState::failed) used.insert(machine_.drives.identity(drive.path));
    return used;
}

// All that speaks against taking these drives, in one error: an administrator wants the whole list at once.
Result<void> Array::check_blank(const char *tried, const std::string &object, const std::vector<DriveSpec> &drives) {
    std::vector<std::string> refused, to_wipe, of_groups;
    std::map<std::string, std::string> seen;
    // nvmet holds its devices open without a claim: whoever else wants one gets it.
    std::map<std::string, std::string> served;  // NQN by identity of the device
    if (const auto nvmet = nvmet::read_state(machine_.tree))
        for (const auto &[nqn, subsystem] : nvmet->subsystems)
            for (const auto &[nsid, ns] : subsystem.namespaces)
                if (!ns.device_path.empty()) served.emplace(machine_.drives.identity(ns.device_path), nqn);
    for (const auto &drive : drives) {
        const auto [it, fresh] = seen.emplace(machine_.drives.identity(drive.path), drive.path);
        if (!fresh) {
            refused.push_back(it->second == drive.path ? fmt::format("{} is named twice", drive.path)
                                                       : fmt::format("{} and {} are the same drive", it->second, drive.path));
            continue;
        }
        if (const auto nqn = served.find(it->first); nqn != served.end()) {
            refused.push_back(fmt::format("{} is served by nvmet as {}", drive.path, nqn->second));
            continue;
        }
        if (const auto label = engine_->probe_drive(drive.path); label && label->has_group()) {
            refused.push_back(fmt::format("{} belongs to group {}", drive.path, label->group));
            of_groups.push_back(drive.path);
            continue;
        }
        const auto found = machine_.drives.contents(drive.path);
        if (!found) {
            refused.push_back(found.error().to_text());
        } else if (!found->empty()) {
            refused.push_back(fmt::format("{} holds {}", drive.path, list_text(*found)));
            to_wipe.push_back(drive.path);
        }
    }
    if (!refused.empty()) {
        std::vector<std::string> ways;
        if (!of_groups.empty()) ways.push_back(fmt::format("pavcfg wipe drives {}", fmt::join(of_groups, " ")));
        if (!to_wipe.empty()) ways.push_back(fmt::format("wipefs -a {}", fmt::join(to_wipe, " ")));
        return Error{tried, object, 0, fmt::format("{}", fmt::join(refused, "; ")),
                     ways.empty() ? "name other drives" : fmt::format("if nothing on them is needed any more: {}", fmt::join(ways, " and "))};
    }
    return {};
}

// `text` is a path, or the number of a slot. A drive that is gone keeps the path that it had, which another may have by now.
Result<Drive> Array::find_drive(const Group &group, const std::string &text) {
    const auto drives = engine_->drives(group.name);
    if (!drives) return drives.error();
    const bool number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    std::vector<std::string> paths;
    std::vector<Drive> found;
    for (const auto &drive : *drives) {
        if (number ? std::to_string(drive.slot) == text
                   : !drive.path.empty() && (drive.path == text || machine_.drives.identity(drive.path) == machine_.drives.identity(text)))
            found.push_back(drive);
        paths.push_back(number ? std::to_string(drive.slot) : drive.path);
    }
    if (found.size() == 1) return found.front();
    if (found.size() > 1) {
        std::vector<std::string> slots;
        for (const auto &drive : found) slots.push_back(fmt::format("{} ({})", drive.slot, is_present(drive) ? to_string(drive.state) : "gone, had it"));
        return Error{"find the drive", text, 0, fmt::format("more than one slot of group {} has or had this path: {}", group.name, fmt::join(slots, ", ")),
                     fmt::format("name the slot; see pavcfg show drives grpname {}", group.name)};
    }
    const auto near = nearest(text, paths);
    return Error{"find the drive", text, ENOENT, fmt::format("group {} has no such drive", group.name),
                 near ? fmt::format("did you mean {}?", *near) : fmt::format("see pavcfg show drives grpname {}", group.name)};
}

Result<Outcome> Array::fail_drive(const std::string &group, unsigned slot) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    if (const auto found = find_group(group); !found) return found.error();
    if (auto done = engine_->fail_drive(group, slot); !done) return done.error();
    Outcome out;
    out.done.push_back(fmt::format("drive {} of group {} taken out of use", slot, group));
    return out;
}

Result<Outcome> Array::add_drives(const std::string &name, const std::vector<std::string> &drives, const std::vector<std::string> &spares) {
    if (drives.empty() && spares.empty())
        return Error{"add drives to", name, 0, "it is not said which", "add drives DRIVE… to group G, or add spares DRIVE… to group G"};
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto before = find_group(name);
    if (!before) return before.error();
    std::vector<DriveSpec> specs;
    for (const auto &path : drives) specs.push_back({path, false});
    for (const auto &path : spares) specs.push_back({path, true});
    if (auto blank = check_blank("add drives to", name, specs); !blank) return blank.error();
    if (auto added = engine_->add_drives(name, specs); !added) return added.error();
    Outcome out;
    if (!spares.empty()) out.done.push_back(fmt::format("group {}: {} joined as spare{}", name, list_text(spares), spares.size() > 1 ? "s" : ""));
    if (!drives.empty()) {
        const auto after = find_group(name);
        if (!after) return after.error();
        out.done.push_back(fmt::format("group {}: {} joined; capacity {}, was {}", name, list_text(drives), size_text(after->capacity_bytes),
                                       size_text(before->capacity_bytes)));
    }
    return out;
}

Result<Outcome> Array::replace_drive(const std::string &name, const std::string &drive, const std::string &with) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto group = find_group(name);
    if (!group) return group.error();
    const auto old = find_drive(*group, drive);
    if (!old) return old.error();
    if (old->state == DriveState::spare)
        return Error{"replace", text_of(*old), 0, "it is a spare and holds nothing", fmt::format("pavcfg remove drive {} from group {}", drive, name)};
    const auto drives = engine_->drives(name);
    if (!drives) return drives.error();
    std::optional<std::string> path;
    const auto is_spare = [&](const Drive &d) {
        return d.state == DriveState::spare && (with.empty() || machine_.drives.identity(d.path) == machine_.drives.identity(with));
    };
    const auto spare = std::find_if(drives->begin(), drives->end(), is_spare);
    if (spare != drives->end()) {
        if (!with.empty()) path = spare->path;
    } else if (with.empty()) {
        return Error{"replace", text_of(*old), 0, fmt::format("group {} has no spare", name),
                     fmt::format("name a new drive: pavcfg replace drive {} in group {} with DRIVE", drive, name)};
    } else {
        if (auto blank = check_blank("replace", text_of(*old), {{with, false}}); !blank) return blank.error();
        path = with;
    }
    if (auto replaced = engine_->replace_drive(name, old->slot, path); !replaced) return replaced.error();
    Outcome out;
    out.done.push_back(fmt::format("group {}: {} takes the place of {} (slot {}); it is rebuilt in the background (pavcfg show tasks)", name,
                                   path ? *path : text_of(*spare), text_of(*old), old->slot));
    return out;
}

Result<Outcome> Array::remove_drive(const std::string &name, const std::string &drive) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    const auto group = find_group(name);
    if (!group) return group.error();
    const auto found = find_drive(*group, drive);
    if (!found) return found.error();
    Outcome out;
    if (found->state == DriveState::leaving) return out;
    if (auto removed = engine_->remove_drive(name, found->slot); !removed) return removed.error();
    const auto now = engine_->drives(name);
    const bool stays = now && std::any_of(now->begin(), now->end(), [&](const Drive &d) { return d.slot == found->slot; });
    out.done.push_back(stays ? fmt::format("group {}: what {} (slot {}) holds is moved to the others; then it is free (pavcfg show drives)", name,
                                           text_of(*found), found->slot)
                             : fmt::format("group {}: {} (slot {}) has left", name, text_of(*found), found->slot));
    return out;
}

// A drive of an open group that is not in its slot goes back there. That it may not, is only a warning.
void Array::take_back(Outcome &out, const std::string &path, const std::string &group) {
    const auto back = engine_->return_drive(path);
    if (back)
        out.done.push_back(back_text(path, *back));
    else
        out.warnings.push_back(fmt::format("drive {} stays out of group {}: {}", path, group, back.error().to_text()));
}

// Nothing of nvmet or of this host's state is touched, so a restore that waits for drives is not waited for; and udev, which asks
// whenever a disk comes, must not load the module.
Result<Outcome> Array::return_drives(const std::string &drive) {
    if (auto ready = begin(options_.dry_run ? Access::change : Access::look); !ready) return ready.error();
    Outcome out;
    if (!real_engine_ && drive.empty()) return out;
    if (!real_engine_) return Error{"take back", drive, ENOENT, "the module pavraid is not loaded: no group is open", "pavcfg restore"};
    if (!drive.empty()) {
        const auto back = engine_->return_drive(drive);
        if (!back) return back.error();
        out.done.push_back(back_text(drive, *back));
        return out;
    }
    const auto groups = engine_->groups();
    if (!groups) return groups.error();
    bool lacking = false;
    for (const auto &group : *groups)
        if (const auto drives = engine_->drives(group.name))
            lacking |= std::any_of(drives->begin(), drives->end(), [](const Drive &d) { return d.state == DriveState::failed; });
    if (!lacking) return out;
    for (const auto &label : closed_drives())
        if (std::any_of(groups->begin(), groups->end(), [&](const Group &g) { return g.uuid == label.group_uuid; }))
            take_back(out, label.path, label.group);
    return out;
}

Result<Outcome> Array::scrub(const std::string &name, bool on) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    if (!name.empty())
        if (const auto found = find_group(name); !found) return found.error();
    const auto groups = engine_->groups();
    if (!groups) return groups.error();
    Outcome out;
    for (const auto &group : *groups) {
        if (!name.empty() && group.name != name) continue;
        if (on == (group.running(TaskKind::scrub) != nullptr)) continue;
        if (auto done = engine_->scrub(group.name, on); !done) {
            if (!name.empty()) return done.error();
            out.left_out.push_back({"", "", done.error().to_text()});
            continue;
        }
        out.done.push_back(fmt::format("scrub of group {} {}", group.name, on ? "begun (pavcfg show tasks)" : "stopped"));
    }
    return out;
}

Result<std::vector<Group>> Array::groups() {
    if (auto ready = begin(Access::look); !ready) return ready.error();
    return engine_->groups();
}

Result<Outcome> Array::wipe_drives(const std::vector<std::string> &drives, bool takeover) {
    if (auto ready = begin(Access::change); !ready) return ready.error();
    // All are looked at before the first is touched.
    std::vector<std::string> refused;
    std::vector<DriveLabel> labels;
    for (const auto &path : drives) {
        const auto label = engine_->probe_drive(path);
        if (!label)
            refused.push_back(label.error().to_text());
        else if (!label->has_group())
            refused.push_back(label->problem.find(path) == std::string::npos ? fmt::format("{}: {}", path, label->problem) : label->problem);
        else if (drives_in_use().contains(machine_.drives.identity(path)))
            refused.push_back(fmt::format("{}: the open group {} has it", path, label->group));
        else if (!label->owner.empty() && !is_this_machine(label->owner_id) && !takeover)
            refused.push_back(fmt::format("{}: host {} has group {} open, or had and died: export it there, or add --takeover", path, label->owner, label->group));
        else
            labels.push_back(*label);
    }
    if (!refused.empty())
        return Error{"wipe", "drives", 0, fmt::format("{}", fmt::join(refused, "; ")), "name drives of groups that are not open; pavcfg show drives lists them"};
    Outcome out;
    for (const auto &label : labels) {
        if (auto wiped = engine_->wipe_drive(label.path); !wiped) {
            if (out.done.empty()) return wiped.error();
            out.left_out.push_back({"", "", wiped.error().to_text()});
            continue;
        }
        out.done.push_back(fmt::format("drive {} no longer belongs to group {}", label.path, label.group));
    }
    // A group of which no drive is left that could be found is not waited for.
    std::set<std::string> left;
    for (const auto &label : closed_drives()) left.insert(to_string(label.group_uuid));
    if (const auto open = engine_->groups())
        for (const auto &group : *open) left.insert(to_string(group.uuid));
    for (const auto &label : labels)
        if (!left.contains(to_string(label.group_uuid))) state_.groups.erase(to_string(label.group_uuid));
    note(out);
    return out;
}

std::vector<DriveLabel> Array::closed_drives() {
    std::vector<DriveLabel> found;
    const auto drives = machine_.drives.candidates(config_.drive_patterns);
    if (!drives || !begin(Access::look)) return found;
    const auto used = drives_in_use();
    for (const auto &path : *drives) {
        if (used.contains(machine_.drives.identity(path))) continue;
        if (auto label = engine_->probe_drive(path); label && label->has_group()) found.push_back(std::move(label).value());
    }
    return found;
}

}  // namespace pav
