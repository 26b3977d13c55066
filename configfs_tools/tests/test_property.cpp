// SPDX-License-Identifier: GPL-2.0
//
// The planner against random states. From any state A to any state B: the plan leads to B, a second plan is empty; an error
// at any step gives back exactly A; a crash at any step is finished by the next plan; what is not ours never changes; and
// no host sees a disk go while it can use it.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <sstream>

#include "fake_tree.hpp"

namespace pav::nvmet::test {
namespace {

class Random {
  public:
    explicit Random(unsigned seed) : engine_(seed) {}
    unsigned below(unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(engine_); }
    bool chance(unsigned percent) { return below(100) < percent; }
    template <class T> T any(std::initializer_list<T> list) { return *(list.begin() + below(list.size())); }

  private:
    std::mt19937 engine_;
};

const std::vector<std::string> nqns = {"GB00000000000001", "GB00000000000002", "GB00000000000003"};
const std::vector<std::string> hosts = {"nqn.host-a", "nqn.host-b", "nqn.host-c"};
const std::vector<std::string> ips = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};

Subsystem random_subsystem(Random &r, std::vector<std::string> &devices)
{
    Subsystem s;
    s.serial = fmt::format("SER{}", r.below(3));
    s.model = fmt::format("PVL-{}", r.below(2));
    if (r.chance(50)) {
        s.cntlid_min = r.any({1u, 100u, 32768u});
        s.cntlid_max = *s.cntlid_min + r.any({0u, 50u, 32000u});
    } else {
        s.cntlid_min = 1, s.cntlid_max = 65519;
    }
    s.allow_any_host = r.chance(40);
    if (!s.allow_any_host)
        for (const auto &host : hosts)
            if (r.chance(40))
                s.allowed_hosts.insert(host);
    for (std::uint32_t nsid = 1; nsid <= 3; nsid++) {
        if (devices.empty() || r.chance(40))
            continue;
        Namespace ns;
        unsigned pick = r.below(devices.size());
        ns.device_path = devices[pick];
        devices.erase(devices.begin() + pick);
        ns.uuid = fmt::format("{:08x}-0000-4000-8000-000000000000", r.below(3));
        if (r.chance(50))
            ns.nguid = fmt::format("{:08x}-0000-0000-0000-000000000000", r.below(2));
        ns.ana_grpid = 1 + r.below(4);
        ns.enable = r.chance(80);
        if (r.chance(30))
            ns.buffered_io = r.chance(50);
        s.namespaces[nsid] = ns;
    }
    return s;
}

State random_state(Random &r)
{
    State s;
    std::vector<std::string> devices;
    for (int i = 0; i < 6; i++)
        devices.push_back(fmt::format("/dev/pav/g/v{}", i));
    for (const auto &nqn : nqns)
        if (r.chance(65))
            s.subsystems[nqn] = random_subsystem(r, devices);
    std::set<std::string> used;
    for (std::uint16_t id = 1; id <= 4; id++) {
        if (r.chance(35))
            continue;
        Port p;
        p.trtype = r.any({"rdma", "tcp"});
        p.traddr = ips[r.below(ips.size())];
        p.trsvcid = r.any({"4420", "4421"});
        if (!used.insert(p.trtype + p.traddr + p.trsvcid).second)
            continue;
        if (r.chance(30))
            p.inline_data_size = r.any({4096L, 16384L});
        for (unsigned group = 1; group <= 4; group++)
            if (r.chance(60))
                p.ana_groups[group] = static_cast<AnaState>(r.below(5));
        for (const auto &[nqn, subsystem] : s.subsystems)
            if (r.chance(60))
                p.subsystems.insert(nqn);
        s.ports[id] = p;
    }
    if (r.chance(30))
        s.hosts.insert("nqn.host-d");
    return s;
}

FakeTree machine()
{
    FakeTree tree;
    tree.local_ips = {ips.begin(), ips.end()};
    tree.local_ips.insert("10.9.9.9");
    tree.rdma_ips = tree.local_ips;
    for (int i = 0; i < 6; i++)
        tree.devices.insert(fmt::format("/dev/pav/g/v{}", i));
    tree.devices.insert("/dev/foreign");
    return tree;
}

// Somebody else's port, subsystem and host, which uses one of our hosts' names.
void add_foreign(FakeTree &tree)
{
    for (const char *dir : {"hosts/nqn.host-a", "hosts/nqn.foreign", "subsystems/foreign", "subsystems/foreign/namespaces/1",
                            "ports/9", "ports/9/ana_groups/3"})
        ASSERT_TRUE(tree.make_dir(dir).ok());
    ASSERT_TRUE(tree.write("subsystems/foreign/namespaces/1/device_path", "/dev/foreign").ok());
    ASSERT_TRUE(tree.write("subsystems/foreign/namespaces/1/enable", "1").ok());
    for (auto [file, value] : {std::pair{"addr_trtype", "tcp"}, {"addr_adrfam", "ipv4"}, {"addr_traddr", "10.9.9.9"},
                               {"addr_trsvcid", "4420"}, {"ana_groups/3/ana_state", "optimized"}})
        ASSERT_TRUE(tree.write(fmt::format("ports/9/{}", file), value).ok());
    ASSERT_TRUE(tree.make_link("hosts/nqn.host-a", "subsystems/foreign/allowed_hosts/nqn.host-a").ok());
    ASSERT_TRUE(tree.make_link("subsystems/foreign", "ports/9/subsystems/foreign").ok());
}

std::string foreign_part(const FakeTree &tree)
{
    std::istringstream lines(tree.dump());
    std::string text;
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with("subsystems/foreign") || line.starts_with("ports/9") || line.starts_with("hosts/nqn.foreign") ||
            line.starts_with("hosts/nqn.host-a "))
            text += line + "\n";
    return text;
}

PlanOptions options()
{
    PlanOptions o;
    o.identity = [](const std::string &path) { return std::optional(path); };
    return o;
}

Plan must_plan(FakeTree &tree, const State &want, const Owned &owned)
{
    auto now = read_state(tree);
    EXPECT_TRUE(now.ok());
    auto p = plan(*now, want, owned, options());
    EXPECT_TRUE(p.ok()) << (p ? "" : p.error().to_text());
    return p ? *p : Plan{};
}

// Stands apart from the planner: looks at files, not at States.
void expect_built(FakeTree &tree, const State &want)
{
    auto file = [&](const std::string &path) {
        auto r = tree.read(path);
        return r ? r->substr(0, r->find_last_not_of(" \n") + 1) : "missing " + path;
    };
    auto names = [&](const std::string &dir) {
        std::set<std::string> out;
        auto list = tree.list(dir);
        if (list)
            for (const auto &e : *list)
                out.insert(e.name);
        return out;
    };
    std::set<std::string> subsystems = {"foreign"}, ports = {"9"};
    for (const auto &[nqn, s] : want.subsystems) {
        subsystems.insert(nqn);
        std::string dir = "subsystems/" + nqn;
        EXPECT_EQ(file(dir + "/attr_serial"), *s.serial);
        EXPECT_EQ(file(dir + "/attr_model"), *s.model);
        EXPECT_EQ(file(dir + "/attr_cntlid_min"), std::to_string(*s.cntlid_min));
        EXPECT_EQ(file(dir + "/attr_cntlid_max"), std::to_string(*s.cntlid_max));
        EXPECT_EQ(file(dir + "/attr_allow_any_host"), s.allow_any_host ? "1" : "0");
        EXPECT_EQ(names(dir + "/allowed_hosts"), s.allowed_hosts);
        std::set<std::string> nsids;
        for (const auto &[nsid, ns] : s.namespaces) {
            nsids.insert(std::to_string(nsid));
            std::string at = fmt::format("{}/namespaces/{}", dir, nsid);
            EXPECT_EQ(file(at + "/device_path"), ns.device_path);
            EXPECT_EQ(file(at + "/device_uuid"), *ns.uuid);
            EXPECT_EQ(file(at + "/ana_grpid"), std::to_string(ns.ana_grpid));
            EXPECT_EQ(file(at + "/enable"), ns.enable ? "1" : "0");
            if (ns.nguid) {
                EXPECT_EQ(file(at + "/device_nguid"), *ns.nguid);
            }
            if (ns.buffered_io) {
                EXPECT_EQ(file(at + "/buffered_io"), *ns.buffered_io ? "1" : "0");
            }
        }
        EXPECT_EQ(names(dir + "/namespaces"), nsids);
    }
    for (const auto &[id, p] : want.ports) {
        ports.insert(std::to_string(id));
        std::string dir = fmt::format("ports/{}", id);
        EXPECT_EQ(file(dir + "/addr_trtype"), p.trtype);
        EXPECT_EQ(file(dir + "/addr_traddr"), p.traddr);
        EXPECT_EQ(file(dir + "/addr_trsvcid"), p.trsvcid);
        EXPECT_EQ(file(dir + "/addr_adrfam"), "ipv4");
        if (p.inline_data_size) {
            EXPECT_EQ(file(dir + "/param_inline_data_size"), std::to_string(*p.inline_data_size));
        }
        EXPECT_EQ(names(dir + "/subsystems"), p.subsystems);
        std::set<std::string> groups = {"1"};
        for (const auto &[group, state] : p.ana_groups) {
            groups.insert(std::to_string(group));
            EXPECT_EQ(file(fmt::format("{}/ana_groups/{}/ana_state", dir, group)), to_string(state));
        }
        EXPECT_EQ(names(dir + "/ana_groups"), groups);
    }
    EXPECT_EQ(names("subsystems"), subsystems);
    EXPECT_EQ(names("ports"), ports);
    std::set<std::string> expected_hosts = want.hosts;
    for (const auto &[nqn, s] : want.subsystems)
        expected_hosts.insert(s.allowed_hosts.begin(), s.allowed_hosts.end());
    expected_hosts.insert({"nqn.host-a", "nqn.foreign"});
    EXPECT_EQ(names("hosts"), expected_hosts);
}

void from_any_to_any(unsigned seed)
{
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Random r(seed);
    State a = random_state(r), b = random_state(r);
    if (r.chance(30)) {  // mostly the same: the typical change
        b = a;
        for (auto &[id, port] : b.ports)
            for (auto &[group, state] : port.ana_groups)
                if (r.chance(40))
                    state = static_cast<AnaState>(r.below(5));
        if (!b.subsystems.empty() && r.chance(50))
            b.subsystems.begin()->second.model = "PVL-new";
    }

    FakeTree start = machine();
    add_foreign(start);
    std::string foreign = foreign_part(start);
    Plan first = must_plan(start, a, {});
    ASSERT_TRUE(apply(start, first).ok());
    expect_built(start, a);
    EXPECT_EQ(must_plan(start, a, first.owned_after).steps, std::vector<Step>{});

    Plan p = must_plan(start, b, first.owned_after);
    std::size_t changes = 0;
    {
        FakeTree tree = start;
        std::size_t before = tree.changes();
        ApplyReport report = apply(tree, p);
        ASSERT_TRUE(report.ok()) << report.to_text() << p.to_text();
        changes = tree.changes() - before;
        expect_built(tree, b);
        EXPECT_EQ(must_plan(tree, b, p.owned_after).steps, std::vector<Step>{});
        EXPECT_EQ(foreign_part(tree), foreign);
        EXPECT_EQ(tree.violations(), std::vector<std::string>{}) << p.to_text();

        Plan gone = must_plan(tree, {}, p.owned_after);
        ASSERT_TRUE(apply(tree, gone).ok());
        expect_built(tree, {});
        EXPECT_EQ(gone.owned_after, Owned{});
    }
    for (std::size_t k = 0; k < changes; k++) {
        FakeTree tree = start;
        std::string before = tree.dump();
        tree.fail_at(tree.changes() + k, EIO);
        ApplyReport report = apply(tree, p);
        ASSERT_FALSE(report.ok());
        EXPECT_EQ(report.error->err, EIO);
        EXPECT_TRUE(report.rolled_back()) << report.to_text() << p.to_text();
        ASSERT_EQ(tree.dump(), before) << "refused: " << report.refused->to_text() << "\n" << p.to_text();
    }
    for (std::size_t k = 0; k <= p.steps.size(); k++) {
        FakeTree tree = start;
        Plan crashed = p;
        crashed.steps.resize(k);
        ASSERT_TRUE(apply(tree, crashed).ok());
        Plan rest = must_plan(tree, b, p.owned_during);
        ApplyReport report = apply(tree, rest);
        ASSERT_TRUE(report.ok()) << "after " << k << " steps of\n" << p.to_text() << rest.to_text() << report.to_text();
        expect_built(tree, b);
        EXPECT_EQ(must_plan(tree, b, rest.owned_after).steps, std::vector<Step>{});
        EXPECT_EQ(foreign_part(tree), foreign);
        EXPECT_EQ(tree.violations(), std::vector<std::string>{}) << crashed.to_text() << "---\n" << rest.to_text();

        // A crash leaves half-built objects; undoing from there must give exactly those back, too.
        if (k % 5 == seed % 5 && !rest.empty()) {
            for (std::size_t j = 0; j < rest.steps.size(); j += 3) {
                FakeTree again = start;
                ASSERT_TRUE(apply(again, crashed).ok());
                std::string before = again.dump();
                again.fail_at(again.changes() + j, ENOMEM);
                ApplyReport undone = apply(again, rest);
                if (!undone.ok()) {
                    ASSERT_EQ(again.dump(), before) << crashed.to_text() << "---\n" << rest.to_text() << undone.to_text();
                }
            }
        }
    }
}

constexpr unsigned seeds_per_test = 15;

class FromAnyToAny : public testing::TestWithParam<unsigned> {};

TEST_P(FromAnyToAny, arrives_or_gives_back_what_was)
{
    for (unsigned i = 0; i < seeds_per_test && !HasFailure(); i++)
        from_any_to_any(GetParam() * seeds_per_test + i);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FromAnyToAny, testing::Range(0u, 10u));

}  // namespace
}  // namespace pav::nvmet::test
