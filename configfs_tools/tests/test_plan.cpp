// SPDX-License-Identifier: GPL-2.0
//
// Plans as an administrator reads them, and what is refused with which words.
#include <gtest/gtest.h>

#include <cerrno>

#include "fake_tree.hpp"

namespace pav::nvmet::test {
namespace {

const std::string vol1 = "GB0000000000000001", vol2 = "GB0000000000000002";

// Two ports, two volumes, groups crossed over: the usual HA pair.
State pair()
{
    State s;
    Subsystem one;
    one.serial = vol1;
    one.model = "PVL-1";
    one.allowed_hosts = {"nqn.host"};
    one.namespaces[1].device_path = "/dev/pav/g/v1";
    one.namespaces[1].ana_grpid = 2;
    Subsystem two = one;
    two.serial = vol2;
    two.namespaces[1].device_path = "/dev/pav/g/v2";
    two.namespaces[1].ana_grpid = 3;
    s.subsystems = {{vol1, one}, {vol2, two}};
    Port p;
    p.trtype = "rdma";
    p.traddr = "10.0.1.1";
    p.ana_groups = {{2, AnaState::optimized}, {3, AnaState::non_optimized}};
    p.subsystems = {vol1, vol2};
    s.ports[1] = p;
    p.traddr = "10.0.2.1";
    p.ana_groups = {{2, AnaState::non_optimized}, {3, AnaState::optimized}};
    s.ports[2] = p;
    return s;
}

class PlanText : public testing::Test {
  protected:
    PlanText()
    {
        tree.local_ips = {"10.0.1.1", "10.0.2.1", "10.0.3.1", "fd00::1"};
        tree.rdma_ips = {"10.0.1.1", "10.0.2.1", "fd00::1"};
        tree.devices = {"/dev/pav/g/v1", "/dev/pav/g/v2", "/dev/pav/g/v3"};
        options.identity = [](const std::string &path) { return std::optional(path == "/dev/alias" ? "/dev/pav/g/v1" : path); };
    }

    Result<Plan> try_plan(const State &want)
    {
        auto now = read_state(tree);
        EXPECT_TRUE(now.ok());
        return plan(*now, want, owned, options);
    }

    Plan make_plan(const State &want)
    {
        auto p = try_plan(want);
        EXPECT_TRUE(p.ok()) << (p ? "" : p.error().to_text());
        return p ? *p : Plan{};
    }

    void build(const State &want)
    {
        Plan p = make_plan(want);
        ApplyReport r = apply(tree, p);
        ASSERT_TRUE(r.ok()) << r.to_text();
        owned = p.owned_after;
    }

    std::string refusal(const State &want)
    {
        auto p = try_plan(want);
        EXPECT_FALSE(p.ok()) << (p ? p->to_text() : "");
        return p ? "" : p.error().to_text();
    }

    FakeTree tree;
    Owned owned;
    PlanOptions options;
};

TEST_F(PlanText, nothing_to_do)
{
    EXPECT_EQ(make_plan({}).to_text(), "Nothing to do.\n");
    build(pair());
    EXPECT_EQ(make_plan(pair()).to_text(), "Nothing to do.\n");
}

TEST_F(PlanText, the_first_volume)
{
    State s = pair();
    s.subsystems.erase(vol2);
    s.ports.erase(2);
    s.ports[1].subsystems.erase(vol2);
    EXPECT_EQ(make_plan(s).to_text(), "+ module nvmet-rdma\n"
                                      "+ hosts/nqn.host\n"
                                      "+ subsystems/GB0000000000000001\n"
                                      "+ subsystems/GB0000000000000001/attr_serial: GB0000000000000001\n"
                                      "+ subsystems/GB0000000000000001/attr_model: PVL-1\n"
                                      "+ subsystems/GB0000000000000001/allowed_hosts/nqn.host\n"
                                      "+ subsystems/GB0000000000000001/namespaces/1\n"
                                      "+ subsystems/GB0000000000000001/namespaces/1/device_path: /dev/pav/g/v1\n"
                                      "~ subsystems/GB0000000000000001/namespaces/1/ana_grpid: 1 -> 2\n"
                                      "+ ports/1\n"
                                      "+ ports/1/addr_trtype: rdma\n"
                                      "+ ports/1/addr_adrfam: ipv4\n"
                                      "+ ports/1/addr_traddr: 10.0.1.1\n"
                                      "+ ports/1/addr_trsvcid: 4420\n"
                                      "+ ports/1/ana_groups/2\n"
                                      "~ ports/1/ana_groups/2/ana_state: inaccessible -> optimized\n"
                                      "+ ports/1/ana_groups/3\n"
                                      "~ ports/1/ana_groups/3/ana_state: inaccessible -> non-optimized\n"
                                      "~ subsystems/GB0000000000000001/namespaces/1/enable: 0 -> 1\n"
                                      "+ ports/1/subsystems/GB0000000000000001\n");
}

TEST_F(PlanText, failover_gives_before_it_takes)
{
    build(pair());
    State s = pair();
    s.ports[1].ana_groups[2] = AnaState::inaccessible;
    s.ports[2].ana_groups[2] = AnaState::optimized;
    Plan p = make_plan(s);
    EXPECT_EQ(p.to_text(), "~ ports/2/ana_groups/2/ana_state: non-optimized -> optimized\n"
                           "~ ports/1/ana_groups/2/ana_state: optimized -> inaccessible\n");
    EXPECT_TRUE(p.only_ana_states());

    AnaChange changes[] = {{1, 2, AnaState::inaccessible}, {2, 2, AnaState::optimized}, {1, 3, AnaState::non_optimized}};
    auto fast = plan_ana(tree, changes);
    ASSERT_TRUE(fast.ok());
    EXPECT_EQ(fast->steps, p.steps);

    std::string before = tree.dump();
    tree.fail_at(tree.changes() + 1, EIO);
    EXPECT_TRUE(apply(tree, *fast).rolled_back());
    EXPECT_EQ(tree.dump(), before);
    EXPECT_TRUE(apply(tree, *fast).ok());
    EXPECT_TRUE(make_plan(s).empty());
}

TEST_F(PlanText, a_live_namespace_moves_after_its_new_group_gives_and_before_the_old_one_takes)
{
    build(pair());
    State s = pair();
    s.subsystems[vol1].namespaces[1].ana_grpid = 4;
    s.ports[1].ana_groups[4] = AnaState::optimized;
    s.ports[2].ana_groups[4] = AnaState::non_optimized;
    s.ports[1].ana_groups[2] = AnaState::inaccessible;
    s.ports[2].ana_groups.erase(2);
    EXPECT_EQ(make_plan(s).to_text(), "+ ports/1/ana_groups/4\n"
                                      "~ ports/1/ana_groups/4/ana_state: inaccessible -> optimized\n"
                                      "+ ports/2/ana_groups/4\n"
                                      "~ ports/2/ana_groups/4/ana_state: inaccessible -> non-optimized\n"
                                      "~ subsystems/GB0000000000000001/namespaces/1/ana_grpid: 2 -> 4\n"
                                      "~ ports/1/ana_groups/2/ana_state: optimized -> inaccessible\n"
                                      "- ports/2/ana_groups/2\n");
}

TEST_F(PlanText, another_address_unlinks_the_port_and_warns)
{
    build(pair());
    State s = pair();
    s.ports[2].traddr = "10.0.3.1";
    s.ports[2].trtype = "tcp";
    EXPECT_EQ(make_plan(s).to_text(),
              "+ module nvmet-tcp\n"
              "- ports/2/subsystems/GB0000000000000001   ! the port's address changes: hosts lose this path until it is linked again\n"
              "- ports/2/subsystems/GB0000000000000002   ! the port's address changes: hosts lose this path until it is linked again\n"
              "~ ports/2/addr_trtype: rdma -> tcp\n"
              "~ ports/2/addr_traddr: 10.0.2.1 -> 10.0.3.1\n"
              "+ ports/2/subsystems/GB0000000000000001\n"
              "+ ports/2/subsystems/GB0000000000000002\n");
}

TEST_F(PlanText, a_volume_goes_inaccessible_before_it_goes)
{
    build(pair());
    State s = pair();
    s.subsystems.erase(vol2);
    s.ports[1].subsystems.erase(vol2);
    s.ports[2].subsystems.erase(vol2);
    EXPECT_EQ(make_plan(s).to_text(),
              "~ subsystems/GB0000000000000002/namespaces/1/ana_grpid: 3 -> 127   ! inaccessible on every path before it is disabled\n"
              "~ subsystems/GB0000000000000002/namespaces/1/enable: 1 -> 0   ! hosts lose this disk\n"
              "- ports/1/subsystems/GB0000000000000002   ! hosts lose this path\n"
              "- ports/2/subsystems/GB0000000000000002   ! hosts lose this path\n"
              "- subsystems/GB0000000000000002/namespaces/1\n"
              "- subsystems/GB0000000000000002/allowed_hosts/nqn.host\n"
              "- subsystems/GB0000000000000002\n");
}

TEST_F(PlanText, another_device_under_a_live_namespace)
{
    build(pair());
    State s = pair();
    s.subsystems[vol1].namespaces[1].device_path = "/dev/pav/g/v3";
    EXPECT_EQ(make_plan(s).to_text(),
              "~ subsystems/GB0000000000000001/namespaces/1/ana_grpid: 2 -> 127   ! inaccessible on every path before it is disabled\n"
              "~ subsystems/GB0000000000000001/namespaces/1/enable: 1 -> 0   ! hosts lose this disk\n"
              "~ subsystems/GB0000000000000001/namespaces/1/device_path: /dev/pav/g/v1 -> /dev/pav/g/v3\n"
              "~ subsystems/GB0000000000000001/namespaces/1/ana_grpid: 127 -> 2\n"
              "~ subsystems/GB0000000000000001/namespaces/1/enable: 0 -> 1\n");
}

TEST_F(PlanText, cntlid_goes_up_by_max_and_down_by_min)
{
    State s = pair();
    s.subsystems[vol1].cntlid_min = 1;
    s.subsystems[vol1].cntlid_max = 32767;
    build(s);
    s.subsystems[vol1].cntlid_min = 32768;
    s.subsystems[vol1].cntlid_max = 65519;
    EXPECT_EQ(make_plan(s).to_text(), "~ subsystems/GB0000000000000001/attr_cntlid_max: 32767 -> 65519\n"
                                      "~ subsystems/GB0000000000000001/attr_cntlid_min: 1 -> 32768\n");
    build(s);
    s.subsystems[vol1].cntlid_min = 1;
    s.subsystems[vol1].cntlid_max = 32767;
    EXPECT_EQ(make_plan(s).to_text(), "~ subsystems/GB0000000000000001/attr_cntlid_min: 32768 -> 1\n"
                                      "~ subsystems/GB0000000000000001/attr_cntlid_max: 65519 -> 32767\n");
    s.subsystems[vol1].cntlid_min.reset();
    EXPECT_NE(refusal(s).find("cntlid_min 32768 would be above cntlid_max 32767"), std::string::npos);
}

TEST_F(PlanText, from_listed_hosts_to_any_host_and_back)
{
    build(pair());
    State s = pair();
    for (auto &[nqn, subsystem] : s.subsystems) {
        subsystem.allow_any_host = true;
        subsystem.allowed_hosts.clear();
    }
    s.subsystems.at(vol2) = pair().subsystems.at(vol2);
    EXPECT_EQ(make_plan(s).to_text(),
              "- subsystems/GB0000000000000001/allowed_hosts/nqn.host   ! if it is connected it stays connected\n"
              "~ subsystems/GB0000000000000001/attr_allow_any_host: 0 -> 1\n");
    build(s);
    EXPECT_EQ(make_plan(pair()).to_text(),
              "~ subsystems/GB0000000000000001/attr_allow_any_host: 1 -> 0   ! hosts that are connected stay connected\n"
              "+ subsystems/GB0000000000000001/allowed_hosts/nqn.host\n");
}

TEST_F(PlanText, a_port_number_is_given_up_for_another_at_the_same_address)
{
    build(pair());
    State s = pair();
    s.ports[7] = s.ports[2];
    s.ports.erase(2);
    Plan p = make_plan(s);
    auto position = [&](const std::string &line) { return p.to_text().find(line); };
    EXPECT_LT(position("- ports/2/subsystems/GB0000000000000002"), position("+ ports/7/subsystems/GB0000000000000002"));
    EXPECT_LT(position("+ ports/7/subsystems/GB0000000000000002"), position("- ports/2\n"));
    EXPECT_TRUE(apply(tree, p).ok());
}

TEST_F(PlanText, ownership)
{
    build(pair());
    Owned nothing;
    std::swap(owned, nothing);
    EXPECT_NE(refusal(pair()).find("it exists and was not made by us"), std::string::npos);
    EXPECT_EQ(make_plan({}).to_text(), "Nothing to do.\n");

    owned.port_range = {1, 1};
    owned.nqn_prefixes = {"GB"};
    EXPECT_NE(refusal({}).find("port 2, which is not ours, serves it"), std::string::npos);
    owned.port_range = {1, 9};
    EXPECT_TRUE(make_plan(pair()).empty());

    owned = {};
    options.adopt = true;
    Plan adopted = make_plan(pair());
    EXPECT_TRUE(adopted.empty());
    EXPECT_EQ(adopted.owned_after.ports, nothing.ports);
    EXPECT_EQ(adopted.owned_after.subsystems, nothing.subsystems);
}

TEST_F(PlanText, names_that_left_the_kernel_are_forgotten)
{
    owned.ports = {5};
    owned.subsystems = {"gone"};
    owned.hosts = {"gone"};
    EXPECT_EQ(make_plan({}).owned_after, Owned{});
    EXPECT_EQ(make_plan({}).owned_during, Owned{});
}

TEST_F(PlanText, a_foreign_link_in_our_port_blocks_only_what_would_break_it)
{
    build(pair());
    ASSERT_TRUE(tree.make_dir("subsystems/foreign").ok());
    ASSERT_TRUE(tree.make_link("subsystems/foreign", "ports/1/subsystems/foreign").ok());
    EXPECT_TRUE(make_plan(pair()).empty());
    State s = pair();
    s.ports[1].traddr = "10.0.3.1";
    EXPECT_NE(refusal(s).find("it must be reconfigured and serves foreign, which is not ours"), std::string::npos);
    EXPECT_NE(refusal({}).find("it must go and serves foreign, which is not ours"), std::string::npos);
}

TEST_F(PlanText, one_device_in_two_namespaces)
{
    State s = pair();
    s.subsystems[vol2].namespaces[1].device_path = "/dev/alias";
    EXPECT_NE(refusal(s).find("is already in subsystems/GB0000000000000001/namespaces/1"), std::string::npos);

    ASSERT_TRUE(tree.make_dir("subsystems/foreign").ok());
    ASSERT_TRUE(tree.make_dir("subsystems/foreign/namespaces/4").ok());
    ASSERT_TRUE(tree.write("subsystems/foreign/namespaces/4/device_path", "/dev/alias").ok());
    EXPECT_NE(refusal(pair()).find("already in subsystems/foreign/namespaces/4 (not ours)"), std::string::npos);
}

TEST_F(PlanText, advice)
{
    State s = pair();
    s.ports[2].ana_groups.erase(2);
    auto p = make_plan(s);
    ASSERT_EQ(p.warnings.size(), 1u);
    EXPECT_NE(p.warnings[0].find("which port 2 does not have"), std::string::npos);
    options.identity = [](const std::string &) { return std::nullopt; };
    EXPECT_EQ(make_plan(pair()).warnings.size(), 2u);
}

// ---- what the kernel refuses, told with its remedy ----

class Refusals : public PlanText {
  protected:
    std::string remedy(const State &want)
    {
        std::string before = tree.dump();
        ApplyReport r = apply(tree, make_plan(want));
        EXPECT_TRUE(r.rolled_back());
        EXPECT_EQ(tree.dump(), before);
        return r.to_text();
    }
    static void expect_in(const std::string &text, const std::string &words)
    {
        EXPECT_NE(text.find(words), std::string::npos) << text;
    }
};

TEST_F(Refusals, links)
{
    State s = pair();
    s.ports[2].traddr = "10.0.9.9";
    expect_in(remedy(s), "IP 10.0.9.9 is not on this machine: bring the interface up or correct addr_traddr of ports/2");
    s.ports[2].traddr = "10.0.3.1";
    expect_in(remedy(s), "no RDMA device stands behind 10.0.3.1");
    // A listener that is no nvmet port: only the kernel knows.
    std::size_t link = make_plan(pair()).steps.size() - 2;
    tree.fail_at(tree.changes() + link, EADDRINUSE);
    expect_in(remedy(pair()), "something else listens on 10.0.2.1:4420");
}

TEST_F(Refusals, the_rest_of_the_table)
{
    State s = pair();
    s.subsystems[vol1].namespaces[1].device_path = "/dev/missing";
    expect_in(remedy(s), "its device does not exist");
    s = pair();
    s.subsystems[vol1].other["attr_of_the_future"] = "1";
    expect_in(remedy(s), "this kernel's nvmet has no such attribute");

    build(pair());
    tree.connected = {vol1};
    s = pair();
    s.subsystems[vol1].model = "PVL-2";
    s.ports[2].ana_groups[2] = AnaState::optimized;
    expect_in(remedy(s), "a host has connected, which fixes it");
}

TEST_F(Refusals, somebody_changed_it_in_the_meantime)
{
    build(pair());
    State s = pair();
    s.ports[1].ana_groups[2] = AnaState::inaccessible;
    Plan p = make_plan(s);
    ASSERT_TRUE(tree.write("ports/1/ana_groups/2/ana_state", "change").ok());
    ApplyReport r = apply(tree, p);
    expect_in(r.to_text(), "it is \"change\", the plan was made for \"optimized\"");
    expect_in(r.to_text(), "plan again");
}

TEST_F(Refusals, a_rollback_that_fails_is_told)
{
    build(pair());
    State s = pair();
    s.ports[2].traddr = "10.0.9.9";
    tree.local_ips.erase("10.0.2.1");  // the old address has gone as well
    ApplyReport r = apply(tree, make_plan(s));
    EXPECT_FALSE(r.ok());
    EXPECT_FALSE(r.rolled_back());
    EXPECT_EQ(r.undo_errors.size(), 2u);
    expect_in(r.to_text(), "NOT undone");
    expect_in(r.to_text(), "IP 10.0.2.1 is not on this machine");
}

TEST_F(Refusals, modules)
{
    ApplyOptions options;
    std::vector<std::string> loaded;
    options.load_module = [&](const std::string &name) -> Result<void> {
        loaded.push_back(name);
        return Error{"load module", name, ENOENT, "", "install it"};
    };
    ApplyReport r = apply(tree, make_plan(pair()), options);
    EXPECT_EQ(loaded, std::vector<std::string>{"nvmet-rdma"});
    EXPECT_EQ(r.done, 0u);
    expect_in(r.to_text(), "install it");
}

TEST_F(Refusals, observer_sees_every_step_and_its_undoing)
{
    State s = pair();
    s.ports[2].traddr = "10.0.9.9";
    std::map<Phase, int> seen;
    ApplyOptions options;
    options.observer = [&](const Event &e) { seen[e.phase]++; };
    ApplyReport r = apply(tree, make_plan(s), options);
    EXPECT_EQ(seen[Phase::done], static_cast<int>(r.done));
    EXPECT_EQ(seen[Phase::failed], 1);
    EXPECT_EQ(seen[Phase::undone], static_cast<int>(r.undone));
    EXPECT_EQ(r.done, r.undone);
}

TEST_F(Refusals, short_ways)
{
    build(pair());
    EXPECT_TRUE(set_ana_state(tree, 1, 2, AnaState::change).ok());
    expect_in(set_ana_state(tree, 1, 9, AnaState::change).error().to_text(), "port 1 has no ANA group 9");
    EXPECT_TRUE(revalidate_size(tree, vol1, 1).ok());
    ASSERT_TRUE(tree.write("subsystems/GB0000000000000001/namespaces/1/ana_grpid", "9").ok());
    ASSERT_TRUE(tree.write("subsystems/GB0000000000000001/namespaces/1/enable", "0").ok());
    expect_in(revalidate_size(tree, vol1, 1).error().to_text(), "enable it first");
}

TEST(ReadState, without_nvmet)
{
    auto tree = real_tree("/nonexistent");
    auto r = read_state(*tree);
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.error().err, ENOENT);
    EXPECT_NE(r.error().to_text().find("modprobe nvmet"), std::string::npos);
}

}  // namespace
}  // namespace pav::nvmet::test
