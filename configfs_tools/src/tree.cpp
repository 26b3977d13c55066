// SPDX-License-Identifier: GPL-2.0
//
// configfs through system calls, and reading it all into a State.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "attrs.hpp"
#include "pav/nvmet.hpp"

namespace pav::nvmet {

namespace {

class RealTree final : public Tree {
  public:
    explicit RealTree(std::string root) : root_(std::move(root)) {}

    Result<std::vector<Entry>> list(const std::string &dir) override
    {
        std::unique_ptr<DIR, int (*)(DIR *)> d(::opendir(at(dir).c_str()), ::closedir);
        if (!d)
            return fail("list", dir);
        std::vector<Entry> entries;
        for (errno = 0; const dirent *e = ::readdir(d.get()); errno = 0) {
            std::string name = e->d_name;
            if (name == "." || name == "..")
                continue;
            struct stat st {};
            if (::fstatat(::dirfd(d.get()), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
                return fail("examine", dir + "/" + name);
            Type type = S_ISLNK(st.st_mode) ? Type::link : S_ISDIR(st.st_mode) ? Type::dir : Type::file;
            entries.push_back({std::move(name), type});
        }
        if (errno != 0)
            return fail("list", dir);
        std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) { return a.name < b.name; });
        return entries;
    }

    Result<std::string> read(const std::string &file) override
    {
        Fd fd(::open(at(file).c_str(), O_RDONLY | O_CLOEXEC));
        if (fd.n < 0)
            return fail("read", file);
        char page[4096];  // configfs gives at most one page, at once
        ssize_t n = ::read(fd.n, page, sizeof(page));
        if (n < 0)
            return fail("read", file);
        return std::string(page, static_cast<std::size_t>(n));
    }

    Result<void> write(const std::string &file, const std::string &value) override
    {
        Fd fd(::open(at(file).c_str(), O_WRONLY | O_CLOEXEC));
        if (fd.n < 0)
            return fail("write", file);
        // configfs takes a value in one write; a retry after a part of it would be a second value.
        ssize_t n = ::write(fd.n, value.data(), value.size());
        if (n < 0)
            return fail("write", file);
        if (static_cast<std::size_t>(n) != value.size())
            return Error{"write", file, EIO, "the kernel took only a part of the value", ""};
        return {};
    }

    Result<void> make_dir(const std::string &dir) override
    {
        return ::mkdir(at(dir).c_str(), 0755) == 0 ? Result<void>{} : fail("create", dir);
    }

    Result<void> remove_dir(const std::string &dir) override
    {
        return ::rmdir(at(dir).c_str()) == 0 ? Result<void>{} : fail("remove", dir);
    }

    Result<void> make_link(const std::string &target, const std::string &link) override
    {
        // configfs looks the target up when the link is made, and takes a relative one from the writer's directory.
        return ::symlink(at(target).c_str(), at(link).c_str()) == 0 ? Result<void>{} : fail("link", link);
    }

    Result<void> remove_link(const std::string &link) override
    {
        return ::unlink(at(link).c_str()) == 0 ? Result<void>{} : fail("unlink", link);
    }

    Result<std::string> link_target(const std::string &link) override
    {
        char target[PATH_MAX];
        ssize_t n = ::readlink(at(link).c_str(), target, sizeof(target));
        if (n < 0)
            return fail("read the link", link);
        std::string_view text(target, static_cast<std::size_t>(n));
        return std::string(text.substr(text.rfind('/') + 1));
    }

  private:
    struct Fd {
        explicit Fd(int fd) : n(fd) {}
        Fd(const Fd &) = delete;
        Fd &operator=(const Fd &) = delete;
        ~Fd()
        {
            if (n >= 0)
                ::close(n);
        }
        int n;
    };

    std::string at(const std::string &path) const { return path.empty() ? root_ : root_ + "/" + path; }
    Error fail(const char *tried, const std::string &path) const { return {tried, at(path), errno, "", ""}; }

    std::string root_;
};

template <class Number> Result<Number> number_from_name(const std::string &dir, const std::string &name)
{
    Number id{};
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc{} || end != name.data() + name.size() || std::to_string(id) != name)
        return Error{"read", dir + "/" + name, 0, "its name is not a plain decimal number",
                     "remove it and create it again under its decimal name"};
    return id;
}

// Reads the attribute files of a directory into `object`.
template <class T> Result<void> read_attrs(Tree &tree, const std::string &dir, T &object)
{
    auto entries = tree.list(dir);
    if (!entries)
        return entries.error();
    for (const auto &e : *entries) {
        if (e.type != Tree::Type::file || e.name == "revalidate_size")
            continue;
        auto raw = tree.read(dir + "/" + e.name);
        if (!raw && raw.error().err == EACCES)
            continue;  // write-only, like revalidate_size: a later kernel may have more of them
        if (!raw)
            return raw.error();
        take_attr(object, e.name, normalise(e.name, *raw));
    }
    return {};
}

Result<std::set<std::string>> read_links(Tree &tree, const std::string &dir)
{
    auto entries = tree.list(dir);
    if (!entries)
        return entries.error();
    std::set<std::string> targets;
    for (const auto &e : *entries) {
        if (e.type != Tree::Type::link)
            continue;
        auto target = tree.link_target(dir + "/" + e.name);
        if (!target)
            return target.error();
        targets.insert(*target);
    }
    return targets;
}

Result<Subsystem> read_subsystem(Tree &tree, const std::string &nqn)
{
    Subsystem subsystem;
    std::string dir = subsystem_path(nqn);
    if (auto r = read_attrs(tree, dir, subsystem); !r)
        return r.error();
    auto hosts = read_links(tree, dir + "/allowed_hosts");
    if (!hosts)
        return hosts.error();
    subsystem.allowed_hosts = std::move(*hosts);

    auto entries = tree.list(dir + "/namespaces");
    if (!entries)
        return entries.error();
    for (const auto &e : *entries) {
        auto nsid = number_from_name<std::uint32_t>(dir + "/namespaces", e.name);
        if (!nsid)
            return nsid.error();
        Namespace ns;
        if (auto r = read_attrs(tree, dir + "/namespaces/" + e.name, ns); !r)
            return r.error();
        subsystem.namespaces.emplace(*nsid, std::move(ns));
    }
    return subsystem;
}

Result<Port> read_port(Tree &tree, std::uint16_t id)
{
    Port port;
    port.trsvcid.clear();
    std::string dir = port_path(id);
    if (auto r = read_attrs(tree, dir, port); !r)
        return r.error();
    auto links = read_links(tree, dir + "/subsystems");
    if (!links)
        return links.error();
    port.subsystems = std::move(*links);

    auto entries = tree.list(dir + "/ana_groups");
    if (!entries)
        return entries.error();
    for (const auto &e : *entries) {
        auto group = number_from_name<unsigned>(dir + "/ana_groups", e.name);
        if (!group)
            return group.error();
        std::string file = group_path(id, *group) + "/ana_state";
        auto raw = tree.read(file);
        if (!raw)
            return raw.error();
        auto state = ana_state_from(normalise("ana_state", *raw));
        if (!state)
            return Error{"read", file, 0, fmt::format("\"{}\" is not an ANA state", normalise("ana_state", *raw)), ""};
        port.ana_groups.emplace(*group, *state);
    }
    return port;
}

}  // namespace

std::unique_ptr<Tree> real_tree(std::string root)
{
    return std::make_unique<RealTree>(std::move(root));
}

Result<State> read_state(Tree &tree)
{
    State state;
    auto hosts = tree.list("hosts");
    if (!hosts) {
        Error e = hosts.error();
        if (e.err == ENOENT)
            e.remedy = "load the module (modprobe nvmet) and see that configfs is mounted on /sys/kernel/config";
        else if (e.err == EACCES || e.err == EPERM)
            e.remedy = "run it as root";
        return e;
    }
    for (const auto &e : *hosts)
        state.hosts.insert(e.name);

    auto subsystems = tree.list("subsystems");
    if (!subsystems)
        return subsystems.error();
    for (const auto &e : *subsystems) {
        auto subsystem = read_subsystem(tree, e.name);
        if (!subsystem)
            return subsystem.error();
        state.subsystems.emplace(e.name, std::move(*subsystem));
    }

    auto ports = tree.list("ports");
    if (!ports)
        return ports.error();
    for (const auto &e : *ports) {
        auto id = number_from_name<std::uint16_t>("ports", e.name);
        if (!id)
            return id.error();
        auto port = read_port(tree, *id);
        if (!port)
            return port.error();
        state.ports.emplace(*id, std::move(*port));
    }
    return state;
}

std::optional<std::string> device_identity(const std::string &path)
{
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0)
        return std::nullopt;
    if (S_ISBLK(st.st_mode))
        return fmt::format("block {}:{}", major(st.st_rdev), minor(st.st_rdev));
    std::unique_ptr<char, void (*)(void *)> real(::realpath(path.c_str(), nullptr), std::free);
    if (!real)
        return std::nullopt;
    return fmt::format("file {}", real.get());
}

}  // namespace pav::nvmet
