// SPDX-License-Identifier: GPL-2.0
//
// The engine's control interface, as C++ values. open_kernel_engine() (netlink.hpp) gives the kernel's; MemoryEngine
// (memory_engine.hpp) keeps the same promises in memory, for dry runs and tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pav/model.hpp"

namespace pav {

struct DriveSpec {
    std::string path;
    bool spare = false;
};

struct GroupSpec {
    std::string name;
    std::vector<DriveSpec> drives;
    std::optional<unsigned> data_drives;      // nothing: all drives that are no spares, minus two
    std::optional<unsigned> reserve_percent;  // of the space that data can have, 1 to 50; nothing: as the engine sees fit
};

struct VolumeSpec {
    std::string group, name;
    std::uint64_t size_bytes = 0;
    std::string serial;
    Uuid uuid{}, nguid{};
};

// What a superblock on a drive says. A drive without one has no group and the reason why in `problem`.
struct DriveLabel {
    std::string path;
    std::string group;
    Uuid group_uuid{};
    unsigned data_drives = 0;
    unsigned expected_drives = 0;  // of the group, spares too, that had not failed when the superblock was written
    std::uint64_t generation = 0;  // of the superblock: the newest one of a group is right
    Drive drive;
    std::string problem;
    std::string owner;             // the host that has the group open by the drive's owner stamp, or had and died; empty: closed
    Uuid owner_id{};
    std::uint64_t owner_seen = 0;  // when it wrote the stamp, in seconds since 1970 by its own clock

    bool has_group() const { return !group.empty(); }
};

// Every call is one request; it returns when the change is durable. Errors carry the engine's own text.
class Engine {
  public:
    virtual ~Engine() = default;

    virtual Result<DriveLabel> probe_drive(const std::string &path) = 0;
    virtual Result<void> wipe_drive(const std::string &path) = 0;  // its superblock; refused while a group that is open has it

    virtual Result<void> create_group(const GroupSpec &spec) = 0;
    // Gives the group's name. EBUSY: another host has it open; with `takeover` that one is cut off. May take as long as it takes to be sure.
    virtual Result<std::string> import_group(const std::vector<std::string> &drives, const std::optional<std::string> &name, bool takeover) = 0;
    virtual Result<void> export_group(const std::string &group) = 0;
    virtual Result<void> destroy_group(const std::string &group) = 0;
    virtual Result<void> checkpoint_group(const std::string &group) = 0;
    virtual Result<std::vector<Group>> groups() = 0;

    virtual Result<std::vector<Drive>> drives(const std::string &group) = 0;
    virtual Result<void> fail_drive(const std::string &group, unsigned slot) = 0;
    virtual Result<void> add_drives(const std::string &group, const std::vector<DriveSpec> &drives) = 0;
    // `with`: a spare of the group, or a drive that joins it; nothing: any spare.
    virtual Result<void> replace_drive(const std::string &group, unsigned slot, const std::optional<std::string> &with) = 0;
    virtual Result<void> remove_drive(const std::string &group, unsigned slot) = 0;
    virtual Result<std::string> return_drive(const std::string &path) = 0;  // gives the group's name
    virtual Result<void> scrub(const std::string &group, bool on) = 0;

    virtual Result<void> create_volume(const VolumeSpec &spec) = 0;
    virtual Result<void> delete_volume(const std::string &group, const std::string &name) = 0;
    virtual Result<void> grow_volume(const std::string &group, const std::string &name, std::uint64_t size_bytes) = 0;
    virtual Result<void> rename_volume(const std::string &group, const std::string &name, const std::string &to) = 0;
    virtual Result<void> set_props(const std::string &group, const std::string &name,
                                   const std::map<std::string, std::optional<std::string>> &changes) = 0;
    virtual Result<std::vector<Volume>> volumes() = 0;
};

}  // namespace pav
