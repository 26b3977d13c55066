// SPDX-License-Identifier: GPL-2.0
//
// The engine in the kernel, over generic netlink (kmod/uapi/pav_netlink.h). Requests are serial on one socket; one
// NetlinkEngine must not be used by two threads at once. Events have a socket of their own.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "pav/engine.hpp"

namespace pav {

class NetlinkEngine : public Engine {
  public:
    // Fails with ENOENT and a remedy when the module is not loaded.
    static Result<std::unique_ptr<NetlinkEngine>> open();
    ~NetlinkEngine() override;
    NetlinkEngine(const NetlinkEngine &) = delete;
    NetlinkEngine &operator=(const NetlinkEngine &) = delete;

    Result<DriveLabel> probe_drive(const std::string &path) override;
    Result<void> create_group(const GroupSpec &spec) override;
    Result<std::string> import_group(const std::vector<std::string> &drives,
                                     const std::optional<std::string> &name) override;
    Result<void> export_group(const std::string &group) override;
    Result<void> destroy_group(const std::string &group) override;
    Result<void> checkpoint_group(const std::string &group) override;
    Result<std::vector<Group>> groups() override;
    Result<std::vector<Drive>> drives(const std::string &group) override;
    Result<void> fail_drive(const std::string &group, unsigned slot) override;
    Result<void> create_volume(const VolumeSpec &spec) override;
    Result<void> delete_volume(const std::string &group, const std::string &name) override;
    Result<void> grow_volume(const std::string &group, const std::string &name, std::uint64_t size_bytes) override;
    Result<void> rename_volume(const std::string &group, const std::string &name, const std::string &to) override;
    Result<void> set_props(const std::string &group, const std::string &name,
                           const std::map<std::string, std::optional<std::string>> &changes) override;
    Result<std::vector<Volume>> volumes() override;

  private:
    class Socket;
    explicit NetlinkEngine(std::unique_ptr<Socket> socket);
    Result<void> command(int cmd, const std::string &tried, const std::string &group, const std::string &volume = {});
    std::unique_ptr<Socket> socket_;
};

struct EngineEvent {
    std::string type;  // "drive failed"
    std::string group, volume, drive_path, text;
    std::optional<unsigned> slot;
    std::optional<std::uint64_t> value;  // meaning by type, see enum pav_event
};

// The module's events, from the moment of opening.
class EventStream {
  public:
    static Result<EventStream> open();
    EventStream(EventStream &&) noexcept;
    EventStream &operator=(EventStream &&) noexcept;
    ~EventStream();
    // Nothing after `timeout`. ENOBUFS: events came faster than they were read, some are lost.
    Result<std::optional<EngineEvent>> next(std::chrono::milliseconds timeout);

  private:
    struct Impl;
    explicit EventStream(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Parsing of single messages' attributes (what follows the generic netlink header), for any bytes: what is malformed is left out.
Group parse_group(std::span<const std::byte> attributes);
Drive parse_drive(std::span<const std::byte> attributes);
Volume parse_volume(std::span<const std::byte> attributes);
DriveLabel parse_drive_label(std::span<const std::byte> attributes);
EngineEvent parse_event(std::span<const std::byte> attributes);

}  // namespace pav
