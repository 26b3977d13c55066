// SPDX-License-Identifier: GPL-2.0
//
// Whose an object is, and the file that remembers it.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pav/nvmet.hpp"

namespace pav::nvmet {

namespace {

using Json = nlohmann::ordered_json;
constexpr int file_version = 1;

Error damaged(const std::string &file, std::string reason)
{
    return {"use the record of what is ours", file, 0, std::move(reason),
            "remove it and name what is ours with --adopt, or restore it"};
}

bool claimed(const std::vector<std::string> &prefixes, std::string_view nqn)
{
    return std::any_of(prefixes.begin(), prefixes.end(), [&](const auto &p) { return !p.empty() && nqn.starts_with(p); });
}

Result<void> make_parent(const std::string &file)
{
    auto dir = std::filesystem::path(file).parent_path();
    std::error_code error;
    if (!dir.empty())
        std::filesystem::create_directories(dir, error);
    if (error)
        return Error{"create", dir.string(), error.value(), "", ""};
    return {};
}

// Closes on every way out. close() hands the error of a late write back.
class File {
  public:
    File(const std::string &path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
    File(const File &) = delete;
    File &operator=(const File &) = delete;
    ~File()
    {
        if (fd_ >= 0)
            ::close(fd_);
    }
    int fd() const { return fd_; }
    int close() { return ::close(std::exchange(fd_, -1)); }
    int release() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

}  // namespace

bool Owned::owns_port(std::uint16_t id) const
{
    return ports.contains(id) || (port_range && id >= port_range->first && id <= port_range->second);
}

bool Owned::owns_subsystem(std::string_view nqn) const
{
    return subsystems.contains(std::string(nqn)) || claimed(nqn_prefixes, nqn);
}

bool Owned::owns_host(std::string_view nqn) const
{
    return hosts.contains(std::string(nqn)) || claimed(nqn_prefixes, nqn);
}

Result<Owned> load_owned(const std::string &file)
{
    File f(file, O_RDONLY);
    if (f.fd() < 0 && errno == ENOENT)
        return Owned{};
    if (f.fd() < 0)
        return Error{"read", file, errno, "", ""};
    std::string text;
    char buffer[65536];
    ssize_t n = 0;
    while ((n = ::read(f.fd(), buffer, sizeof(buffer))) > 0)
        text.append(buffer, static_cast<std::size_t>(n));
    if (n < 0)
        return Error{"read", file, errno, "", ""};
    try {
        Json j = Json::parse(text);
        if (j.at("version").get<int>() != file_version)
            return damaged(file, fmt::format("its version is {}, not {}", j.at("version").dump(), file_version));
        Owned owned;
        for (const auto &id : j.at("ports")) {
            if (!id.is_number_unsigned() || id.get<std::uint64_t>() > UINT16_MAX)
                return damaged(file, fmt::format("{} is not a port number", id.dump()));
            owned.ports.insert(id.get<std::uint16_t>());
        }
        owned.subsystems = j.at("subsystems").get<std::set<std::string>>();
        owned.hosts = j.at("hosts").get<std::set<std::string>>();
        return owned;
    } catch (const Json::exception &e) {
        return damaged(file, e.what());
    }
}

Result<void> save_owned(const std::string &file, const Owned &owned)
{
    if (auto r = make_parent(file); !r)
        return r;
    std::string text = Json{{"version", file_version},
                            {"ports", owned.ports},
                            {"subsystems", owned.subsystems},
                            {"hosts", owned.hosts}}
                           .dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    std::string fresh = file + ".new";
    File f(fresh, O_WRONLY | O_CREAT | O_TRUNC);
    if (f.fd() < 0)
        return Error{"create", fresh, errno, "", ""};
    for (std::size_t done = 0; done < text.size();) {
        ssize_t n = ::write(f.fd(), text.data() + done, text.size() - done);
        if (n < 0)
            return Error{"write", fresh, errno, "", ""};
        done += static_cast<std::size_t>(n);
    }
    if (::fsync(f.fd()) != 0 || f.close() != 0)
        return Error{"write", fresh, errno, "", ""};
    if (::rename(fresh.c_str(), file.c_str()) != 0)
        return Error{"replace", file, errno, "", ""};
    return {};
}

Result<OwnedLock> OwnedLock::take(const std::string &file)
{
    if (auto r = make_parent(file); !r)
        return r.error();
    std::string lock = file + ".lock";
    File f(lock, O_RDWR | O_CREAT);
    if (f.fd() < 0)
        return Error{"create", lock, errno, "", ""};
    while (::flock(f.fd(), LOCK_EX) != 0)
        if (errno != EINTR)
            return Error{"lock", lock, errno, "", ""};
    return OwnedLock(f.release());
}

OwnedLock &OwnedLock::operator=(OwnedLock &&other) noexcept
{
    if (this != &other) {
        if (fd_ >= 0)
            ::close(fd_);
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

OwnedLock::~OwnedLock()
{
    if (fd_ >= 0)
        ::close(fd_);
}

}  // namespace pav::nvmet
