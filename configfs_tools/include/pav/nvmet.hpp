// SPDX-License-Identifier: GPL-2.0
//
// nvmet's configuration as values: read what the kernel has, say what is wanted, look at the difference, apply it.
//
//     State current = *read_state(tree);
//     Plan p        = *plan(current, desired, owned);   // pure: touches nothing
//     p.to_text();                                      // what an administrator reads
//     ApplyReport r = apply(tree, p);                   // all of it, or rolled back
//
// Ownership. nvmet objects carry no labels, so the caller keeps the names it made in an `Owned` value, and in a file
// (load_owned, save_owned). That file belongs under /run: it then lives exactly as long as configfs does, and a reboot
// empties both. Names that are gone from the kernel are dropped at the next plan. The names a plan is about to create
// are in Plan::owned_during: save that before apply(), and Plan::owned_after afterwards, so that a crash in between
// orphans nothing. On top of names a caller may claim a range of port numbers and NQN prefixes: whatever matches is
// taken as its own even if the file was lost.
//   - An owned port or subsystem belongs to us with all that is in it. One that is not owned is never changed: if
//     it stands in the way, the plan is refused and names it.
//   - A link is ours when both its ends are. A foreign link is left alone; if it blocks a removal, the plan is refused.
//   - A host object that somebody else made is used, and neither changed nor removed.
//
// Order of a plan (make before break: nothing is taken away from a host before everything new is in place):
//   modules, hosts; what blocks the rest (an address or a device that is needed again); subsystems, allowed hosts;
//   namespaces, not enabled; ports; ANA groups and states that give access; moves of live namespaces; ANA states that
//   take access away; enable; links; then what is no longer wanted, namespaces before their links, so that a connected
//   host sees its disk leave instead of a dead path.
// A namespace is never disabled while a host can reach it: it first moves to an ANA group that exists on no port, which
// is inaccessible on every path and does not disturb the other volumes of its own group.
//
// Threads: no global state; one Tree must not be used by two threads at once. Nothing here prints or throws on bad
// input (std::bad_alloc excepted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pav/result.hpp"

namespace pav::nvmet {

// ---- limits ---------------------------------------------------------------------------------------------------

inline constexpr std::size_t max_serial_chars = 20;
inline constexpr std::size_t max_model_chars = 40;
inline constexpr std::size_t max_nqn_chars = 223;
inline constexpr std::size_t max_namespaces_per_subsystem = 1024;
inline constexpr unsigned max_ana_group = 127;  // 128 is accepted by the kernel and stored as 0: refused here
inline constexpr const char *default_root = "/sys/kernel/config/nvmet";

// ---- values ---------------------------------------------------------------------------------------------------

enum class AnaState { optimized, non_optimized, inaccessible, persistent_loss, change };
std::string_view to_string(AnaState state);                     // the kernel's word, "non-optimized"
std::optional<AnaState> ana_state_from(std::string_view word);  // nothing for a word the kernel does not know

// configfs file name → value, as the kernel prints it, without the newline and padding. Holds attributes that this
// library has no field for (later kernels add some). In a desired state: what must be written, verbatim.
using Attrs = std::map<std::string, std::string>;

// Fields that are std::optional: in a desired state, "nothing" means "leave it as it is". read_state() fills those that
// the running kernel has.
struct Namespace {
    std::string device_path;           // absolute path of a block device; empty only in a half-built current state
    std::optional<std::string> uuid;   // 8-4-4-4-12, lower case
    std::optional<std::string> nguid;  // same form; all zero: none
    unsigned ana_grpid = 1;            // 1 … max_ana_group
    bool enable = true;
    std::optional<bool> buffered_io;
    Attrs other;
    bool operator==(const Namespace &) const = default;
};

struct Subsystem {
    std::optional<std::string> serial;   // 1 … 20 printable ASCII characters, no blank at either end
    std::optional<std::string> model;    // 1 … 40, the same
    std::optional<std::string> version;  // "1.3"
    std::optional<unsigned> cntlid_min, cntlid_max;
    std::optional<unsigned> qid_max;
    std::optional<bool> pi_enable;
    bool allow_any_host = false;          // excludes allowed_hosts
    std::set<std::string> allowed_hosts;  // host NQNs
    std::map<std::uint32_t, Namespace> namespaces;  // by NSID
    Attrs other;
    bool operator==(const Subsystem &) const = default;
};

struct Port {
    std::string trtype;              // "rdma" or "tcp" in a desired state
    std::string adrfam;              // "ipv4" or "ipv6"; validate() fills it from traddr when it is empty
    std::string traddr;              // IP address
    std::string trsvcid = "4420";    // TCP or RDMA port number
    std::optional<std::string> treq;          // "not specified", "required", "not required"
    std::optional<long> inline_data_size;     // bytes; -1: the transport chooses
    std::optional<bool> pi_enable;
    std::map<unsigned, AnaState> ana_groups;  // group 1 always exists; validate() makes it optimized when it is not named
    std::set<std::string> subsystems;         // NQNs served here
    Attrs other;
    bool operator==(const Port &) const = default;
};

struct State {
    std::set<std::string> hosts;  // NQNs; validate() adds every allowed host
    std::map<std::string, Subsystem> subsystems;  // by NQN
    std::map<std::uint16_t, Port> ports;          // by port number
    bool operator==(const State &) const = default;
};

// Completes a desired state (adrfam, group 1, hosts, letters of UUIDs) and checks it by itself: limits, exclusions,
// references. plan() calls it; call it early to refuse early. Error::object is the JSON pointer of the offender.
Result<State> validate(State desired);

// JSON, see configfs_tools/README.md for the schema. Parsing validates; unknown and duplicate keys are refused. A syntax
// error carries line and column, any other one the JSON pointer.
Result<State> parse_state(std::string_view json);
std::string to_json(const State &state, int indent = 2);
std::string to_text(const State &state);  // for people

// ---- ownership ------------------------------------------------------------------------------------------------

struct Owned {
    std::set<std::uint16_t> ports;
    std::set<std::string> subsystems;
    std::set<std::string> hosts;
    // Claims: everything that matches is owned too. Kept by the caller, not in the file.
    std::optional<std::pair<std::uint16_t, std::uint16_t>> port_range;  // first, last
    std::vector<std::string> nqn_prefixes;                              // for subsystems and hosts

    bool owns_port(std::uint16_t id) const;
    bool owns_subsystem(std::string_view nqn) const;
    bool owns_host(std::string_view nqn) const;
    bool operator==(const Owned &) const = default;
};

// A file that does not exist gives an empty Owned. Saving replaces the file as a whole (new file, fsync, rename) and makes
// its directory if need be. Concurrent writers: hold an OwnedLock from load to the last save.
Result<Owned> load_owned(const std::string &file);
Result<void> save_owned(const std::string &file, const Owned &owned);

class OwnedLock {  // flock on FILE.lock, released by the destructor
  public:
    static Result<OwnedLock> take(const std::string &file);  // waits for another holder
    OwnedLock(OwnedLock &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    OwnedLock &operator=(OwnedLock &&other) noexcept;
    OwnedLock(const OwnedLock &) = delete;
    OwnedLock &operator=(const OwnedLock &) = delete;
    ~OwnedLock();

  private:
    explicit OwnedLock(int fd) : fd_(fd) {}
    int fd_;
};

// ---- access to the tree -----------------------------------------------------------------------------------------

// The few file operations that configfs needs. Paths are relative to nvmet's directory ("ports/1/addr_traddr"). An Error
// carries tried, object and errno.
class Tree {
  public:
    enum class Type { dir, file, link };
    struct Entry {
        std::string name;
        Type type;
    };
    virtual ~Tree() = default;
    virtual Result<std::vector<Entry>> list(const std::string &dir) = 0;
    virtual Result<std::string> read(const std::string &file) = 0;  // as the kernel gives it, newline included
    virtual Result<void> write(const std::string &file, const std::string &value) = 0;
    virtual Result<void> make_dir(const std::string &dir) = 0;
    virtual Result<void> remove_dir(const std::string &dir) = 0;
    virtual Result<void> make_link(const std::string &target, const std::string &link) = 0;  // both relative to the root
    virtual Result<void> remove_link(const std::string &link) = 0;
    virtual Result<std::string> link_target(const std::string &link) = 0;  // last component only
};

// configfs itself. `root` may be any directory that looks like it.
std::unique_ptr<Tree> real_tree(std::string root = default_root);

// Reads everything. Fails with ENOENT and a remedy when nvmet is not loaded or configfs is not mounted.
Result<State> read_state(Tree &tree);

// What tells block devices apart: "block 253:7" by st_rdev, "file /real/path" otherwise, nothing if it does not exist.
std::optional<std::string> device_identity(const std::string &path);

// ---- plan -------------------------------------------------------------------------------------------------------

enum class StepKind {
    load_module,
    make_host, remove_host,
    make_subsystem, remove_subsystem, set_subsystem_attr,
    allow_host, disallow_host,
    make_namespace, remove_namespace, set_namespace_attr, enable_namespace, disable_namespace, revalidate_size,
    make_port, remove_port, set_port_attr,
    make_ana_group, remove_ana_group, set_ana_state,
    link_subsystem, unlink_subsystem,
};
std::string_view to_string(StepKind kind);  // "set-ana-state"

// One system call on the tree.
struct Step {
    StepKind kind;
    std::string path;       // relative to the root: file, directory or link; for load_module the module's name
    std::string old_value;  // attribute steps: what is there now
    std::string new_value;  // attribute steps: what will be there
    std::vector<std::pair<std::string, std::string>> saved;  // remove_*: attributes to write again, in order, when undone
    std::string warning;    // what connected hosts notice, if anything

    std::vector<Step> inverse() const;  // in order; empty for load_module and revalidate_size, which stay
    std::string to_text() const;        // one line, "+", "-" or "~" first
    bool operator==(const Step &) const = default;
};

struct Plan {
    std::vector<Step> steps;
    std::vector<std::string> warnings;  // about the plan as a whole
    Owned owned_during;                 // save before apply()
    Owned owned_after;                  // save when apply() succeeded

    bool empty() const { return steps.empty(); }
    bool only_ana_states() const;  // every step is set_ana_state: no path comes or goes
    std::string to_text() const;   // "Nothing to do.\n" when empty
    std::string to_json(int indent = 2) const;
};

struct PlanOptions {
    bool adopt = false;  // take objects over that exist, are wanted and are not owned
    std::function<std::optional<std::string>(const std::string &)> identity = device_identity;
};

// Pure apart from options.identity. `desired` is validated. Refuses what would touch foreign objects and a block device
// that two namespaces would share, whoever owns them.
Result<Plan> plan(const State &current, const State &desired, const Owned &owned, const PlanOptions &options = {});

// ---- apply ------------------------------------------------------------------------------------------------------

enum class Phase { start, done, failed, undo, undone, undo_failed };
struct Event {
    Phase phase;
    std::size_t index;  // of the step in Plan::steps, from 0
    std::size_t total;
    const Step &step;
    const Error *error;  // for failed and undo_failed
};

struct ApplyOptions {
    std::function<void(const Event &)> observer;
    std::function<Result<void>(const std::string &module)> load_module;  // none: load_module steps do nothing
};

struct ApplyReport {
    std::size_t done = 0;          // steps that took effect
    std::optional<Step> refused;   // the step that failed
    std::optional<Error> error;    // why, with the remedy
    std::size_t undone = 0;        // of those done, how many were undone; equals done after a clean rollback
    std::vector<Error> undo_errors;  // what could not be undone: the state is then neither the old nor the new one

    bool ok() const { return !error; }
    bool rolled_back() const { return error && undo_errors.empty(); }
    std::string to_text() const;
    std::string to_json(int indent = 2) const;
};

// Runs the steps; at the first refusal undoes what was done, last first. An attribute that no longer has the value the
// plan was made for counts as a refusal (ESTALE).
ApplyReport apply(Tree &tree, const Plan &plan, const ApplyOptions &options = {});

// ---- the short ways ---------------------------------------------------------------------------------------------

struct AnaChange {
    std::uint16_t port;
    unsigned group;
    AnaState state;
};

// Failover and failback: reads only the states concerned; those that give access come first. Apply it like any plan.
Result<Plan> plan_ana(Tree &tree, std::span<const AnaChange> changes);
// One state, at once. The group must exist. ENOENT names the port or the group.
Result<void> set_ana_state(Tree &tree, std::uint16_t port, unsigned group, AnaState state);
// After the device has grown: tells the hosts the new size. The namespace must be enabled.
Result<void> revalidate_size(Tree &tree, const std::string &nqn, std::uint32_t nsid);

// The modules a state needs: "nvmet" and one for each transport ("nvmet-rdma", "nvmet-tcp").
std::set<std::string> modules_for(const State &state);

}  // namespace pav::nvmet
