// SPDX-License-Identifier: GPL-2.0
//
// Netlink attributes, walked without trusting a length.
#pragma once

#include <linux/netlink.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace pav {

using Bytes = std::span<const std::byte>;

struct Attribute {
    std::uint16_t type;
    Bytes payload;

    std::string text() const {
        const auto *begin = reinterpret_cast<const char *>(payload.data());
        return {begin, std::find(begin, begin + payload.size(), '\0')};
    }
    template <class T> bool take(T &value) const {
        if (payload.size() != sizeof(T)) return false;
        std::memcpy(&value, payload.data(), sizeof(T));
        return true;
    }
    template <class E> void take_enum(E &value, unsigned last) const {
        std::uint32_t number = 0;
        if (take(number) && number <= last) value = static_cast<E>(number);
    }
};

template <class F> void for_each(Bytes bytes, F f) {
    while (bytes.size() >= sizeof(nlattr)) {
        nlattr header;
        std::memcpy(&header, bytes.data(), sizeof(header));
        if (header.nla_len < sizeof(nlattr) || header.nla_len > bytes.size()) return;
        f(Attribute{static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK), bytes.subspan(sizeof(nlattr), header.nla_len - sizeof(nlattr))});
        bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
    }
}

}  // namespace pav
