// SPDX-License-Identifier: GPL-2.0
//
// What the tool needs from the machine besides the engine and nvmet: drives, network interfaces, modules, time. Each is a
// small interface with one real implementation, so that every decision can be tested on a machine that has none of it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pav/model.hpp"

namespace pav {

// ---- drives ---------------------------------------------------------------------------------------------------------

// Looks at drives without changing them.
class DriveInspector {
  public:
    virtual ~DriveInspector() = default;
    // Block devices (whole drives) that match the shell patterns, sorted by number.
    virtual Result<std::vector<std::string>> candidates(const std::vector<std::string> &patterns) = 0;
    // Everything that speaks against overwriting it, one phrase each ("an ext4 file system"); empty: free to take. The
    // engine's own superblock is not looked for here. An error: not a block device, or unreadable.
    virtual Result<std::vector<std::string>> contents(const std::string &path) = 0;
    // Equal for two names of the same device.
    virtual std::string identity(const std::string &path) = 0;
};
std::unique_ptr<DriveInspector> real_drive_inspector();

// ---- network --------------------------------------------------------------------------------------------------------

struct InterfaceState {
    bool exists = false;
    bool admin_up = false;
    bool link_up = false;     // carrier
    bool has_ip = false;      // the port's address is on it
    std::string ip_elsewhere; // the interface that has the address, if it is another one
    bool has_rdma = false;    // an RDMA device sits on it
    std::string mac;
    unsigned mtu = 0;
    int speed_mbps = -1;      // negotiated; -1: unknown
};

class Network {
  public:
    virtual ~Network() = default;
    virtual InterfaceState look(const std::string &interface, const std::string &ip) = 0;
};
std::unique_ptr<Network> real_network(std::string sysfs = "/sys");

// Why nvmet could not listen on this port now, or nothing.
std::optional<std::string> why_not_ready(const Port &port, Protocol protocol, const InterfaceState &state);

// ---- modules --------------------------------------------------------------------------------------------------------

class Modules {
  public:
    virtual ~Modules() = default;
    virtual bool loaded(const std::string &name) = 0;
    // By name (with what it depends on), or by the path of a .ko file. Success if it is there already.
    virtual Result<void> load(const std::string &name_or_path) = 0;
    // /sys/kernel/config is there.
    virtual Result<void> mount_configfs() = 0;
};
std::unique_ptr<Modules> real_modules();

// ---- time -----------------------------------------------------------------------------------------------------------

class Clock {
  public:
    virtual ~Clock() = default;
    virtual std::chrono::milliseconds now() = 0;  // monotonic
    virtual void sleep(std::chrono::milliseconds time) = 0;
};
std::unique_ptr<Clock> real_clock();

// ---- this machine ---------------------------------------------------------------------------------------------------

// Who this machine is to others that share its drives: the same over all its reboots, and another's never. Two virtual machines that were copied with
// their machine-id are told apart by the identifier their hypervisor gives them. Nil: it cannot be known.
struct HostIdentity {
    Uuid id{};
    std::string name;  // for people: at most 63 printable characters
};
HostIdentity host_identity(const std::string &root = "");
bool is_this_machine(const Uuid &id);

// n random bytes from the kernel.
using Random = std::function<void(std::uint8_t *bytes, std::size_t n)>;
Random real_random();

}  // namespace pav
