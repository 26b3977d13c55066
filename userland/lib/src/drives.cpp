// SPDX-License-Identifier: GPL-2.0
//
// What is on a drive, and who uses it: libblkid for signatures, /proc and sysfs for users, O_EXCL for whatever else holds it.
#include <blkid/blkid.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "pav/host.hpp"

namespace pav {

namespace {

namespace fs = std::filesystem;

struct ProbeFree {
    void operator()(blkid_struct_probe *probe) const { blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<blkid_struct_probe, ProbeFree>;

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

std::string value(blkid_probe probe, const char *name) {
    const char *text = nullptr;
    std::size_t length = 0;
    return blkid_probe_lookup_value(probe, name, &text, &length) == 0 && text ? text : "";
}

// libblkid's names, as people know them.
std::string describe_type(const std::string &type) {
    if (type == "linux_raid_member") return "a member of an md array";
    if (type == "LVM2_member") return "an LVM physical volume";
    if (type == "zfs_member") return "a member of a ZFS pool";
    if (type == "crypto_LUKS") return "a LUKS container";
    if (type == "swap") return "swap space";
    return fmt::format("a {} signature", type);
}

std::string device_number(dev_t number) { return fmt::format("{}:{}", major(number), minor(number)); }

// "259:3" of the drive and of each of its partitions.
std::set<std::string> numbers_of(const std::string &sys) {
    std::set<std::string> numbers;
    const auto add = [&](const fs::path &directory) {
        std::ifstream stream(directory / "dev");
        if (std::string number; stream >> number) numbers.insert(number);
    };
    add(sys);
    std::error_code ec;
    for (const auto &entry : fs::directory_iterator(sys, ec))
        if (fs::exists(entry.path() / "partition", ec)) add(entry.path());
    return numbers;
}

std::vector<std::string> mounts_of(const std::set<std::string> &numbers) {
    std::vector<std::string> mounts;
    std::ifstream stream("/proc/self/mountinfo");
    for (std::string line; std::getline(stream, line);) {
        std::istringstream fields(line);
        std::string id, parent, number, root, target;
        fields >> id >> parent >> number >> root >> target;
        if (numbers.contains(number)) mounts.push_back(target);
    }
    return mounts;
}

class RealDriveInspector : public DriveInspector {
  public:
    Result<std::vector<std::string>> candidates(const std::vector<std::string> &patterns) override {
        std::vector<std::string> found;
        for (const auto &pattern : patterns) {
            glob_t matches{};
            const int failed = glob(pattern.c_str(), 0, nullptr, &matches);
            for (std::size_t i = 0; !failed && i < matches.gl_pathc; i++) {
                const std::string path = matches.gl_pathv[i];
                struct stat st {};
                if (stat(path.c_str(), &st) != 0 || !S_ISBLK(st.st_mode)) continue;
                if (fs::exists(fmt::format("/sys/dev/block/{}/partition", device_number(st.st_rdev)))) continue;
                found.push_back(path);
            }
            globfree(&matches);
        }
        // nvme2n1 before nvme10n1
        std::sort(found.begin(), found.end(), [](const auto &a, const auto &b) { return strverscmp(a.c_str(), b.c_str()) < 0; });
        found.erase(std::unique(found.begin(), found.end()), found.end());
        return found;
    }

    Result<std::vector<std::string>> contents(const std::string &path) override {
        const char *tried = "look at the drive";
        struct stat st {};
        if (stat(path.c_str(), &st) != 0) return Error{tried, path, errno, "", "see lsblk for the drives there are"};
        if (!S_ISBLK(st.st_mode)) return Error{tried, path, ENOTBLK, "it is not a block device", "name a whole drive, /dev/nvme0n1"};
        const std::string sys = "/sys/dev/block/" + device_number(st.st_rdev);
        if (fs::exists(sys + "/partition")) return Error{tried, path, 0, "it is a partition", "name the whole drive"};

        std::vector<std::string> found;
        const auto numbers = numbers_of(sys);
        for (const auto &target : mounts_of(numbers)) found.push_back(fmt::format("mounted on {}", target));
        if (found.empty()) {
            std::error_code ec;
            for (const auto &holder : fs::directory_iterator(sys + "/holders", ec))
                found.push_back(fmt::format("in use by {}", holder.path().filename().string()));
        }
        const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_EXCL));
        if (fd.get() < 0 && errno == EBUSY) {
            if (found.empty()) found.emplace_back("in use (another program or driver holds it)");
            return found;  // what is on it no longer matters
        }
        if (fd.get() < 0) return Error{tried, path, errno, "", "run it as root"};

        const Probe probe(blkid_new_probe());
        if (!probe || blkid_probe_set_device(probe.get(), fd.get(), 0, 0) != 0)
            return Error{tried, path, errno ? errno : EIO, "its signatures cannot be read", "check the drive: dmesg, smartctl"};
        blkid_probe_enable_superblocks(probe.get(), 1);
        blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_LABEL);
        blkid_probe_enable_partitions(probe.get(), 1);
        for (;;) {
            const int result = blkid_do_probe(probe.get());
            if (result == 1) break;
            if (result < 0) return Error{tried, path, EIO, "its signatures cannot be read", "check the drive: dmesg, smartctl"};
            const std::string type = value(probe.get(), "TYPE"), table = value(probe.get(), "PTTYPE");
            const std::string label = value(probe.get(), "LABEL"), usage = value(probe.get(), "USAGE");
            std::string phrase;
            if (!table.empty()) phrase = fmt::format("a {} partition table", table);
            if (!type.empty()) phrase = usage == "filesystem" ? fmt::format("a file system ({})", type) : describe_type(type);
            if (!type.empty() && !label.empty()) phrase += fmt::format(" with the label \"{}\"", label);
            if (!phrase.empty() && std::find(found.begin(), found.end(), phrase) == found.end()) found.push_back(phrase);
        }
        return found;
    }

    std::string identity(const std::string &path) override {
        struct stat st {};
        if (stat(path.c_str(), &st) != 0) return path;
        return S_ISBLK(st.st_mode) ? "block " + device_number(st.st_rdev) : path;
    }
};

}  // namespace

std::unique_ptr<DriveInspector> real_drive_inspector() { return std::make_unique<RealDriveInspector>(); }

}  // namespace pav
