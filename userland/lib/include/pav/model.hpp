// SPDX-License-Identifier: GPL-2.0
//
// The array as the administrator sees it: zones, controllers, ports (from the configuration file), groups, drives and
// volumes (from the engine), and how a volume is exported (from the volume's own properties).
//
// What is where, and why:
//   /etc/pav/pavcfg.conf     this host's zones, controllers, ports: written by people, never by a program
//   /var/lib/pav/state.json  this host's decisions made by command: protocol of a controller, zone of a group (state.hpp)
//   the group's metadata     identity and export settings of each volume: they travel with the drives
//   nvmet's configfs         nothing of its own: always derived from the three above (desired.hpp)
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pav/result.hpp"

namespace pav {

using nvmet::Error;
using nvmet::Result;

// ---- the host's side ----------------------------------------------------------------------------------------------

inline constexpr unsigned max_zones = 4;         // R3
inline constexpr unsigned max_controllers = 20;  // R1
inline constexpr unsigned max_port_ordinal = 99;

enum class Protocol { roce, tcp };
std::string_view to_string(Protocol protocol);                  // "roce", "tcp": the word of the commands and the file
std::string_view display_name(Protocol protocol);               // "NVMe over RoCE"
std::string_view nvmet_transport(Protocol protocol);            // "rdma", "tcp"
std::optional<Protocol> protocol_from(std::string_view word);

struct Zone {
    unsigned id = 0;  // 1 … max_zones
    std::string name;
};

struct Controller {
    unsigned id = 0;  // 1 … max_controllers
    unsigned zone = 0;
    Protocol protocol = Protocol::roce;             // what holds now
    std::optional<Protocol> protocol_in_file;       // set when `configure controller` overrides the file
};

// The documented grammar of a port's name (R4): SPEEDg-PORT/NUMBER, "100g-1/3". SPEED is the link's speed in Gbit/s (1, 10,
// 25, 40, 50, 100, 200, 400), PORT counts the ports of one controller from 1, NUMBER is the controller or its zone.
struct PortName {
    unsigned speed_gbps;
    unsigned ordinal;  // 1 … max_port_ordinal
    unsigned number;   // 1 … max_controllers
};
Result<PortName> parse_port_name(std::string_view text);

struct Port {
    std::string name;
    unsigned controller = 0;
    std::string interface;
    std::string ip;
    std::string trsvcid = "4420";
    PortName parsed{};
};

// nvmet names ports by a number. Ours follow from controller and ordinal, so they never change with the order of the file:
// 10101 … 12099. The whole range is claimed as pavcfg's.
inline constexpr std::uint16_t nvmet_port_first = 10101, nvmet_port_last = 12099;
std::uint16_t nvmet_port_id(const Port &port);

enum class NqnForm { serial, uuid };  // "GB0…" (R9), or "nqn.2014-08.org.nvmexpress:uuid:…"

struct Config {
    std::string file;
    std::string serial_prefix = "GB0";     // claimed as pavcfg's among nvmet's subsystem names
    std::string model = "PVL-PAVRAID";     // R10: starts with PVL-
    NqnForm nqn_form = NqnForm::serial;
    std::string module;                    // path of pavraid.ko; empty: the installed one
    unsigned wait_seconds = 120;           // restore's patience
    std::vector<std::string> drive_patterns;  // what to scan when no drives are named; default /dev/nvme*n*
    std::map<unsigned, Zone> zones;
    std::map<unsigned, Controller> controllers;
    std::map<std::string, Port> ports;  // by name

    const Port *port(std::string_view name) const;
    unsigned zone_of(const Port &port) const { return controllers.at(port.controller).zone; }
    Protocol protocol_of(const Port &port) const { return controllers.at(port.controller).protocol; }
};

// ---- the engine's side --------------------------------------------------------------------------------------------

using Uuid = std::array<std::uint8_t, 16>;
std::string to_string(const Uuid &uuid);  // 8-4-4-4-12, lower case
bool is_nil(const Uuid &uuid);

enum class GroupState { online, degraded, full, faulted };
std::string_view to_string(GroupState state);
enum class DriveState { empty, active, spare, failed, leaving, rebuilding };
std::string_view to_string(DriveState state);

using Counters = std::map<std::string, std::uint64_t>;

// What the engine does in the background, or did last.
enum class TaskKind { rebuild, scrub };
std::string_view to_string(TaskKind kind);
struct Task {
    TaskKind kind = TaskKind::rebuild;
    bool running = false;
    std::uint64_t done = 0, total = 0;                    // segments
    std::uint64_t rebuilt_bytes = 0, healed_bytes = 0;    // written that a drive lacked; that were wrong
    std::uint64_t lost = 0;                               // stripes beyond repair
    std::uint64_t started = 0, finished = 0;              // seconds since 1970; 0: never
    std::uint64_t seconds = 0, rate = 0;                  // at work for so long; bytes a second

    bool interrupted() const { return !running && started && finished < started; }
};
std::optional<double> percent_of(const Task &task);                // of its segments
std::optional<std::uint64_t> seconds_left(const Task &task);       // while it runs, at its pace so far

struct Group {
    std::string name;
    Uuid uuid{};
    GroupState state = GroupState::online;
    unsigned data_drives = 0;
    std::uint64_t segment_bytes = 0;
    unsigned reserve_percent = 0;
    std::uint64_t capacity_bytes = 0, used_bytes = 0, free_bytes = 0, provisioned_bytes = 0;
    std::uint64_t generation = 0, stripe_seq = 0;
    std::uint64_t used_before_bytes = 0;  // what was used so many seconds ago: a day, or when the group was opened
    std::uint64_t used_seconds = 0;       // 0: not known
    std::vector<Task> tasks;
    Counters counters;

    const Task *running(TaskKind kind) const;  // nullptr: it does not
};

// Online, Overprovisioned, Degraded, Rebuilding, Full, Faulted: what an administrator should know first.
std::string_view status_of(const Group &group);

// How fast what is used grows, over the time that the module remembers. Nothing: that is less than a minute, too short to tell.
struct Growth {
    double bytes_per_second = 0;   // negative: more was given back than written
    std::uint64_t seconds = 0;     // the time it was measured over
};
std::optional<Growth> growth_of(const Group &group);
// When the group will be full if it goes on like that. Nothing: not known, or it does not grow.
std::optional<std::uint64_t> seconds_to_full(const Group &group);
std::string time_to_full_text(const Group &group);     // "12 days", "no growth", "not known yet"
std::string overcommit_text(const Group &group);       // "2.5 : 1", what is provisioned to what can be held

struct Drive {
    std::string group;
    std::string path;
    unsigned slot = 0;
    Uuid uuid{};
    DriveState state = DriveState::empty;
    std::uint64_t bytes = 0;
    Counters counters;
};

// Whether a member of an open group is in its slot; one that was torn out, or was not there when the group was opened, is not.
inline bool is_present(const Drive &drive) {
    const auto present = drive.counters.find("present");
    return present == drive.counters.end() || present->second != 0;
}

using Props = std::map<std::string, std::string>;

struct Volume {
    std::string group;
    std::string name;
    unsigned id = 0;
    std::uint64_t size_bytes = 0, mapped_bytes = 0;
    std::string serial;
    Uuid uuid{}, nguid{};
    unsigned openers = 0;
    std::string block_device;  // "pav0", without /dev/
    Props props;
    Counters counters;

    std::string full_name() const { return group + "/" + name; }
};

// ---- export settings: a volume's properties --------------------------------------------------------------------------

// How a volume is served. Kept as properties of the volume ("export.…"), so that whoever imports the drives serves it alike.
struct Export {
    std::vector<std::string> ports;   // port names, at most two; the first is the preferred one
    std::string active;               // one of `ports`; the other is standby
    bool allow_any = false;           // any host may connect; excludes hosts
    std::set<std::string> hosts;      // host NQNs
    std::string nqn;                  // empty: the serial

    bool assigned() const { return !ports.empty(); }
    bool has_port(std::string_view name) const;
    std::string standby() const;      // the port that is not active; empty when there is none
    bool operator==(const Export &) const = default;
};

inline constexpr std::string_view prop_ports = "export.ports";    // "100g-1/1 100g-1/2"
inline constexpr std::string_view prop_active = "export.active";  // only while it is not the preferred one
inline constexpr std::string_view prop_any = "export.any";        // "1"
inline constexpr std::string_view prop_host = "export.host.";     // + number from 0: one host NQN each
inline constexpr std::string_view prop_nqn = "export.nqn";        // only when it is not the serial

// Damaged properties (an active port that is not assigned, three ports) are read as the nearest sane setting.
Export export_of(const Props &props);
Props props_of(const Export &exported);
// What SET_PROP must do to get from one to the other; a missing value removes the key. Keys of others are left alone.
std::map<std::string, std::optional<std::string>> prop_changes(const Props &now, const Export &wanted);

std::string nqn_of(const Volume &volume);

// ---- names and sizes ------------------------------------------------------------------------------------------------

// [A-Za-z0-9._-], first alphanumeric, at most 63: what the kernel accepts for groups and volumes.
Result<void> check_name(std::string_view kind, std::string_view name);
Result<void> check_nqn(std::string_view nqn);
Result<void> check_serial(std::string_view serial);  // a letter or a digit, then also . _ : -
Result<void> check_model(std::string_view model);  // R10

// "100 GB": the guide's GB is a GiB (R7), as are MB and TB: 1,048,576 bytes and so on. Units: MB GB TB MiB GiB TiB.
Result<std::uint64_t> parse_size(std::string_view number, std::string_view unit);
std::string size_text(std::uint64_t bytes);  // "100 GB", in the same units
std::string duration_text(std::uint64_t seconds);  // "12 days", "3 h 20 min", "45 s"

// The candidate that is nearest to `word`, if any is near enough to be what was meant.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string> &candidates);

}  // namespace pav
