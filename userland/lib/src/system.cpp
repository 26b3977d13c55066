// SPDX-License-Identifier: GPL-2.0
//
// Modules by libkmod, configfs, time, randomness.
#include <libkmod.h>
#include <sys/mount.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "pav/host.hpp"
#include "pav_netlink.h"

namespace pav {

namespace {

struct ContextFree {
    void operator()(kmod_ctx *context) const { kmod_unref(context); }
};
struct ModuleFree {
    void operator()(kmod_module *module) const { kmod_module_unref(module); }
};
using Context = std::unique_ptr<kmod_ctx, ContextFree>;
using Module = std::unique_ptr<kmod_module, ModuleFree>;

std::string underscored(std::string name) {
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

class RealModules : public Modules {
  public:
    RealModules() : context_(kmod_new(nullptr, nullptr)) {
        if (context_) kmod_set_log_fn(context_.get(), [](void *, int, const char *, int, const char *, const char *, va_list) {}, nullptr);
    }

    bool loaded(const std::string &name) override {
        return std::filesystem::exists("/sys/module/" + underscored(name));
    }

    Result<void> load(const std::string &name_or_path) override {
        return name_or_path.find('/') == std::string::npos ? load_by_name(name_or_path) : load_file(name_or_path);
    }

    Result<void> mount_configfs() override {
        if (std::filesystem::exists("/sys/kernel/config/nvmet")) return {};
        if (auto done = load_by_name("configfs"); !done && done.error().err != ENOENT) return done;
        if (mount("configfs", "/sys/kernel/config", "configfs", 0, nullptr) != 0 && errno != EBUSY)
            return Error{"mount", "/sys/kernel/config", errno, "", "run it as root, on a kernel with CONFIG_CONFIGFS_FS"};
        return {};
    }

  private:
    static Error failed(const std::string &what, int err) {
        return {"load the module", what, err, "",
                err == EPERM     ? "run it as root"
                : err == ENOENT  ? "install it for this kernel (uname -r), or set options: { module = \"/path/pavraid.ko\"; };"
                : err == ENOEXEC ? "it was built for another kernel; see dmesg"
                                 : "see dmesg"};
    }

    Result<void> load_by_name(const std::string &name) {
        if (loaded(name)) return {};
        if (!context_) return failed(name, ENOMEM);
        kmod_list *list = nullptr;
        const int looked = kmod_module_new_from_lookup(context_.get(), name.c_str(), &list);
        if (looked < 0 || !list) {
            kmod_module_unref_list(list);
            return failed(name, looked < 0 ? -looked : ENOENT);
        }
        int result = 0;
        kmod_list *entry;
        kmod_list_foreach(entry, list) {
            const Module module(kmod_module_get_module(entry));
            result = kmod_module_probe_insert_module(module.get(), 0, nullptr, nullptr, nullptr, nullptr);
            if (result < 0) break;
        }
        kmod_module_unref_list(list);
        if (result < 0 && result != -EEXIST) return failed(name, -result);
        return {};
    }

    Result<void> load_file(const std::string &path) {
        const std::string name = underscored(std::filesystem::path(path).stem());
        if (loaded(name)) return {};
        if (!context_) return failed(path, ENOMEM);
        kmod_module *raw = nullptr;
        if (const int result = kmod_module_new_from_path(context_.get(), path.c_str(), &raw); result < 0) return failed(path, -result);
        const Module module(raw);
        if (const int result = kmod_module_insert_module(module.get(), 0, nullptr); result < 0 && result != -EEXIST)
            return failed(path, -result);
        return {};
    }

    Context context_;
};

class RealClock : public Clock {
  public:
    std::chrono::milliseconds now() override {
        return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch());
    }
    void sleep(std::chrono::milliseconds time) override { std::this_thread::sleep_for(time); }
};

}  // namespace

std::unique_ptr<Modules> real_modules() { return std::make_unique<RealModules>(); }
std::unique_ptr<Clock> real_clock() { return std::make_unique<RealClock>(); }

HostIdentity host_identity(const std::string &root) {
    const auto hex_of = [](const std::string &file) {
        std::ifstream stream(file);
        std::string text, digits;
        stream >> text;
        for (const char c : text)
            if (std::isxdigit(static_cast<unsigned char>(c))) digits += c;
        Uuid id{};
        if (digits.size() != 2 * id.size()) return Uuid{};
        for (std::size_t i = 0; i < id.size(); i++) id[i] = static_cast<std::uint8_t>(std::stoul(digits.substr(2 * i, 2), nullptr, 16));
        return id;
    };
    HostIdentity self;
    self.id = hex_of(root + "/etc/machine-id");
    if (!is_nil(self.id)) {
        const Uuid product = hex_of(root + "/sys/class/dmi/id/product_uuid");
        for (std::size_t i = 0; i < self.id.size(); i++) self.id[i] ^= product[i];
    }
    std::ifstream stream(root + "/proc/sys/kernel/hostname");
    std::getline(stream, self.name);
    self.name.resize(std::min<std::size_t>(self.name.size(), PAV_NAME_MAX));
    std::replace_if(self.name.begin(), self.name.end(), [](unsigned char c) { return c < 32 || c > 126; }, '?');
    return self;
}

bool is_this_machine(const Uuid &id) { return !is_nil(id) && id == host_identity().id; }

Random real_random() {
    return [](std::uint8_t *bytes, std::size_t n) {
        // Cannot fail for such sizes once the kernel's pool is up; identifiers from anything less must not be handed out.
        if (getrandom(bytes, n, 0) != static_cast<ssize_t>(n)) throw std::runtime_error("getrandom failed");
    };
}

}  // namespace pav
