// SPDX-License-Identifier: GPL-2.0
//
// What a desired state may be, before the kernel is asked. Every refusal names its offender by JSON pointer.
#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "attrs.hpp"
#include "pav/nvmet.hpp"

namespace pav::nvmet {

namespace {

Error bad(std::string pointer, std::string reason, std::string remedy = {})
{
    return {"accept the desired state at", std::move(pointer), 0, std::move(reason), std::move(remedy)};
}

bool printable(std::string_view text)
{
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

Result<void> check_nqn(const std::string &pointer, const std::string &nqn)
{
    if (nqn.empty())
        return bad(pointer, "an NQN is empty");
    if (nqn.size() > max_nqn_chars)
        return bad(pointer, fmt::format("an NQN has {} characters, {} at most", nqn.size(), max_nqn_chars));
    if (!printable(nqn) || nqn.find_first_of(" /") != std::string::npos || nqn == "." || nqn == "..")
        return bad(pointer, fmt::format("\"{}\" cannot be an NQN here", nqn), "use printable ASCII without blanks and slashes");
    if (nqn == "nqn.2014-08.org.nvmexpress.discovery")
        return bad(pointer, "this NQN belongs to the discovery subsystem");
    return {};
}

Result<void> check_text(const std::string &pointer, const std::optional<std::string> &text, std::size_t max)
{
    if (!text)
        return {};
    if (text->empty() || text->size() > max)
        return bad(pointer, fmt::format("it has {} characters, 1 to {} are possible", text->size(), max));
    if (!printable(*text))
        return bad(pointer, "only printable ASCII is possible");
    if (text->front() == ' ' || text->back() == ' ')
        return bad(pointer, "a blank at either end cannot be told from the kernel's padding");
    return {};
}

// Raw attributes: a file of the object's own directory that no field stands for.
template <class T> Result<void> check_other(const std::string &pointer, const T &object)
{
    for (const auto &[file, value] : object.other) {
        std::string at = fmt::format("{}/attributes/{}", pointer, pointer_token(file));
        if (file.empty() || file == "." || file == ".." || file.find('/') != std::string::npos || !printable(file))
            return bad(at, "not an attribute's file name");
        if (value.empty() || !printable(value) || value != normalise(file, value))
            return bad(at, "the value must be one line of printable ASCII without blanks at its end");
        T probe;
        take_attr(probe, file, value);
        if (probe.other.empty())
            return bad(at, "this attribute has a key of its own", "use that key");
    }
    return {};
}

Result<void> complete(const std::string &at, Namespace &ns)
{
    const auto &path = ns.device_path;
    if (path.empty() || path.front() != '/')
        return bad(at + "/device", fmt::format("\"{}\" is not an absolute path", path));
    if (path.find_first_of("\n\t") != std::string::npos || path.back() == ' ' || path.size() > 4000)
        return bad(at + "/device", "not a path that configfs can hold");
    for (auto [key, field] : {std::pair{"/uuid", &ns.uuid}, std::pair{"/nguid", &ns.nguid}}) {
        if (!*field)
            continue;
        auto canonical = canonical_uuid(**field);
        if (!canonical)
            return bad(at + key, fmt::format("\"{}\" is not 32 hexadecimal digits", **field));
        *field = canonical;
    }
    if (ns.ana_grpid < 1 || ns.ana_grpid > max_ana_group)
        return bad(at + "/ana_group", fmt::format("ANA group {} is not in 1 to {}", ns.ana_grpid, max_ana_group));
    return check_other(at, ns);
}

Result<void> complete(const std::string &at, Subsystem &subsystem)
{
    if (auto r = check_text(at + "/serial", subsystem.serial, max_serial_chars); !r)
        return r;
    if (auto r = check_text(at + "/model", subsystem.model, max_model_chars); !r)
        return r;
    if (subsystem.version) {
        const auto &v = *subsystem.version;
        auto dots = std::count(v.begin(), v.end(), '.');
        bool numbers = v.find_first_not_of("0123456789.") == std::string::npos && v.front() != '.' && v.back() != '.' &&
                       v.find("..") == std::string::npos && v.size() <= 11;
        if (v.empty() || !numbers || dots < 1 || dots > 2)
            return bad(at + "/version", fmt::format("\"{}\" is not a version such as 1.3", v));
    }
    for (auto [key, id] : {std::pair{"/cntlid_min", subsystem.cntlid_min}, std::pair{"/cntlid_max", subsystem.cntlid_max}})
        if (id && (*id < 1 || *id > 65519))
            return bad(at + key, fmt::format("{} is not in 1 to 65519", *id));
    if (subsystem.cntlid_min && subsystem.cntlid_max && *subsystem.cntlid_min > *subsystem.cntlid_max)
        return bad(at + "/cntlid_min", fmt::format("{} is above cntlid_max {}", *subsystem.cntlid_min, *subsystem.cntlid_max));
    if (subsystem.qid_max && (*subsystem.qid_max < 1 || *subsystem.qid_max > 128))
        return bad(at + "/qid_max", fmt::format("{} is not in 1 to 128", *subsystem.qid_max));
    if (subsystem.allow_any_host && !subsystem.allowed_hosts.empty())
        return bad(at + "/allow_any_host", "it excludes allowed_hosts", "drop one of them");
    for (const auto &host : subsystem.allowed_hosts)
        if (auto r = check_nqn(at + "/allowed_hosts", host); !r)
            return r;
    if (subsystem.namespaces.size() > max_namespaces_per_subsystem)
        return bad(at + "/namespaces", fmt::format("{} namespaces, {} at most", subsystem.namespaces.size(),
                                                   max_namespaces_per_subsystem));
    for (auto &[nsid, ns] : subsystem.namespaces) {
        std::string ns_at = fmt::format("{}/namespaces/{}", at, nsid);
        if (nsid == 0 || nsid == UINT32_MAX)
            return bad(ns_at, "not a namespace number", "use 1 or more");
        if (auto r = complete(ns_at, ns); !r)
            return r;
    }
    return check_other(at, subsystem);
}

Result<void> check_address(const std::string &at, Port &port)
{
    std::string ip = port.traddr.substr(0, port.traddr.find('%'));  // fe80::1%eth0
    unsigned char buffer[sizeof(in6_addr)];
    bool v4 = ip == port.traddr && ::inet_pton(AF_INET, ip.c_str(), buffer) == 1;
    bool v6 = !v4 && ::inet_pton(AF_INET6, ip.c_str(), buffer) == 1;
    if (!v4 && !v6)
        return bad(at + "/traddr", fmt::format("\"{}\" is not an IP address", port.traddr));
    if (!printable(port.traddr) || port.traddr.size() > 255 || port.traddr.find(' ') != std::string::npos)
        return bad(at + "/traddr", "not an address that configfs can hold");
    if (port.adrfam.empty())
        port.adrfam = v4 ? "ipv4" : "ipv6";
    if (port.adrfam != (v4 ? "ipv4" : "ipv6"))
        return bad(at + "/adrfam", fmt::format("\"{}\" does not go with {}", port.adrfam, port.traddr));

    unsigned service = 0;
    const auto &s = port.trsvcid;
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), service);
    if (error != std::errc{} || end != s.data() + s.size() || service < 1 || service > 65535 || std::to_string(service) != s)
        return bad(at + "/trsvcid", fmt::format("\"{}\" is not a service number from 1 to 65535", s));
    return {};
}

Result<void> complete(const std::string &at, Port &port, const State &state)
{
    if (port.trtype != "rdma" && port.trtype != "tcp")
        return bad(at + "/trtype", fmt::format("\"{}\" is neither rdma nor tcp", port.trtype));
    if (auto r = check_address(at, port); !r)
        return r;
    if (port.treq && *port.treq != "not specified" && *port.treq != "required" && *port.treq != "not required")
        return bad(at + "/treq", fmt::format("\"{}\" is not one of: not specified, required, not required", *port.treq));
    if (port.inline_data_size && (*port.inline_data_size < -1 || *port.inline_data_size > INT32_MAX))
        return bad(at + "/inline_data_size", "a number of bytes, or -1 for the transport's choice");
    port.ana_groups.try_emplace(1, AnaState::optimized);
    for (const auto &[group, ana] : port.ana_groups)
        if (group < 1 || group > max_ana_group)
            return bad(fmt::format("{}/ana_groups/{}", at, group),
                       fmt::format("ANA group {} is not in 1 to {}", group, max_ana_group));
    for (const auto &nqn : port.subsystems)
        if (!state.subsystems.contains(nqn))
            return bad(at + "/subsystems", fmt::format("\"{}\" is not among the subsystems here", nqn));
    return check_other(at, port);
}

}  // namespace

Result<State> validate(State desired)
{
    for (auto &[nqn, subsystem] : desired.subsystems) {
        std::string at = "/subsystems/" + pointer_token(nqn);
        if (auto r = check_nqn(at, nqn); !r)
            return r.error();
        if (auto r = complete(at, subsystem); !r)
            return r.error();
        desired.hosts.insert(subsystem.allowed_hosts.begin(), subsystem.allowed_hosts.end());
    }
    for (const auto &host : desired.hosts)
        if (auto r = check_nqn("/hosts", host); !r)
            return r.error();

    std::map<std::string, std::string> users;  // device path → pointer; plan() compares the devices themselves
    for (const auto &[nqn, subsystem] : desired.subsystems)
        for (const auto &[nsid, ns] : subsystem.namespaces) {
            std::string at = fmt::format("/subsystems/{}/namespaces/{}", pointer_token(nqn), nsid);
            auto [it, fresh] = users.emplace(ns.device_path, at);
            if (!fresh)
                return bad(at + "/device", fmt::format("{} is already the device of {}", ns.device_path, it->second),
                           "two namespaces on one device corrupt data: give each its own");
        }

    std::map<std::string, std::uint16_t> addresses;
    for (auto &[id, port] : desired.ports) {
        std::string at = fmt::format("/ports/{}", id);
        if (auto r = complete(at, port, desired); !r)
            return r.error();
        auto [it, fresh] = addresses.emplace(fmt::format("{} {} {}", port.trtype, port.traddr, port.trsvcid), id);
        if (!fresh)
            return bad(at + "/traddr", fmt::format("port {} has the same address and service", it->second));
    }
    return desired;
}

}  // namespace pav::nvmet
