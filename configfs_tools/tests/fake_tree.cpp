// SPDX-License-Identifier: GPL-2.0
#include "fake_tree.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <iterator>

namespace pav::nvmet::test {

namespace {

std::vector<std::string> split(const std::string &path)
{
    std::vector<std::string> parts;
    for (std::size_t start = 0; start <= path.size();) {
        std::size_t slash = std::min(path.find('/', start), path.size());
        parts.push_back(path.substr(start, slash - start));
        start = slash + 1;
    }
    return parts;
}

std::string parent(const std::string &path)
{
    auto slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string name(const std::string &path)
{
    return path.substr(path.rfind('/') + 1);
}

long number(const std::string &text)
{
    char *end = nullptr;
    long n = std::strtol(text.c_str(), &end, 0);
    return text.empty() || *end != '\0' ? -2 : n;
}

}  // namespace

FakeTree::FakeTree()
{
    for (const char *dir : {"hosts", "subsystems", "ports"})
        add_dir(dir, true);
}

std::string FakeTree::dump() const
{
    std::string text;
    for (const auto &[path, node] : nodes_)
        text += fmt::format("{} [{}]\n", path, node.value);
    return text;
}

int FakeTree::injected()
{
    return changes_++ == fail_at_ ? fail_err_ : 0;
}

std::vector<std::string> FakeTree::children(const std::string &dir) const
{
    std::vector<std::string> paths;
    for (auto it = nodes_.upper_bound(dir + "/"); it != nodes_.end() && it->first.starts_with(dir + "/"); ++it)
        if (it->first.find('/', dir.size() + 1) == std::string::npos)
            paths.push_back(it->first);
    return paths;
}

Result<std::vector<Tree::Entry>> FakeTree::list(const std::string &dir)
{
    if (!has(dir))
        return Error{"list", dir, ENOENT, "", ""};
    std::vector<Entry> entries;
    std::vector<std::string> paths = children(dir);
    std::transform(paths.begin(), paths.end(), std::back_inserter(entries),
                   [&](const auto &path) { return Entry{name(path), nodes_.at(path).type}; });
    return entries;
}

Result<std::string> FakeTree::read(const std::string &file)
{
    if (!has(file))
        return Error{"read", file, ENOENT, "", ""};
    if (name(file) == "revalidate_size")
        return Error{"read", file, EACCES, "", ""};
    return value(file) + "\n";
}

// A namespace that some host can do I/O on: enabled, served by a port, in a group whose state lets it.
bool FakeTree::reachable(const std::string &ns) const
{
    std::string nqn = split(ns)[1];
    for (const auto &port : children("ports")) {
        if (!has(port + "/subsystems/" + nqn))
            continue;
        std::string state = port + "/ana_groups/" + value(ns + "/ana_grpid") + "/ana_state";
        if (has(state) && (value(state) == "optimized" || value(state) == "non-optimized"))
            return true;
    }
    return false;
}

void FakeTree::watch_enable(const std::string &ns)
{
    for (const auto &subsystem : children("subsystems"))
        for (const auto &other : children(subsystem + "/namespaces"))
            if (other != ns && value(other + "/enable") == "1" &&
                value(other + "/device_path") == value(ns + "/device_path"))
                violations_.push_back(fmt::format("{} and {} are enabled on one device", ns, other));
}

int FakeTree::write_subsystem(const std::string &dir, const std::string &file, std::string &value)
{
    if (file == "attr_allow_any_host")
        return value == "1" && !children(dir + "/allowed_hosts").empty() ? EINVAL : 0;
    if (file == "attr_serial" || file == "attr_model" || file == "attr_version") {
        if (connected.contains(name(dir)) || value.empty())
            return EINVAL;
        if (file == "attr_serial") {
            if (value.size() > 20)
                return EINVAL;
            value.resize(20, ' ');
        }
        return file == "attr_model" && value.size() > 40 ? EINVAL : 0;
    }
    long n = number(value);
    if (file == "attr_cntlid_min")
        return n < 1 || n > number(this->value(dir + "/attr_cntlid_max")) ? EINVAL : 0;
    if (file == "attr_cntlid_max")
        return n < 1 || n < number(this->value(dir + "/attr_cntlid_min")) ? EINVAL : 0;
    return 0;
}

int FakeTree::write_namespace(const std::string &dir, const std::string &file, std::string &value)
{
    bool enabled = this->value(dir + "/enable") == "1";
    if (file == "device_path" || file == "device_uuid" || file == "device_nguid")
        return enabled ? EBUSY : value.empty() || value == "(null)" ? EINVAL : 0;
    if (file == "buffered_io")
        return enabled ? EINVAL : 0;
    if (file == "revalidate_size")
        return enabled ? 0 : EINVAL;
    if (file == "ana_grpid") {
        long n = number(value);
        if (n < 1 || n > 128)
            return EINVAL;
        if (n == 128)
            value = "0";
        return 0;
    }
    if (value == "0") {
        if (enabled && reachable(dir))
            violations_.push_back(dir + " was disabled while a host could reach it");
        return 0;
    }
    if (enabled)
        return 0;
    std::string path = this->value(dir + "/device_path");
    if (!devices.contains(path))
        return path == "(null)" ? EINVAL : ENOENT;
    watch_enable(dir);
    return 0;
}

int FakeTree::write_port(const std::string &dir, const std::string &file, const std::string &value)
{
    if (!children(dir + "/subsystems").empty())
        return EACCES;
    if (file == "addr_trtype" && value != "rdma" && value != "tcp")
        return EINVAL;
    if (file == "addr_adrfam" && value != "ipv4" && value != "ipv6")
        return EINVAL;
    return value.empty() ? EINVAL : 0;
}

Result<void> FakeTree::write(const std::string &file, const std::string &text)
{
    auto fail = [&](int err) { return Error{"write", file, err, "", ""}; };
    if (int err = injected())
        return fail(err);
    if (!has(file) || nodes_.at(file).type != Type::file)
        return fail(ENOENT);
    std::string taken = text;
    std::string dir = parent(file);
    auto parts = split(file);
    int err = 0;
    if (parts[0] == "subsystems")
        err = parts.size() == 3 ? write_subsystem(dir, name(file), taken) : write_namespace(dir, name(file), taken);
    else if (name(file) == "ana_state")
        err = ana_state_from(taken) ? 0 : EINVAL;
    else if (parts[0] == "ports")
        err = write_port(dir, name(file), taken);
    if (err != 0)
        return fail(err);
    if (name(file) != "revalidate_size")
        nodes_[file].value = taken;
    return {};
}

Result<void> FakeTree::make_dir(const std::string &dir)
{
    auto fail = [&](int err) { return Error{"create", dir, err, "", ""}; };
    if (int err = injected())
        return fail(err);
    if (has(dir))
        return fail(EEXIST);
    if (!has(parent(dir)))
        return fail(ENOENT);
    auto parts = split(dir);
    std::string id = name(dir);
    if (parts.size() == 2 && parts[0] == "hosts") {
        add_dir(dir, false);
    } else if (parts.size() == 2 && parts[0] == "subsystems") {
        add_dir(dir, false);
        add_dir(dir + "/namespaces", true);
        add_dir(dir + "/allowed_hosts", true);
        add_file(dir + "/attr_allow_any_host", "0");
        add_file(dir + "/attr_serial", fmt::format("{:<20}", fmt::format("random{}", serials_++)));
        add_file(dir + "/attr_model", "Linux");
        add_file(dir + "/attr_version", "1.3");
        add_file(dir + "/attr_cntlid_min", "1");
        add_file(dir + "/attr_cntlid_max", "65519");
        add_file(dir + "/attr_qid_max", "128");
        add_file(dir + "/attr_pi_enable", "0");
    } else if (parts.size() == 4 && parts[2] == "namespaces") {
        if (number(id) < 1 || number(id) >= UINT32_MAX)
            return fail(EINVAL);
        add_dir(dir, false);
        add_file(dir + "/device_path", "(null)");
        add_file(dir + "/device_uuid", fmt::format("00000000-0000-4000-8000-{:012x}", serials_++));
        add_file(dir + "/device_nguid", "00000000-0000-0000-0000-000000000000");
        add_file(dir + "/ana_grpid", "1");
        add_file(dir + "/enable", "0");
        add_file(dir + "/buffered_io", "0");
        add_file(dir + "/revalidate_size", "");
    } else if (parts.size() == 2 && parts[0] == "ports") {
        if (number(id) < 0 || number(id) > UINT16_MAX)
            return fail(EINVAL);
        add_dir(dir, false);
        for (const char *sub : {"subsystems", "referrals", "ana_groups", "ana_groups/1"})
            add_dir(dir + "/" + sub, true);
        add_file(dir + "/ana_groups/1/ana_state", "optimized");
        for (const char *file : {"addr_trtype", "addr_adrfam", "addr_traddr", "addr_trsvcid"})
            add_file(dir + "/" + file, "");
        add_file(dir + "/addr_treq", "not specified");
        add_file(dir + "/param_inline_data_size", "-1");
        add_file(dir + "/param_pi_enable", "0");
    } else if (parts.size() == 4 && parts[2] == "ana_groups") {
        if (number(id) < 2 || number(id) > 128)
            return fail(EINVAL);
        add_dir(dir, false);
        add_file(dir + "/ana_state", "inaccessible");
    } else {
        return fail(EPERM);
    }
    return {};
}

Result<void> FakeTree::remove_dir(const std::string &dir)
{
    auto fail = [&](int err) { return Error{"remove", dir, err, "", ""}; };
    if (int err = injected())
        return fail(err);
    if (!has(dir))
        return fail(ENOENT);
    if (nodes_.at(dir).type != Type::dir)
        return fail(ENOTDIR);
    if (nodes_.at(dir).fixed)
        return fail(EPERM);
    auto parts = split(dir);
    if (parts.size() == 2)  // a host or a subsystem that a link points to
        for (const auto &[path, node] : nodes_)
            if (node.type == Type::link && node.value == dir)
                return fail(EBUSY);
    std::set<std::string> inside;
    for (auto it = nodes_.upper_bound(dir + "/"); it != nodes_.end() && it->first.starts_with(dir + "/"); ++it) {
        if (it->second.type == Type::link || (it->second.type == Type::dir && !it->second.fixed))
            return fail(ENOTEMPTY);
        inside.insert(it->first);
    }
    if (parts.size() == 4 && parts[2] == "namespaces" && value(dir + "/enable") == "1")
        violations_.push_back(dir + " was removed while it was enabled");
    for (const auto &path : inside)
        nodes_.erase(path);
    nodes_.erase(dir);
    return {};
}

// What the kernel does when a port gets its first subsystem.
int FakeTree::enable_port(const std::string &port)
{
    std::string type = value(port + "/addr_trtype"), ip = value(port + "/addr_traddr");
    if (type.empty() || ip.empty() || value(port + "/addr_adrfam").empty() || value(port + "/addr_trsvcid").empty())
        return EINVAL;
    if (!local_ips.contains(ip))
        return EADDRNOTAVAIL;
    if (type == "rdma" && !rdma_ips.contains(ip))
        return ENODEV;
    auto listens_there = [&](const std::string &other) {
        return other != port && !children(other + "/subsystems").empty() && value(other + "/addr_trtype") == type &&
               value(other + "/addr_traddr") == ip && value(other + "/addr_trsvcid") == value(port + "/addr_trsvcid");
    };
    std::vector<std::string> ports = children("ports");
    return std::any_of(ports.begin(), ports.end(), listens_there) ? EADDRINUSE : 0;
}

Result<void> FakeTree::make_link(const std::string &target, const std::string &link)
{
    auto fail = [&](int err) { return Error{"link", link, err, "", ""}; };
    if (int err = injected())
        return fail(err);
    if (!has(target) || !has(parent(link)))
        return fail(ENOENT);
    if (has(link))
        return fail(EEXIST);
    auto parts = split(link);
    bool serve = parts.size() == 4 && parts[0] == "ports" && parts[2] == "subsystems";
    bool allow = parts.size() == 4 && parts[0] == "subsystems" && parts[2] == "allowed_hosts";
    if (!serve && !allow)
        return fail(EPERM);
    if (!target.starts_with(serve ? "subsystems/" : "hosts/"))
        return fail(EINVAL);
    std::string object = parts[0] + "/" + parts[1];
    if (allow && value(object + "/attr_allow_any_host") == "1")
        return fail(EINVAL);
    if (serve && children(parent(link)).empty())
        if (int err = enable_port(object))
            return fail(err);
    nodes_[link] = {Type::link, target, false};
    return {};
}

Result<void> FakeTree::remove_link(const std::string &link)
{
    if (int err = injected())
        return Error{"unlink", link, err, "", ""};
    if (!has(link) || nodes_.at(link).type != Type::link)
        return Error{"unlink", link, ENOENT, "", ""};
    nodes_.erase(link);
    return {};
}

Result<std::string> FakeTree::link_target(const std::string &link)
{
    if (!has(link) || nodes_.at(link).type != Type::link)
        return Error{"read the link", link, ENOENT, "", ""};
    return name(value(link));
}

}  // namespace pav::nvmet::test
