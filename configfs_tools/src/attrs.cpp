// SPDX-License-Identifier: GPL-2.0
#include "attrs.hpp"

#include <fmt/core.h>

#include <cctype>
#include <charconv>

namespace pav::nvmet {

namespace {

template <class T> void put(Attrs &attrs, const char *file, const std::optional<T> &value)
{
    if (!value)
        return;
    if constexpr (std::is_same_v<T, bool>)
        attrs[file] = std::string(1, *value ? '1' : '0');
    else if constexpr (std::is_same_v<T, std::string>)
        attrs[file] = *value;
    else
        attrs[file] = std::to_string(*value);
}

// Numbers of attributes that we read from the kernel: always decimal. False for anything else.
template <class T> bool take_number(std::string_view text, std::optional<T> &field)
{
    T value{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        return false;
    field = value;
    return true;
}

bool take_flag(std::string_view text, std::optional<bool> &field)
{
    if (text != "0" && text != "1")
        return false;
    field = text == "1";
    return true;
}

}  // namespace

std::optional<std::string> canonical_uuid(std::string_view text)
{
    std::string out;
    for (char c : text) {
        if (c == '-' || c == ':')
            continue;
        if (!std::isxdigit(static_cast<unsigned char>(c)))
            return std::nullopt;
        if (out.size() == 8 || out.size() == 13 || out.size() == 18 || out.size() == 23)
            out += '-';
        out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (out.size() != 36)
        return std::nullopt;
    return out;
}

std::string normalise(std::string_view file, std::string_view raw)
{
    std::size_t end = raw.find_last_not_of(" \n\t");
    std::string text(raw.substr(0, end == std::string_view::npos ? 0 : end + 1));
    if (file == "device_path" && text == "(null)")
        return {};
    if (file == "device_uuid" || file == "device_nguid")
        return canonical_uuid(text).value_or(text);
    return text;
}

Attrs attrs_of(const Namespace &ns)
{
    Attrs attrs = ns.other;
    attrs["device_path"] = ns.device_path;
    put(attrs, "device_uuid", ns.uuid);
    put(attrs, "device_nguid", ns.nguid);
    put(attrs, "buffered_io", ns.buffered_io);
    return attrs;
}

Attrs attrs_of(const Subsystem &subsystem)
{
    Attrs attrs = subsystem.other;
    put(attrs, "attr_serial", subsystem.serial);
    put(attrs, "attr_model", subsystem.model);
    put(attrs, "attr_version", subsystem.version);
    put(attrs, "attr_cntlid_min", subsystem.cntlid_min);
    put(attrs, "attr_cntlid_max", subsystem.cntlid_max);
    put(attrs, "attr_qid_max", subsystem.qid_max);
    put(attrs, "attr_pi_enable", subsystem.pi_enable);
    return attrs;
}

Attrs attrs_of(const Port &port)
{
    Attrs attrs = port.other;
    attrs["addr_trtype"] = port.trtype;
    attrs["addr_adrfam"] = port.adrfam;
    attrs["addr_traddr"] = port.traddr;
    attrs["addr_trsvcid"] = port.trsvcid;
    put(attrs, "addr_treq", port.treq);
    put(attrs, "param_inline_data_size", port.inline_data_size);
    put(attrs, "param_pi_enable", port.pi_enable);
    return attrs;
}

void take_attr(Namespace &ns, const std::string &file, std::string value)
{
    std::optional<unsigned> number;
    std::optional<bool> flag;
    if (file == "device_path")
        ns.device_path = std::move(value);
    else if (file == "device_uuid")
        ns.uuid = std::move(value);
    else if (file == "device_nguid")
        ns.nguid = std::move(value);
    else if (file == "ana_grpid" && take_number(value, number))
        ns.ana_grpid = *number;
    else if (file == "enable" && take_flag(value, flag))
        ns.enable = *flag;
    else if (file == "buffered_io" && take_flag(value, flag))
        ns.buffered_io = flag;
    else
        ns.other[file] = std::move(value);
}

void take_attr(Subsystem &subsystem, const std::string &file, std::string value)
{
    std::optional<bool> flag;
    if (file == "attr_serial")
        subsystem.serial = std::move(value);
    else if (file == "attr_model")
        subsystem.model = std::move(value);
    else if (file == "attr_version")
        subsystem.version = std::move(value);
    else if (file == "attr_cntlid_min" && take_number(value, subsystem.cntlid_min))
        return;
    else if (file == "attr_cntlid_max" && take_number(value, subsystem.cntlid_max))
        return;
    else if (file == "attr_qid_max" && take_number(value, subsystem.qid_max))
        return;
    else if (file == "attr_pi_enable" && take_flag(value, subsystem.pi_enable))
        return;
    else if (file == "attr_allow_any_host" && take_flag(value, flag))
        subsystem.allow_any_host = *flag;
    else
        subsystem.other[file] = std::move(value);
}

void take_attr(Port &port, const std::string &file, std::string value)
{
    if (file == "addr_trtype")
        port.trtype = std::move(value);
    else if (file == "addr_adrfam")
        port.adrfam = std::move(value);
    else if (file == "addr_traddr")
        port.traddr = std::move(value);
    else if (file == "addr_trsvcid")
        port.trsvcid = std::move(value);
    else if (file == "addr_treq")
        port.treq = std::move(value);
    else if (file == "param_inline_data_size" && take_number(value, port.inline_data_size))
        return;
    else if (file == "param_pi_enable" && take_flag(value, port.pi_enable))
        return;
    else
        port.other[file] = std::move(value);
}

std::string pointer_token(std::string_view key)
{
    std::string out;
    for (char c : key) {
        if (c == '~')
            out += "~0";
        else if (c == '/')
            out += "~1";
        else
            out += c;
    }
    return out;
}

std::string subsystem_path(const std::string &nqn)
{
    return fmt::format("subsystems/{}", nqn);
}

std::string namespace_path(const std::string &nqn, std::uint32_t nsid)
{
    return fmt::format("subsystems/{}/namespaces/{}", nqn, nsid);
}

std::string allowed_host_path(const std::string &nqn, const std::string &host)
{
    return fmt::format("subsystems/{}/allowed_hosts/{}", nqn, host);
}

std::string host_path(const std::string &nqn)
{
    return fmt::format("hosts/{}", nqn);
}

std::string port_path(std::uint16_t id)
{
    return fmt::format("ports/{}", id);
}

std::string group_path(std::uint16_t port, unsigned group)
{
    return fmt::format("ports/{}/ana_groups/{}", port, group);
}

std::string port_link_path(std::uint16_t port, const std::string &nqn)
{
    return fmt::format("ports/{}/subsystems/{}", port, nqn);
}

}  // namespace pav::nvmet
