// SPDX-License-Identifier: GPL-2.0
//
// Everything the array can be asked to do, as functions: pavcfg is one front, a daemon can be another.
//
// Every change follows one pattern: check → record in the group's metadata → derive nvmet's state from what is recorded →
// plan → apply. If nvmet refuses, its tree is rolled back and what was recorded before is recorded again. After a crash
// between the steps the record is ahead of nvmet, and the next command, or `restore`, brings nvmet after it.
//
// One Array serves one command. It holds a lock from the first change on, so that two commands do not interleave.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pav/desired.hpp"
#include "pav/engine.hpp"
#include "pav/host.hpp"
#include "pav/memory_engine.hpp"
#include "pav/state.hpp"

namespace pav {

inline constexpr const char *default_owned_file = "/run/pav/nvmet-owned.json";

// What an Array works on. All of it outlives the Array.
struct Machine {
    std::function<Result<std::unique_ptr<Engine>>()> open_engine;  // ENOENT: the module is not loaded
    nvmet::Tree &tree;
    Network &network;
    DriveInspector &drives;
    Modules &modules;
    Clock &clock;
    Random random;
    std::string state_file = default_state_file;
    std::string owned_file = default_owned_file;  // under /run: it lives as long as configfs does
    std::function<std::optional<std::string>(const std::string &)> device_identity = nvmet::device_identity;
};

struct ArrayOptions {
    bool dry_run = false;
    std::optional<unsigned> wait_seconds;                    // nothing: the configuration's for restore, none otherwise
    std::function<void(const std::string &)> progress;       // one line for people while something takes its time
};

// What a command did, or with dry_run would do.
struct Outcome {
    std::vector<std::string> done;      // sentences; empty: it was so already
    std::vector<std::string> warnings;
    std::vector<LeftOut> left_out;      // not empty: done in part
    nvmet::Plan plan;                   // nvmet's part
    std::vector<Volume> volumes;        // created, or assigned

    bool nothing() const { return done.empty() && plan.empty(); }
};

// ---- what is there ------------------------------------------------------------------------------------------------------

struct GroupView {
    Group group;
    unsigned zone = 0;  // 0: not known
    std::vector<Drive> drives;
    std::string status;  // status_of()
};

struct VolumeView {
    Volume volume;
    unsigned zone = 0;
    Export exported;
    std::string nqn;
    std::string status;  // its group's
    Live live;
    std::optional<Protocol> protocol;  // of its ports; nothing: it is not assigned, or not to a port of this host
};

struct PortView {
    Port port;
    unsigned zone = 0;
    Protocol protocol = Protocol::roce;
    InterfaceState interface;
    std::optional<std::string> not_ready;
    std::vector<std::string> preferred_of, active_of, serves;  // full names of volumes; active_of is what nvmet really does
};

struct Snapshot {
    Config config;
    bool engine_loaded = false;  // else there are no groups and volumes to be seen
    bool nvmet_loaded = false;
    std::vector<GroupView> groups;
    std::vector<std::string> closed_groups;  // that this host had, and has not exported
    std::vector<VolumeView> volumes;
    std::vector<PortView> ports;
    std::vector<LeftOut> left_out;  // recorded, but it cannot be served now
    nvmet::Plan drift;              // what `restore` would change in nvmet
    std::optional<Error> drift_error;

    // A group that is faulted, full, degraded or not open, a drive that failed, what is beyond repair or cannot be served, nvmet that
    // differs: somebody should look. Not: what people chose, as a failover or volumes of more than the capacity.
    bool needs_attention() const;
};

// ---- what can be done ---------------------------------------------------------------------------------------------------

// A volume by name; the group is needed only where two groups have one of this name.
struct VolumeRef {
    std::string name;
    std::string group;
};

// Which volumes a failover or failback is about.
struct PathSelector {
    std::optional<VolumeRef> volume;
    std::string group;  // without a volume: only those of this group
    std::string port;
    unsigned controller = 0;
};

class Array {
  public:
    Array(Config config, Machine machine, ArrayOptions options);

    Result<Snapshot> snapshot();
    Result<Volume> find_volume(const VolumeRef &ref);  // after snapshot()

    // `zone` 0: the only one. Every drive must be empty; all that are not are named in one error.
    Result<Outcome> create_group(const std::string &name, unsigned zone, const std::vector<std::string> &drives,
                                 const std::vector<std::string> &spares, std::optional<unsigned> data_drives,
                                 std::optional<unsigned> reserve_percent);
    // No drives: every drive that the configuration's patterns find is looked at. No name: every group there is.
    // `takeover`: a group that another host has open is taken from it, rather than left out.
    Result<Outcome> import_group(const std::string &name, unsigned zone, const std::vector<std::string> &drives, bool takeover);
    // Takes the group's volumes out of nvmet and lets the drives go. `restore` leaves the group alone until it is imported. One that is
    // not open, since its drives are gone, is no longer waited for.
    Result<Outcome> export_group(const std::string &name);
    // Drives of it that are gone keep what they hold; they are named in warnings.
    Result<Outcome> delete_group(const std::string &name);
    // Destroys the superblocks that closed or deleted groups have left on these drives. Drives of open groups are refused, and without `takeover` those whose
    // stamp says that another host has their group open.
    Result<Outcome> wipe_drives(const std::vector<std::string> &drives, bool takeover);
    // What drives that are in no open group say of a group they belong to; others are left out.
    std::vector<DriveLabel> closed_drives();
    Result<Outcome> checkpoint_group(const std::string &name);
    Result<Outcome> fail_drive(const std::string &group, unsigned slot);
    // A drive is named by its path or by the number of its slot. New ones must be empty, as for create_group.
    Result<Outcome> add_drives(const std::string &group, const std::vector<std::string> &drives, const std::vector<std::string> &spares);
    Result<Outcome> replace_drive(const std::string &group, const std::string &drive, const std::string &with);  // nothing: any spare
    Result<Outcome> remove_drive(const std::string &group, const std::string &drive);
    // One that was away from its group; or, without a name, all that are found. Those that may not come back are named in warnings.
    Result<Outcome> return_drives(const std::string &drive);
    Result<Outcome> scrub(const std::string &group, bool on);  // no group: all
    Result<std::vector<Group>> groups();                       // as they are now: for who watches

    Result<Outcome> create_volume(const std::string &name, const std::string &group, std::uint64_t size_bytes,
                                  std::optional<NqnForm> nqn_form);
    Result<Outcome> delete_volume(const VolumeRef &volume);
    Result<Outcome> grow_volume(const VolumeRef &volume, std::uint64_t size_bytes);
    Result<Outcome> rename_volume(const VolumeRef &volume, const std::string &to);

    // Idempotent. `preferred` on a port that is not the preferred one makes it preferred and active.
    Result<Outcome> assign(const VolumeRef &volume, const std::string &port, bool preferred);
    Result<Outcome> unassign(const VolumeRef &volume, const std::string &port);  // no port: from all
    Result<Outcome> allow_host(const VolumeRef &volume, const std::string &nqn_or_any);
    Result<Outcome> disallow_host(const VolumeRef &volume, const std::string &nqn_or_any);

    Result<Outcome> failover(const PathSelector &which);  // nothing selected is an error
    Result<Outcome> failback(const PathSelector &which);  // nothing selected: every volume

    Result<Outcome> configure_controller(unsigned id, Protocol protocol);
    Result<Outcome> restore();

  private:
    enum class Access { look, change };
    Result<void> begin(Access access);
    Result<nvmet::State> read_nvmet(bool *loaded = nullptr);
    Result<Group> find_group(const std::string &name);
    unsigned zone_of_group(const Group &group, const std::vector<Volume> &volumes) const;
    std::optional<std::string> not_ready(const Port &port) const;
    Result<nvmet::Plan> plan_for(const std::vector<Volume> &volumes, Desired &desired);
    Result<void> settle(Outcome &out, const std::set<std::string> &without_groups = {});
    Result<void> change_exports(Outcome &out, const std::vector<std::pair<Volume, Export>> &changes,
                                const std::set<std::string> &needed_ports = {});
    Result<Outcome> move_active(const PathSelector &which, bool back);
    Result<void> save();
    void note(Outcome &out);
    Result<std::string> fresh_serial();
    void wait_for(const std::function<std::vector<std::string>()> &missing);
    std::set<std::string> drives_in_use();
    Result<void> refuse_open(const char *tried, const std::vector<Volume> &volumes);
    Result<void> check_blank(const char *tried, const std::string &object, const std::vector<DriveSpec> &drives);
    Result<Drive> find_drive(const Group &group, const std::string &text);
    void take_back(Outcome &out, const std::string &path, const std::string &group);
    std::vector<LeftOut> import_found(Outcome &out, const std::string &name, unsigned zone, std::vector<std::string> drives, bool patient,
                                      bool takeover);

    Config config_;
    Machine machine_;
    ArrayOptions options_;
    HostState state_, saved_state_;  // as it should be in the file, and as it is
    std::unique_ptr<Engine> real_engine_;
    std::unique_ptr<MemoryEngine> dry_engine_;
    Engine *engine_ = nullptr;
    std::optional<nvmet::OwnedLock> lock_;
    std::map<std::string, std::string> refused_ports_;  // by name: nvmet refused to listen there, and why
    std::optional<std::chrono::milliseconds> deadline_;
};

}  // namespace pav
