// SPDX-License-Identifier: GPL-2.0
//
// Between the typed values of the public header and what stands in configfs: file name → text. The planner compares and
// writes only these maps, so an attribute is known in one place.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pav/nvmet.hpp"

namespace pav::nvmet {

// Attributes that are plain "write the value" (not enable, not attr_allow_any_host, not ANA states, not ana_grpid).
// Empty value: the kernel has none yet (a port without traddr).
Attrs attrs_of(const Namespace &ns);
Attrs attrs_of(const Subsystem &subsystem);
Attrs attrs_of(const Port &port);

// Puts one attribute, as read, into its field; into `other` when there is none.
void take_attr(Namespace &ns, const std::string &file, std::string value);
void take_attr(Subsystem &subsystem, const std::string &file, std::string value);
void take_attr(Port &port, const std::string &file, std::string value);

// What the kernel printed, in the one form that this library compares: no newline, no padding, "(null)" is empty, UUIDs
// as 8-4-4-4-12 in lower case.
std::string normalise(std::string_view file, std::string_view raw);
// 32 hexadecimal digits with any dashes or colons → 8-4-4-4-12, lower case; nothing if it is something else.
std::optional<std::string> canonical_uuid(std::string_view text);

// A key as one token of a JSON pointer (RFC 6901).
std::string pointer_token(std::string_view key);

std::string subsystem_path(const std::string &nqn);
std::string namespace_path(const std::string &nqn, std::uint32_t nsid);
std::string allowed_host_path(const std::string &nqn, const std::string &host);
std::string host_path(const std::string &nqn);
std::string port_path(std::uint16_t id);
std::string group_path(std::uint16_t port, unsigned group);
std::string port_link_path(std::uint16_t port, const std::string &nqn);

}  // namespace pav::nvmet
