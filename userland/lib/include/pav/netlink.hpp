// SPDX-License-Identifier: GPL-2.0
//
// The engine in the kernel, over generic netlink (kmod/uapi/pav_netlink.h). Requests are serial on one socket: an engine
// must not be used by two threads at once. Events have a socket of their own.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "pav/engine.hpp"

namespace pav {

// Fails with ENOENT and a remedy when the module is not loaded.
Result<std::unique_ptr<Engine>> open_kernel_engine();

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
