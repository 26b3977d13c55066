// SPDX-License-Identifier: GPL-2.0
//
// The engine's control interface in memory: no data, the same objects and the same refusals. A dry run copies the real engine's
// objects into one and lets the command run against that; the tests use it as the kernel.
#pragma once

#include <functional>
#include <memory>
#include <map>
#include <string>
#include <vector>

#include "pav/engine.hpp"

namespace pav {

class MemoryEngine : public Engine {
  public:
    MemoryEngine() = default;
    // A copy of what `from` has now. Probing drives still asks `from`, which must outlive this.
    static Result<std::unique_ptr<MemoryEngine>> copy_of(Engine &from);

    Result<DriveLabel> probe_drive(const std::string &path) override;
    Result<void> create_group(const GroupSpec &spec) override;
    Result<std::string> import_group(const std::vector<std::string> &drives, const std::optional<std::string> &name, bool takeover) override;
    Result<void> export_group(const std::string &group) override;
    Result<void> destroy_group(const std::string &group) override;
    Result<void> checkpoint_group(const std::string &group) override;
    Result<std::vector<Group>> groups() override;
    Result<std::vector<Drive>> drives(const std::string &group) override;
    Result<void> wipe_drive(const std::string &path) override;
    Result<void> fail_drive(const std::string &group, unsigned slot) override;
    Result<void> add_drives(const std::string &group, const std::vector<DriveSpec> &drives) override;
    Result<void> replace_drive(const std::string &group, unsigned slot, const std::optional<std::string> &with) override;
    Result<void> remove_drive(const std::string &group, unsigned slot) override;
    Result<std::string> return_drive(const std::string &path) override;
    Result<void> scrub(const std::string &group, bool on) override;
    Result<void> create_volume(const VolumeSpec &spec) override;
    Result<void> delete_volume(const std::string &group, const std::string &name) override;
    Result<void> grow_volume(const std::string &group, const std::string &name, std::uint64_t size_bytes) override;
    Result<void> rename_volume(const std::string &group, const std::string &name, const std::string &to) override;
    Result<void> set_props(const std::string &group, const std::string &name,
                           const std::map<std::string, std::optional<std::string>> &changes) override;
    Result<std::vector<Volume>> volumes() override;

    // What was asked for, one line each: what a dry run shows.
    const std::vector<std::string> &journal() const { return journal_; }

    // For tests: makes the calls that `when` is true for fail; its argument is the line that would go into the journal.
    void refuse(std::function<std::optional<Error>(const std::string &line)> when) { refuse_ = std::move(when); }
    void set_openers(const std::string &full_name, unsigned openers);
    void take_away(const std::string &drive);  // out of its slot
    void set_owner(const std::string &group, const std::string &host) { owners_[group] = host; }  // it is open on another host
    void bring_back(const std::string &drive, const std::string &as);  // into it, where it is not yet used again; under another name
    void set_task(const std::string &group, const Task &task);         // in place of the one of its kind
    void set_group_state(const std::string &group, GroupState state) { groups_.at(group).info.state = state; }

  private:
    struct Entry {
        Group info;
        std::vector<Drive> drives;
        std::map<std::string, Volume> volumes;
    };
    Result<void> note(std::string line);
    Result<Entry *> group(const std::string &name, const char *tried);
    Result<Volume *> volume(const std::string &group, const std::string &name, const char *tried);

    std::map<std::string, Entry> groups_;     // open ones
    std::map<std::string, Entry> exported_;   // superblocks on drives that no open group uses
    std::map<std::string, std::pair<std::string, unsigned>> away_;  // drives that were taken away and are back, by path: group, slot
    std::map<std::string, Entry> deleted_;    // groups whose drives were not all there (counter "present") when they were deleted: those
    std::map<std::string, std::string> owners_;  // other hosts that have groups open, by group
    unsigned next_device_ = 0;
    Engine *probe_from_ = nullptr;
    std::vector<std::string> journal_;
    std::function<std::optional<Error>(const std::string &)> refuse_;
};

}  // namespace pav
