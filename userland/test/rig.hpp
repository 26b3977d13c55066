// SPDX-License-Identifier: GPL-2.0
//
// A whole array in memory: pavcfg's commands run on it word by word, as a user types them. nvmet is configfs_tools' fake tree,
// which refuses what the kernel refuses; the engine is the MemoryEngine.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "fake_tree.hpp"
#include "pav/array.hpp"
#include "pav/config.hpp"
#include "pav/memory_engine.hpp"
#include "pavcfg/run.hpp"

namespace pav::test {

// Lets many commands in a row use one engine.
class Forward : public Engine {
  public:
    explicit Forward(Engine &to) : to_(to) {}
    Result<DriveLabel> probe_drive(const std::string &path) override { return to_.probe_drive(path); }
    Result<void> wipe_drive(const std::string &path) override { return to_.wipe_drive(path); }
    Result<void> create_group(const GroupSpec &spec) override { return to_.create_group(spec); }
    Result<std::string> import_group(const std::vector<std::string> &drives, const std::optional<std::string> &name, bool takeover) override {
        return to_.import_group(drives, name, takeover);
    }
    Result<void> export_group(const std::string &group) override { return to_.export_group(group); }
    Result<void> destroy_group(const std::string &group) override { return to_.destroy_group(group); }
    Result<void> checkpoint_group(const std::string &group) override { return to_.checkpoint_group(group); }
    Result<std::vector<Group>> groups() override { return to_.groups(); }
    Result<std::vector<Drive>> drives(const std::string &group) override { return to_.drives(group); }
    Result<void> fail_drive(const std::string &group, unsigned slot) override { return to_.fail_drive(group, slot); }
    Result<void> add_drives(const std::string &group, const std::vector<DriveSpec> &drives) override { return to_.add_drives(group, drives); }
    Result<void> replace_drive(const std::string &group, unsigned slot, const std::optional<std::string> &with) override {
        return to_.replace_drive(group, slot, with);
    }
    Result<void> remove_drive(const std::string &group, unsigned slot) override { return to_.remove_drive(group, slot); }
    Result<std::string> return_drive(const std::string &path) override { return to_.return_drive(path); }
    Result<void> scrub(const std::string &group, bool on) override { return to_.scrub(group, on); }
    Result<void> create_volume(const VolumeSpec &spec) override { return to_.create_volume(spec); }
    Result<void> delete_volume(const std::string &group, const std::string &name) override { return to_.delete_volume(group, name); }
    Result<void> grow_volume(const std::string &group, const std::string &name, std::uint64_t size) override {
        return to_.grow_volume(group, name, size);
    }
    Result<void> rename_volume(const std::string &group, const std::string &name, const std::string &to) override {
        return to_.rename_volume(group, name, to);
    }
    Result<void> set_props(const std::string &group, const std::string &name,
                           const std::map<std::string, std::optional<std::string>> &changes) override {
        return to_.set_props(group, name, changes);
    }
    Result<std::vector<Volume>> volumes() override { return to_.volumes(); }

  private:
    Engine &to_;
};

class FakeDrives : public DriveInspector {
  public:
    std::vector<std::string> present;
    std::map<std::string, std::vector<std::string>> holds;  // by path
    std::map<std::string, std::string> same_as;             // other names

    Result<std::vector<std::string>> candidates(const std::vector<std::string> &) override { return present; }
    Result<std::vector<std::string>> contents(const std::string &path) override {
        if (std::find(present.begin(), present.end(), path) == present.end() && !same_as.contains(path))
            return Error{"look at the drive", path, ENOENT, "", "see lsblk for the drives there are"};
        const auto it = holds.find(path);
        return it == holds.end() ? std::vector<std::string>{} : it->second;
    }
    std::string identity(const std::string &path) override { return same_as.contains(path) ? same_as[path] : path; }
};

class FakeNetwork : public Network {
  public:
    std::map<std::string, std::set<std::string>> addresses;  // by interface
    std::set<std::string> rdma;                              // interfaces with an RDMA device

    InterfaceState look(const std::string &interface, const std::string &ip) override {
        InterfaceState state;
        state.exists = state.admin_up = state.link_up = addresses.contains(interface);
        if (!state.exists) return state;
        state.has_ip = addresses[interface].contains(ip);
        state.has_rdma = rdma.contains(interface);
        state.mac = "52:54:00:00:00:0" + interface.substr(interface.size() - 1);
        state.mtu = 9000;
        state.speed_mbps = 100000;
        return state;
    }
};

class FakeModules : public Modules {
  public:
    std::set<std::string> in_kernel;
    std::set<std::string> missing;
    bool loaded(const std::string &name) override { return in_kernel.contains(name); }
    Result<void> load(const std::string &name) override {
        if (missing.contains(name)) return Error{"load the module", name, ENOENT, "", "install it"};
        in_kernel.insert(name);
        return {};
    }
    Result<void> mount_configfs() override { return {}; }
};

class FakeClock : public Clock {
  public:
    std::chrono::milliseconds time{0};
    std::map<std::chrono::milliseconds, std::function<void()>> at;  // what happens when
    std::chrono::milliseconds now() override { return time; }
    void sleep(std::chrono::milliseconds how_long) override {
        time += how_long;
        while (!at.empty() && at.begin()->first <= time) {
            const auto happen = at.begin()->second;
            at.erase(at.begin());
            happen();
        }
    }
};

inline const char *two_controllers = R"(
zones: ( { id = 1; } );
controllers: ( { id = 1; zone = 1; protocol = "roce"; }, { id = 2; zone = 1; protocol = "roce"; } );
ports: (
    { name = "100g-1/1"; controller = 1; interface = "eth1"; ip = "192.168.10.1"; },
    { name = "100g-2/1"; controller = 1; interface = "eth3"; ip = "192.168.30.1"; },
    { name = "100g-1/2"; controller = 2; interface = "eth2"; ip = "192.168.20.1"; }
);
options: { wait = 10; };
)";

struct Reply {
    int code;
    std::string out, err;
    nlohmann::json json() const { return nlohmann::json::parse(out); }
};

class Rig {
  public:
    explicit Rig(std::string config = two_controllers) : config_text(std::move(config)) {
        std::string name = (std::filesystem::temp_directory_path() / "pav-test-XXXXXX").string();
        dir = mkdtemp(name.data());
        network.addresses = {{"eth1", {"192.168.10.1"}}, {"eth2", {"192.168.20.1"}}, {"eth3", {"192.168.30.1"}}};
        network.rdma = {"eth1", "eth2", "eth3"};
        reset_tree();
        for (int i = 0; i < 20; i++) drives.present.push_back("/dev/nvme" + std::to_string(i) + "n1");
        modules.in_kernel = {"pavraid"};
    }
    Rig(const Rig &) = delete;
    Rig &operator=(const Rig &) = delete;
    ~Rig() { std::filesystem::remove_all(dir); }

    // As after a boot: nvmet is empty, and so is /run.
    void reset_tree() {
        tree = std::make_unique<nvmet::test::FakeTree>();
        tree->local_ips = tree->rdma_ips = {"192.168.10.1", "192.168.20.1", "192.168.30.1"};
        for (int i = 0; i < 64; i++) tree->devices.insert("/dev/pav" + std::to_string(i));
        std::filesystem::remove(dir + "/owned.json");
    }

    Machine machine() {
        Machine m{[this]() -> Result<std::unique_ptr<Engine>> {
                      if (!modules.in_kernel.contains("pavraid"))
                          return Error{"find the array's engine", "pavraid", ENOENT, "the module pavraid is not loaded", "load it"};
                      return std::unique_ptr<Engine>(std::make_unique<Forward>(engine));
                  },
                  *tree, network, drives, modules, clock,
                  [this](std::uint8_t *bytes, std::size_t n) {
                      for (std::size_t i = 0; i < n; i++) bytes[i] = static_cast<std::uint8_t>(random_++ * 37 + 11);
                  }};
        m.state_file = dir + "/state.json";
        m.owned_file = dir + "/owned.json";
        m.device_identity = [](const std::string &path) { return std::optional<std::string>(path); };
        return m;
    }

    // One command line; blanks separate words.
    Reply pavcfg(const std::string &line) {
        std::istringstream words(line), in(answers);
        std::vector<std::string> arguments;
        for (std::string word; words >> word;) arguments.push_back(word);
        std::ostringstream out, err;
        cli::Session session{out, err, in, interactive,
                             [this](const std::string &) { return parse_config(config_text, "pavcfg.conf"); },
                             [this] { return machine(); },
                             [](const cli::Call &, const cli::Options &, cli::Session &) { return 0; }};
        const int code = cli::run(arguments, session);
        return {code, out.str(), err.str()};
    }

    // A group of 6 drives and a volume of 100 GB, not assigned.
    void make_volume(const std::string &name = "v1") {
        if (engine.groups().value().empty()) {
            const auto made = pavcfg("create group name MG1 drives /dev/nvme0n1 /dev/nvme1n1 /dev/nvme2n1 /dev/nvme3n1 /dev/nvme4n1 /dev/nvme5n1");
            ASSERT_EQ(made.code, 0) << made.err;
        }
        const auto made = pavcfg("create volume name " + name + " size 100 GB grpname MG1");
        ASSERT_EQ(made.code, 0) << made.err;
    }
    void make_pair(const std::string &name = "v1") {
        make_volume(name);
        for (const auto *port : {"100g-1/1 preferred", "100g-1/2"}) {
            const auto made = pavcfg("assign volume name " + name + " port-name " + port);
            ASSERT_EQ(made.code, 0) << made.err;
        }
    }

    Volume volume(const std::string &name) {
        const auto all = engine.volumes().value();
        for (const auto &v : all)
            if (v.name == name) return v;
        ADD_FAILURE() << "no volume " << name;
        return {};
    }
    nvmet::State nvmet_state() { return nvmet::read_state(*tree).value(); }

    std::string config_text, dir, answers;
    bool interactive = false;
    MemoryEngine engine;
    std::unique_ptr<nvmet::test::FakeTree> tree;
    FakeDrives drives;
    FakeNetwork network;
    FakeModules modules;
    FakeClock clock;

  private:
    unsigned random_ = 0;
};

}  // namespace pav::test
