// SPDX-License-Identifier: GPL-2.0
#include "pav/memory_engine.hpp"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pav_netlink.h"

namespace pav {

Result<std::unique_ptr<MemoryEngine>> MemoryEngine::copy_of(Engine &from) {
    auto copy = std::make_unique<MemoryEngine>();
    copy->probe_from_ = &from;
    auto groups = from.groups();
    if (!groups) return groups.error();
    for (auto &group : *groups) {
        auto drives = from.drives(group.name);
        if (!drives) return drives.error();
        copy->groups_[group.name] = {group, std::move(drives).value(), {}};
    }
    auto volumes = from.volumes();
    if (!volumes) return volumes.error();
    for (auto &volume : *volumes) {
        copy->next_device_ = std::max(copy->next_device_, static_cast<unsigned>(volumes->size()) + volume.id);
        copy->groups_[volume.group].volumes[volume.name] = volume;
    }
    return copy;
}

Result<void> MemoryEngine::note(std::string line) {
    if (refuse_)
        if (auto error = refuse_(line)) return *error;
    journal_.push_back(std::move(line));
    return {};
}

Result<MemoryEngine::Entry *> MemoryEngine::group(const std::string &name, const char *tried) {
    const auto it = groups_.find(name);
    if (it == groups_.end()) return Error{tried, name, ENOENT, "there is no such group", "see pavcfg show groups"};
    return &it->second;
}

Result<Volume *> MemoryEngine::volume(const std::string &group_name, const std::string &name, const char *tried) {
    auto entry = group(group_name, tried);
    if (!entry) return entry.error();
    const auto it = (*entry)->volumes.find(name);
    if (it == (*entry)->volumes.end())
        return Error{tried, group_name + "/" + name, ENOENT, "there is no such volume", "see pavcfg show volumes"};
    return &it->second;
}

Result<DriveLabel> MemoryEngine::probe_drive(const std::string &path) {
    DriveLabel label;
    label.path = path;
    for (const auto *all : {&groups_, &exported_, &deleted_})
        for (const auto &[name, entry] : *all)
            for (const auto &drive : entry.drives)
                if (drive.path == path) {
                    label.group = name;
                    label.group_uuid = entry.info.uuid;
                    label.data_drives = entry.info.data_drives;
                    label.drive = drive;
                    // One that failed is written no more; the others are, twice, when it is recorded.
                    label.generation = entry.info.generation - (drive.state == DriveState::failed ? std::min<std::uint64_t>(entry.info.generation, 2) : 0);
                    if (const auto owner = owners_.find(name); owner != owners_.end()) label.owner = owner->second;
                    label.expected_drives = static_cast<unsigned>(std::count_if(
                        entry.drives.begin(), entry.drives.end(), [](const Drive &d) { return d.state == DriveState::active || d.state == DriveState::spare; }));
                    return label;
                }
    if (const auto it = away_.find(path); it != away_.end()) {
        const Entry &entry = groups_.at(it->second.first);
        label.group = entry.info.name;
        label.group_uuid = entry.info.uuid;
        label.drive.slot = it->second.second;
        return label;
    }
    if (probe_from_) return probe_from_->probe_drive(path);
    label.problem = "no superblock";
    return label;
}

Result<void> MemoryEngine::create_group(const GroupSpec &spec) {
    const char *tried = "create the group";
    if (groups_.contains(spec.name)) return Error{tried, spec.name, EEXIST, "there is a group of this name", "choose another name"};
    const auto spares = static_cast<unsigned>(std::count_if(spec.drives.begin(), spec.drives.end(), [](const auto &d) { return d.spare; }));
    const auto members = static_cast<unsigned>(spec.drives.size()) - spares;
    if (members < 4 || members > 32)
        return Error{tried, spec.name, EINVAL, fmt::format("{} drives are given", members), "a group has 4 to 32 drives (2+2 to 30+2), spares not counted"};
    std::vector<std::string> paths;
    for (const auto &drive : spec.drives) paths.push_back(drive.path + (drive.spare ? " (spare)" : ""));
    if (auto noted = note(fmt::format("create group {} on {}", spec.name, fmt::join(paths, " "))); !noted) return noted;
    Entry entry;
    entry.info.name = spec.name;
    entry.info.data_drives = spec.data_drives.value_or(members - 2);
    entry.info.uuid.fill(static_cast<std::uint8_t>(groups_.size() + exported_.size() + 1));
    for (const auto &drive : spec.drives) {
        Drive d;
        d.group = spec.name;
        d.path = drive.path;
        d.slot = static_cast<unsigned>(entry.drives.size());
        d.state = drive.spare ? DriveState::spare : DriveState::active;
        d.bytes = std::uint64_t{1} << 40;
        entry.drives.push_back(d);
    }
    entry.info.reserve_percent = spec.reserve_percent.value_or(15);
    entry.info.capacity_bytes = entry.info.free_bytes = entry.info.data_drives * (std::uint64_t{1} << 40) / 100 * (100 - entry.info.reserve_percent);
    groups_[spec.name] = std::move(entry);
    return {};
}

Result<std::string> MemoryEngine::import_group(const std::vector<std::string> &drives, const std::optional<std::string> &name, bool takeover) {
    const char *tried = "import the group";
    if (drives.empty()) return Error{tried, name.value_or(""), EINVAL, "no drives are given", "name its drives"};
    auto label = probe_drive(drives.front());
    if (!label) return label.error();
    if (!label->has_group()) return Error{tried, drives.front(), ENODATA, label->problem, "name drives of one group"};
    if (name && label->group != *name)
        return Error{tried, *name, EINVAL, fmt::format("the drives belong to group {}", label->group), "name that group"};
    if (groups_.contains(label->group)) return Error{tried, label->group, EEXIST, "it is open already", ""};
    if (const auto owner = owners_.find(label->group); owner != owners_.end() && !takeover)
        return Error{tried, label->group, EBUSY, fmt::format("host {} has it open", owner->second), "export it there, or import with takeover"};
    if (auto noted = note(fmt::format("import group {} from {}{}", label->group, fmt::join(drives, " "), takeover ? ", by force" : "")); !noted) return noted.error();
    owners_.erase(label->group);
    Entry entry;
    if (const auto it = exported_.find(label->group); it != exported_.end()) {
        if (drives.size() < it->second.info.data_drives)
            return Error{tried, label->group, ENXIO, fmt::format("{} of its drives are there, {} are needed", drives.size(), it->second.info.data_drives), ""};
        entry = std::move(it->second);
        exported_.erase(it);
    } else {
        entry.info.name = label->group;
        entry.info.uuid = label->group_uuid;
    }
    groups_[label->group] = std::move(entry);
    return label->group;
}

Result<void> MemoryEngine::export_group(const std::string &name) {
    auto entry = group(name, "export the group");
    if (!entry) return entry.error();
    for (const auto &[volume_name, volume] : (*entry)->volumes)
        if (volume.openers) return Error{"export the group", name, EBUSY, fmt::format("volume {} is open", volume_name), "unmount or unassign it"};
    if (auto noted = note(fmt::format("export group {}", name)); !noted) return noted;
    exported_[name] = std::move(**entry);
    groups_.erase(name);
    return {};
}

Result<void> MemoryEngine::destroy_group(const std::string &name) {
    auto entry = group(name, "delete the group");
    if (!entry) return entry.error();
    if (!(*entry)->volumes.empty())
        return Error{"delete the group", name, EBUSY, fmt::format("it has {} volumes", (*entry)->volumes.size()), "delete them first"};
    if (auto noted = note(fmt::format("delete group {}", name)); !noted) return noted;
    auto dead = groups_.extract(name);
    std::erase_if(dead.mapped().drives, [](const Drive &drive) { return is_present(drive); });
    deleted_.erase(name);
    deleted_.insert(std::move(dead));
    return {};
}

Result<void> MemoryEngine::checkpoint_group(const std::string &name) {
    if (auto entry = group(name, "checkpoint the group"); !entry) return entry.error();
    return note(fmt::format("checkpoint group {}", name));
}

Result<std::vector<Group>> MemoryEngine::groups() {
    std::vector<Group> all;
    for (auto &[name, entry] : groups_) {
        entry.info.provisioned_bytes = 0;
        for (const auto &[volume_name, volume] : entry.volumes) entry.info.provisioned_bytes += volume.size_bytes;
        all.push_back(entry.info);
    }
    return all;
}

Result<std::vector<Drive>> MemoryEngine::drives(const std::string &name) {
    auto entry = group(name, "list the drives of");
    if (!entry) return entry.error();
    return (*entry)->drives;
}

Result<void> MemoryEngine::wipe_drive(const std::string &path) {
    const auto is_it = [&](const Drive &drive) { return drive.path == path; };
    for (const auto &[name, entry] : groups_)
        if (std::any_of(entry.drives.begin(), entry.drives.end(), is_it))
            return Error{"wipe", path, EBUSY, fmt::format("the open group {} has it", name), "delete or export that group first"};
    const auto label = probe_drive(path);
    if (!label) return label.error();
    if (!label->has_group()) return Error{"wipe", path, ENOENT, label->problem, ""};
    if (auto noted = note(fmt::format("wipe the superblock on {}", path)); !noted) return noted;
    for (auto *all : {&exported_, &deleted_})
        for (auto &[name, entry] : *all) std::erase_if(entry.drives, is_it);
    return {};
}

Result<void> MemoryEngine::fail_drive(const std::string &name, unsigned slot) {
    auto entry = group(name, "take out of use");
    if (!entry) return entry.error();
    for (auto &drive : (*entry)->drives)
        if (drive.slot == slot) {
            if (auto noted = note(fmt::format("take drive {} ({}) of group {} out of use", slot, drive.path, name)); !noted) return noted;
            drive.state = DriveState::failed;
            (*entry)->info.state = GroupState::degraded;
            (*entry)->info.generation += 2;
            return {};
        }
    return Error{"take out of use", fmt::format("drive {} of {}", slot, name), ENOENT, "there is no such slot", "see pavcfg show drives"};
}

Result<void> MemoryEngine::add_drives(const std::string &name, const std::vector<DriveSpec> &drives) {
    auto entry = group(name, "add drives to");
    if (!entry) return entry.error();
    if ((*entry)->drives.size() + drives.size() > PAV_MAX_DRIVES)
        return Error{"add drives to", name, EINVAL, fmt::format("it would have more than {}", PAV_MAX_DRIVES), "add fewer"};
    std::vector<std::string> paths;
    for (const auto &drive : drives) paths.push_back(drive.path + (drive.spare ? " (spare)" : ""));
    if (auto noted = note(fmt::format("add to group {}: {}", name, fmt::join(paths, " "))); !noted) return noted;
    for (const auto &drive : drives) {
        Drive d;
        d.group = name;
        d.path = drive.path;
        while (std::any_of((*entry)->drives.begin(), (*entry)->drives.end(), [&](const Drive &o) { return o.slot == d.slot; })) d.slot++;
        d.state = drive.spare ? DriveState::spare : DriveState::active;
        d.bytes = std::uint64_t{1} << 40;
        (*entry)->drives.push_back(d);
    }
    return {};
}

Result<void> MemoryEngine::replace_drive(const std::string &name, unsigned slot, const std::optional<std::string> &with) {
    auto entry = group(name, "replace a drive of");
    if (!entry) return entry.error();
    auto &drives = (*entry)->drives;
    const auto old = std::find_if(drives.begin(), drives.end(), [&](const Drive &d) { return d.slot == slot; });
    if (old == drives.end()) return Error{"replace", fmt::format("drive {} of {}", slot, name), ENOENT, "there is no such slot", "see pavcfg show drives"};
    const auto spare = std::find_if(drives.begin(), drives.end(), [&](const Drive &d) {
        return d.state == DriveState::spare && (!with || d.path == *with);
    });
    if (spare == drives.end() && !with)
        return Error{"replace", fmt::format("drive {} of {}", slot, name), ENOENT, "the group has no spare", "name a new drive: with DRIVE"};
    const std::string path = spare == drives.end() ? *with : spare->path;
    if (auto noted = note(fmt::format("put {} in the place of drive {} ({}) of group {}", path, slot, old->path, name)); !noted) return noted;
    old->path = path;
    old->state = DriveState::rebuilding;
    old->counters.erase("present");
    if (spare != drives.end()) drives.erase(spare);
    return {};
}

Result<void> MemoryEngine::remove_drive(const std::string &name, unsigned slot) {
    auto entry = group(name, "remove a drive from");
    if (!entry) return entry.error();
    auto &drives = (*entry)->drives;
    const auto drive = std::find_if(drives.begin(), drives.end(), [&](const Drive &d) { return d.slot == slot; });
    if (drive == drives.end()) return Error{"remove", fmt::format("drive {} of {}", slot, name), ENOENT, "there is no such slot", "see pavcfg show drives"};
    if (auto noted = note(fmt::format("remove drive {} ({}) from group {}", slot, drive->path, name)); !noted) return noted;
    if (drive->state == DriveState::spare)
        drives.erase(drive);
    else
        drive->state = DriveState::leaving;
    return {};
}

Result<std::string> MemoryEngine::return_drive(const std::string &path) {
    const auto it = away_.find(path);
    if (it == away_.end()) return Error{"take back", path, ENOENT, "it is no drive that was away from an open group", "see pavcfg show drives"};
    const auto [name, slot] = it->second;
    if (auto noted = note(fmt::format("take {} back into slot {} of group {}", path, slot, name)); !noted) return noted.error();
    for (auto &drive : groups_.at(name).drives)
        if (drive.slot == slot) {
            drive.path = path;
            drive.state = DriveState::rebuilding;
            drive.counters.erase("present");
        }
    away_.erase(it);
    return name;
}

Result<void> MemoryEngine::scrub(const std::string &name, bool on) {
    if (auto entry = group(name, "scrub"); !entry) return entry.error();
    if (auto noted = note(fmt::format("{} the scrub of group {}", on ? "begin" : "stop", name)); !noted) return noted;
    Task task;
    task.kind = TaskKind::scrub;
    task.running = on;
    set_task(name, task);
    return {};
}

Result<void> MemoryEngine::create_volume(const VolumeSpec &spec) {
    auto entry = group(spec.group, "create the volume");
    if (!entry) return entry.error();
    if ((*entry)->volumes.contains(spec.name))
        return Error{"create the volume", spec.group + "/" + spec.name, EEXIST, "there is a volume of this name", "choose another name"};
    if (auto noted = note(fmt::format("create volume {}/{} of {}, serial {}", spec.group, spec.name, size_text(spec.size_bytes), spec.serial)); !noted)
        return noted;
    Volume v;
    v.group = spec.group;
    v.name = spec.name;
    v.id = next_device_;
    v.size_bytes = spec.size_bytes;
    v.serial = spec.serial;
    v.uuid = spec.uuid;
    v.nguid = spec.nguid;
    v.block_device = fmt::format("pav{}", next_device_++);
    (*entry)->volumes[spec.name] = v;
    return {};
}

Result<void> MemoryEngine::delete_volume(const std::string &group_name, const std::string &name) {
    auto v = volume(group_name, name, "delete the volume");
    if (!v) return v.error();
    if ((*v)->openers) return Error{"delete the volume", (*v)->full_name(), EBUSY, "it is open", "unmount it"};
    if (auto noted = note(fmt::format("delete volume {}/{}", group_name, name)); !noted) return noted;
    groups_[group_name].volumes.erase(name);
    return {};
}

Result<void> MemoryEngine::grow_volume(const std::string &group_name, const std::string &name, std::uint64_t size_bytes) {
    auto v = volume(group_name, name, "grow the volume");
    if (!v) return v.error();
    if (size_bytes <= (*v)->size_bytes)
        return Error{"grow the volume", (*v)->full_name(), EINVAL, fmt::format("it has {} now", size_text((*v)->size_bytes)), "give a larger size"};
    if (auto noted = note(fmt::format("grow volume {}/{} to {}", group_name, name, size_text(size_bytes))); !noted) return noted;
    (*v)->size_bytes = size_bytes;
    return {};
}

Result<void> MemoryEngine::rename_volume(const std::string &group_name, const std::string &name, const std::string &to) {
    auto v = volume(group_name, name, "rename the volume");
    if (!v) return v.error();
    auto &volumes = groups_[group_name].volumes;
    if (volumes.contains(to)) return Error{"rename the volume", (*v)->full_name(), EEXIST, fmt::format("there is a volume {}", to), "choose another name"};
    if (auto noted = note(fmt::format("rename volume {}/{} to {}", group_name, name, to)); !noted) return noted;
    auto node = volumes.extract(name);
    node.key() = to;
    node.mapped().name = to;
    volumes.insert(std::move(node));
    return {};
}

Result<void> MemoryEngine::set_props(const std::string &group_name, const std::string &name,
                                     const std::map<std::string, std::optional<std::string>> &changes) {
    auto v = volume(group_name, name, "set the export settings of");
    if (!v) return v.error();
    Props wanted = (*v)->props;
    std::vector<std::string> words;
    for (const auto &[key, value] : changes) {
        words.push_back(value ? fmt::format("{}={}", key, *value) : fmt::format("{} removed", key));
        if (value)
            wanted[key] = *value;
        else
            wanted.erase(key);
    }
    std::size_t bytes = 0;
    for (const auto &[key, value] : wanted) bytes += key.size() + value.size() + 2;
    if (bytes > PAV_PROPS_MAX_BYTES)
        return Error{"set the export settings of", (*v)->full_name(), ENOSPC,
                     fmt::format("its properties would take {} bytes, at most {} are possible", bytes, PAV_PROPS_MAX_BYTES), "remove some"};
    if (auto noted = note(fmt::format("set properties of volume {}/{}: {}", group_name, name, fmt::join(words, ", "))); !noted) return noted;
    (*v)->props = std::move(wanted);
    return {};
}

Result<std::vector<Volume>> MemoryEngine::volumes() {
    std::vector<Volume> all;
    for (const auto &[name, entry] : groups_)
        for (const auto &[volume_name, volume] : entry.volumes) all.push_back(volume);
    return all;
}

void MemoryEngine::take_away(const std::string &path) {
    for (auto &[name, entry] : groups_)
        for (auto &drive : entry.drives)
            if (drive.path == path) {
                drive.state = DriveState::failed;
                drive.counters["present"] = 0;
            }
}

void MemoryEngine::bring_back(const std::string &path, const std::string &as) {
    for (const auto &[name, entry] : groups_)
        for (const auto &drive : entry.drives)
            if (drive.path == path) away_[as] = {name, drive.slot};
}

void MemoryEngine::set_task(const std::string &name, const Task &task) {
    auto &tasks = groups_.at(name).info.tasks;
    std::erase_if(tasks, [&](const Task &t) { return t.kind == task.kind; });
    tasks.push_back(task);
}

void MemoryEngine::set_openers(const std::string &full_name, unsigned openers) {
    for (auto &[name, entry] : groups_)
        for (auto &[volume_name, volume] : entry.volumes)
            if (volume.full_name() == full_name) volume.openers = openers;
}

}  // namespace pav
