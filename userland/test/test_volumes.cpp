// SPDX-License-Identifier: GPL-2.0
//
// Groups, drives, volumes, ports and hosts, command by command, against an nvmet that refuses what the kernel refuses:
// R2, R3, R5, R7 to R10, R12, R13, R16.
#include <algorithm>

#include "rig.hpp"

namespace pav::test {
namespace {

bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

const char *six = "/dev/nvme0n1 /dev/nvme1n1 /dev/nvme2n1 /dev/nvme3n1 /dev/nvme4n1 /dev/nvme5n1";

// ---- drives (bad input names every drive and loses nothing) -----------------------------------------------------------

TEST(CreateGroup, R5WithSpares) {
    Rig rig;
    const auto made = rig.pavcfg(std::string("create group name MG1 zone 1 drives ") + six + " spares /dev/nvme6n1");
    EXPECT_EQ(made.code, 0) << made.err;
    const auto groups = rig.engine.groups().value();
    ASSERT_EQ(groups.size(), 1U);
    EXPECT_EQ(groups[0].data_drives, 4U);
    EXPECT_EQ(rig.engine.drives("MG1").value().back().state, DriveState::spare);
    EXPECT_EQ(rig.pavcfg("show groups --json").json()["groups"][0]["zone"], 1);
}

TEST(CreateGroup, TheReserveIsChosenWithinBounds) {
    Rig rig;
    for (const auto *wrong : {"0", "51", "-5", "25%", "some"}) {
        const auto refused = rig.pavcfg(std::string("create group name MG1 reserve ") + wrong + " drives " + six);
        EXPECT_EQ(refused.code, 2) << wrong << refused.out;
        EXPECT_TRUE(has(refused.err, "reserve") && has(refused.err, "50")) << refused.err;
    }
    EXPECT_TRUE(rig.engine.journal().empty()) << "nothing was asked of the engine";
    const auto made = rig.pavcfg(std::string("create group name MG1 reserve 25 drives ") + six);
    EXPECT_EQ(made.code, 0) << made.err;
    EXPECT_TRUE(has(made.out, "with a reserve of 25 %")) << made.out;
    EXPECT_EQ(rig.pavcfg("show groups --json").json()["groups"][0]["reserve_percent"], 25);
    EXPECT_EQ(rig.pavcfg("create group name MG2 drives /dev/nvme6n1 /dev/nvme7n1 /dev/nvme8n1 /dev/nvme9n1").code, 0);
    EXPECT_EQ(rig.pavcfg("show groups --json").json()["groups"][1]["reserve_percent"], 15) << "if it is not said";
}

TEST(CreateGroup, DrivesThatHoldAnythingAreAllNamed) {
    Rig rig;
    rig.drives.holds["/dev/nvme1n1"] = {"a file system (ext4) with the label \"db\"", "mounted on /srv"};
    rig.drives.holds["/dev/nvme3n1"] = {"a member of an md array"};
    const auto refused = rig.pavcfg(std::string("create group name MG1 drives ") + six + " spares /dev/nvme77n1");
    EXPECT_EQ(refused.code, 1);
    for (const auto *part : {"/dev/nvme1n1 holds a file system (ext4) with the label \"db\", mounted on /srv", "/dev/nvme3n1 holds a member of an md array",
                             "/dev/nvme77n1", "wipefs -a /dev/nvme1n1 /dev/nvme3n1"})
        EXPECT_TRUE(has(refused.err, part)) << part << "\n" << refused.err;
    EXPECT_TRUE(rig.engine.journal().empty()) << "nothing was asked of the engine";
}

TEST(CreateGroup, DrivesOfAnotherGroupAreRefused) {
    Rig rig;
    rig.make_volume();
    const auto refused = rig.pavcfg("create group name MG2 drives /dev/nvme5n1 /dev/nvme6n1 /dev/nvme7n1 /dev/nvme8n1");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "/dev/nvme5n1 belongs to group MG1")) << refused.err;
}

TEST(CreateGroup, ADriveThatNvmetServesIsRefused) {
    Rig rig;
    nvmet::State theirs;
    theirs.subsystems["nqn.2014-08.org.example:raw"].namespaces[1].device_path = "/dev/disk/by-id/nvme-3";
    rig.tree->devices.insert("/dev/disk/by-id/nvme-3");
    ASSERT_TRUE(nvmet::apply(*rig.tree, nvmet::plan(rig.nvmet_state(), theirs, {}, {.identity = rig.machine().device_identity}).value()).ok());
    rig.drives.same_as["/dev/disk/by-id/nvme-3"] = "/dev/nvme3n1";
    const auto refused = rig.pavcfg("create group name MG1 drives /dev/nvme0n1 /dev/nvme1n1 /dev/nvme2n1 /dev/nvme3n1");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "/dev/nvme3n1 is served by nvmet as nqn.2014-08.org.example:raw")) << refused.err;
    EXPECT_TRUE(rig.engine.groups().value().empty());
}

TEST(CreateGroup, OneDriveTwiceIsRefusedUnderWhateverName) {
    Rig rig;
    EXPECT_TRUE(has(rig.pavcfg("create group name G drives /dev/nvme0n1 /dev/nvme1n1 /dev/nvme0n1 /dev/nvme2n1").err, "/dev/nvme0n1 is named twice"));
    rig.drives.same_as["/dev/disk/by-id/x"] = "/dev/nvme0n1";
    EXPECT_TRUE(has(rig.pavcfg("create group name G drives /dev/nvme0n1 /dev/nvme1n1 /dev/disk/by-id/x /dev/nvme2n1").err,
                    "/dev/nvme0n1 and /dev/disk/by-id/x are the same drive"));
}

TEST(CreateGroup, R3ZoneHasToBeSaidWhereThereAreTwo) {
    Rig rig("zones: ( { id = 1; }, { id = 2; } ); controllers: ( { id = 1; zone = 1; protocol = \"tcp\"; } );");
    EXPECT_TRUE(has(rig.pavcfg(std::string("create group name G drives ") + six).err, "zone"));
    EXPECT_TRUE(has(rig.pavcfg(std::string("create group name G zone 3 drives ") + six).err, "zone 3 is not in pavcfg.conf"));
    EXPECT_EQ(rig.pavcfg(std::string("create group name G zone 2 drives ") + six).code, 0);
}

// ---- volumes ----------------------------------------------------------------------------------------------------------

TEST(CreateVolume, R7R9SizeAndSerial) {
    Rig rig;
    rig.make_volume("v1");
    rig.make_volume("v2");
    const Volume v1 = rig.volume("v1"), v2 = rig.volume("v2");
    EXPECT_EQ(v1.size_bytes, 107374182400ULL);
    EXPECT_EQ(v1.serial.size(), 16U);
    EXPECT_TRUE(v1.serial.starts_with("GB0"));
    EXPECT_EQ(v1.serial.find_first_not_of("0123456789abcdef", 3), std::string::npos);
    EXPECT_NE(v1.serial, v2.serial);
    EXPECT_NE(v1.uuid, v2.uuid);
    EXPECT_FALSE(is_nil(v1.nguid));
    EXPECT_EQ(nqn_of(v1), v1.serial);
}

TEST(CreateVolume, R9NqnFormAsAnOption) {
    Rig rig;
    rig.make_volume();
    ASSERT_EQ(rig.pavcfg("create volume name v2 size 1 GB grpname MG1 nqn uuid").code, 0);
    const Volume v2 = rig.volume("v2");
    EXPECT_EQ(nqn_of(v2), "nqn.2014-08.org.nvmexpress:uuid:" + to_string(v2.uuid));
    const auto assigned = rig.pavcfg("assign volume name v2 port-name 100g-1/1");
    EXPECT_TRUE(has(assigned.out, "Subsystem NQN: " + nqn_of(v2))) << assigned.out;
    EXPECT_TRUE(rig.nvmet_state().subsystems.contains(nqn_of(v2)));
    EXPECT_EQ(rig.nvmet_state().subsystems.at(nqn_of(v2)).serial, v2.serial);
}

TEST(CreateVolume, AnUnknownGroupIsAnsweredWithTheNearest) {
    Rig rig;
    rig.make_volume();
    EXPECT_TRUE(has(rig.pavcfg("create volume name v size 1 GB grpname MG2").err, "did you mean MG1?"));
}

TEST(CreateVolume, TooLargeForTheGroupIsThinAndSaid) {
    Rig rig;
    rig.make_volume();
    const auto made = rig.pavcfg("create volume name huge size 64 TB grpname MG1");
    EXPECT_EQ(made.code, 0);
    EXPECT_TRUE(has(made.err, "overprovisioned")) << made.err;
    EXPECT_TRUE(has(rig.pavcfg("show volumes").out, "Overprovisioned"));
}

// ---- assign: R8, R10, R12 -----------------------------------------------------------------------------------------------

TEST(Assign, R8PrintsDeviceAndSerialAndIsIdempotent) {
    Rig rig;
    rig.make_volume();
    const auto first = rig.pavcfg("assign volume name v1 port-name 100g-1/1 preferred");
    ASSERT_EQ(first.code, 0) << first.err;
    const Volume v = rig.volume("v1");
    EXPECT_TRUE(has(first.out, "Block Device: " + v.block_device + "\nDevice Serial: " + v.serial + "\n")) << first.out;
    const auto before = rig.tree->dump();
    const auto changes = rig.tree->changes();
    const auto again = rig.pavcfg("assign volume name v1 port-name 100g-1/1 preferred");
    EXPECT_EQ(again.code, 0);
    EXPECT_TRUE(has(again.out, "Nothing to do")) << again.out;
    EXPECT_TRUE(has(again.out, "Device Serial: " + v.serial));
    EXPECT_EQ(rig.tree->dump(), before);
    EXPECT_EQ(rig.tree->changes(), changes);
}

TEST(Assign, R10R12GoldenOfAPair) {
    Rig rig;
    rig.make_pair();
    const Volume v = rig.volume("v1");
    const auto state = rig.nvmet_state();
    const auto &subsystem = state.subsystems.at(v.serial);
    EXPECT_EQ(subsystem.serial, v.serial);
    EXPECT_EQ(subsystem.model, "PVL-PAVRAID");
    EXPECT_FALSE(subsystem.allow_any_host);
    ASSERT_EQ(subsystem.namespaces.size(), 1U);
    const auto &ns = subsystem.namespaces.at(1);
    EXPECT_EQ(ns.device_path, "/dev/" + v.block_device);
    EXPECT_EQ(ns.uuid, to_string(v.uuid));
    EXPECT_EQ(ns.nguid, to_string(v.nguid));
    EXPECT_TRUE(ns.enable);
    const auto &preferred = state.ports.at(10101), &standby = state.ports.at(10201);
    EXPECT_EQ(preferred.trtype, "rdma");
    EXPECT_EQ(preferred.traddr, "192.168.10.1");
    EXPECT_EQ(preferred.ana_groups.at(ns.ana_grpid), nvmet::AnaState::optimized);
    EXPECT_EQ(standby.ana_groups.at(ns.ana_grpid), nvmet::AnaState::non_optimized);
    EXPECT_EQ(preferred.ana_groups.size(), 3U) << "group 1 and both orders of the pair";
    EXPECT_TRUE(preferred.subsystems.contains(v.serial));
    EXPECT_TRUE(standby.subsystems.contains(v.serial));
    EXPECT_EQ(state.ports.size(), 2U) << "a port that serves nothing does not exist";
    EXPECT_TRUE(rig.tree->violations().empty()) << rig.tree->violations().front();
}

TEST(Assign, ASinglePortIsOptimizedAndASecondOneInterruptsNothing) {
    Rig rig;
    rig.make_volume();
    ASSERT_EQ(rig.pavcfg("assign volume name v1 port-name 100g-1/1").code, 0);
    EXPECT_EQ(rig.nvmet_state().subsystems.at(rig.volume("v1").serial).namespaces.at(1).ana_grpid, 1U);
    const auto json = rig.pavcfg("assign volume name v1 port-name 100g-1/2 --json").json();
    for (const auto &step : json["nvmet_steps"]) {
        EXPECT_FALSE(has(step, "enable")) << step;
        EXPECT_FALSE(has(step, "unlink")) << step;
    }
    EXPECT_EQ(rig.pavcfg("show volume name v1 --json").json()["active"], "100g-1/1");
    EXPECT_TRUE(rig.tree->violations().empty());
}

struct HaRule {
    const char *name, *first, *second, *says;
};
class HaRules : public testing::TestWithParam<HaRule> {};
TEST_P(HaRules, R12Refuses) {
    Rig rig(R"(zones: ( { id = 1; }, { id = 2; } );
        controllers: ( { id = 1; zone = 1; protocol = "roce"; }, { id = 2; zone = 1; protocol = "roce"; }, { id = 3; zone = 2; protocol = "roce"; } );
        ports: ( { name = "100g-1/1"; controller = 1; interface = "eth1"; ip = "192.168.10.1"; },
                 { name = "100g-2/1"; controller = 1; interface = "eth3"; ip = "192.168.30.1"; },
                 { name = "100g-1/2"; controller = 2; interface = "eth2"; ip = "192.168.20.1"; },
                 { name = "100g-1/3"; controller = 3; interface = "eth2"; ip = "192.168.20.1"; trsvcid = 4421; } );)");
    ASSERT_EQ(rig.pavcfg(std::string("create group name MG1 zone 1 drives ") + six).code, 0);
    ASSERT_EQ(rig.pavcfg("create volume name v1 size 1 GB grpname MG1").code, 0);
    const auto &rule = GetParam();
    std::istringstream ports(rule.first);
    for (std::string port; ports >> port;) {
        const auto assigned = rig.pavcfg("assign volume name v1 port-name " + port);
        ASSERT_EQ(assigned.code, 0) << assigned.err;
    }
    const auto before = rig.tree->dump();
    const auto props = rig.volume("v1").props;
    const auto refused = rig.pavcfg(std::string("assign volume name v1 port-name ") + rule.second);
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, rule.says)) << refused.err;
    EXPECT_EQ(rig.tree->dump(), before);
    EXPECT_EQ(rig.volume("v1").props, props);
}
INSTANTIATE_TEST_SUITE_P(Table, HaRules, testing::Values(
    HaRule{"third", "100g-1/1 100g-1/2", "100g-2/1", "exactly two ports"},
    HaRule{"same_controller", "100g-1/1", "100g-2/1", "one controller (1)"},
    HaRule{"other_zone", "", "100g-1/3", "group is in zone 1 and port 100g-1/3 in zone 2"},
    HaRule{"two_zones", "100g-1/1", "100g-1/3", "an HA pair lies in one zone"},
    HaRule{"unknown_port", "", "100g-2/2", "did you mean"}), [](const auto &info) { return std::string(info.param.name); });

TEST(Assign, APortThatCannotListenIsRefusedBeforeAnythingIsRecorded) {
    Rig rig;
    rig.make_volume();
    rig.network.addresses["eth1"].clear();
    auto refused = rig.pavcfg("assign volume name v1 port-name 100g-1/1");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "interface eth1 does not have the address 192.168.10.1")) << refused.err;
    rig.network.addresses["eth1"] = {"192.168.10.1"};
    rig.network.rdma.erase("eth1");
    refused = rig.pavcfg("assign volume name v1 port-name 100g-1/1");
    EXPECT_TRUE(has(refused.err, "no RDMA device on interface eth1")) << refused.err;
    EXPECT_TRUE(rig.volume("v1").props.empty());
    EXPECT_TRUE(rig.nvmet_state().ports.empty());
}

TEST(Assign, WhatNvmetRefusesIsTakenBack) {
    Rig rig;
    rig.make_pair();
    rig.make_volume("v2");
    const auto before = rig.tree->dump();
    // Whatever step of nvmet's is refused: nothing of it stays, in the record or in nvmet.
    std::size_t steps = 0;
    for (std::size_t n = 0;; n++) {
        rig.tree->fail_at(rig.tree->changes() + n, EIO);
        const auto refused = rig.pavcfg("assign volume name v2 port-name 100g-1/1 preferred");
        if (refused.code == 0) {
            steps = n;
            break;
        }
        EXPECT_TRUE(has(refused.err, "nput/output error")) << refused.err;
        EXPECT_TRUE(rig.volume("v2").props.empty()) << "step " << n;
        EXPECT_EQ(rig.tree->dump(), before) << "step " << n;
        ASSERT_LT(n, 100U);
    }
    EXPECT_GE(steps, 5U) << "the steps were really tried one by one";
}

TEST(Assign, MakingTheStandbyPortPreferredMakesItActive) {
    Rig rig;
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("assign volume name v1 port-name 100g-1/2 preferred").code, 0);
    const auto v = rig.pavcfg("show volume name v1 --json").json();
    EXPECT_EQ(v["preferred"], "100g-1/2");
    EXPECT_EQ(v["standby"], "100g-1/1");
    EXPECT_EQ(v["active"], "100g-1/2");
    // But saying it again after a failover is no failback: that is manual (R13).
    ASSERT_EQ(rig.pavcfg("failover volume v1").code, 0);
    ASSERT_EQ(rig.pavcfg("assign volume name v1 port-name 100g-1/2 preferred").code, 0);
    EXPECT_EQ(rig.pavcfg("show volume name v1 --json").json()["active"], "100g-1/1");
}

TEST(Assign, ForeignNvmetObjectsAreLeftAlone) {
    Rig rig;
    for (const auto *dir : {"subsystems/theirs", "ports/1"}) ASSERT_TRUE(rig.tree->make_dir(dir));
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("delete volume name v1 --yes").code, 0);
    const auto state = rig.nvmet_state();
    EXPECT_EQ(state.subsystems.size(), 1U);
    EXPECT_TRUE(state.subsystems.contains("theirs"));
    EXPECT_EQ(state.ports.size(), 1U);
    EXPECT_TRUE(state.ports.contains(1));
}

// ---- unassign, delete, grow, rename -------------------------------------------------------------------------------------------

TEST(Unassign, OnePortThenAll) {
    Rig rig;
    rig.make_pair();
    EXPECT_EQ(rig.pavcfg("unassign volume name v1 port-name 100g-1/1").code, 1) << "asks first";
    ASSERT_EQ(rig.pavcfg("unassign volume name v1 port-name 100g-1/1 --yes").code, 0);
    auto v = rig.pavcfg("show volume name v1 --json").json();
    EXPECT_EQ(v["active"], "100g-1/2") << "the port that is left is active";
    EXPECT_FALSE(rig.nvmet_state().ports.contains(10101));
    ASSERT_EQ(rig.pavcfg("unassign volume name v1 --yes").code, 0);
    EXPECT_TRUE(rig.nvmet_state().subsystems.empty());
    EXPECT_TRUE(rig.nvmet_state().ports.empty());
    EXPECT_TRUE(has(rig.pavcfg("unassign volume name v1 --yes").out, "Nothing to do"));
}

TEST(DeleteVolume, AsksAndTakesItFromThePortsFirst) {
    Rig rig;
    rig.make_pair();
    const auto refused = rig.pavcfg("delete volume name v1");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "--yes"));
    rig.interactive = true;
    rig.answers = "no\n";
    EXPECT_EQ(rig.pavcfg("delete volume name v1").code, 1);
    rig.volume("v1");
    rig.answers = "yes\n";
    ASSERT_EQ(rig.pavcfg("delete volume name v1").code, 0);
    EXPECT_TRUE(rig.engine.volumes().value().empty());
    EXPECT_TRUE(rig.nvmet_state().subsystems.empty());
}

TEST(DeleteVolume, OneThatIsInUseLocallyIsServedAgain) {
    Rig rig;
    rig.make_pair();
    rig.engine.set_openers("MG1/v1", 1);
    const auto before = rig.nvmet_state();
    const auto refused = rig.pavcfg("delete volume name v1 --yes");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "it is open")) << refused.err;
    EXPECT_EQ(rig.nvmet_state(), before);
}

TEST(GrowAndRename, TellTheHostsOnlyTheSize) {
    Rig rig;
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("grow volume name v1 size 200 GB").code, 0);
    EXPECT_EQ(rig.volume("v1").size_bytes, 200ULL << 30);
    EXPECT_TRUE(has(rig.pavcfg("grow volume name v1 size 200 GB").out, "Nothing to do"));
    EXPECT_TRUE(has(rig.pavcfg("grow volume name v1 size 100 GB").err, "only grow"));
    const auto before = rig.tree->dump();
    ASSERT_EQ(rig.pavcfg("rename volume name v1 new-name v9").code, 0);
    EXPECT_EQ(rig.pavcfg("restore").code, 0);
    EXPECT_EQ(rig.tree->dump(), before);
}

// ---- hosts ----------------------------------------------------------------------------------------------------------------

TEST(Hosts, ServedToThoseNamedAndToAnyOnlyWhenAsked) {
    Rig rig;
    rig.make_pair();
    const std::string nqn = rig.volume("v1").serial;
    EXPECT_TRUE(rig.nvmet_state().subsystems.at(nqn).allowed_hosts.empty());
    ASSERT_EQ(rig.pavcfg("allow host nqn.2014-08.org:a to volume v1").code, 0);
    ASSERT_EQ(rig.pavcfg("allow host nqn.2014-08.org:b to volume v1").code, 0);
    EXPECT_EQ(rig.nvmet_state().subsystems.at(nqn).allowed_hosts, (std::set<std::string>{"nqn.2014-08.org:a", "nqn.2014-08.org:b"}));
    EXPECT_TRUE(has(rig.pavcfg("allow host nqn.2014-08.org:a to volume v1").out, "Nothing to do"));
    ASSERT_EQ(rig.pavcfg("disallow host nqn.2014-08.org:a to volume v1").code, 0);
    EXPECT_EQ(rig.nvmet_state().subsystems.at(nqn).allowed_hosts, (std::set<std::string>{"nqn.2014-08.org:b"}));
    ASSERT_EQ(rig.pavcfg("allow host any to volume v1").code, 0);
    EXPECT_TRUE(rig.nvmet_state().subsystems.at(nqn).allow_any_host);
    EXPECT_EQ(rig.pavcfg("allow host nqn.2014-08.org:c to volume v1").code, 1);
    ASSERT_EQ(rig.pavcfg("disallow host any to volume v1").code, 0);
    EXPECT_FALSE(rig.nvmet_state().subsystems.at(nqn).allow_any_host);
    EXPECT_TRUE(rig.nvmet_state().hosts.empty());
}

TEST(Hosts, MoreThanThePropertiesHoldIsRefusedAndLosesNothing) {
    Rig rig;
    rig.make_volume();
    Reply last{0, "", ""};
    int taken = 0;
    for (; taken < 100 && last.code == 0; taken++) last = rig.pavcfg("allow host nqn.2014-08.org:" + std::to_string(taken) + std::string(180, 'x') + " to volume v1");
    EXPECT_EQ(last.code, 1);
    EXPECT_GT(taken, 8);
    EXPECT_EQ(export_of(rig.volume("v1").props).hosts.size(), static_cast<std::size_t>(taken - 1));
}

// ---- failover, failback: R13 ------------------------------------------------------------------------------------------------

TEST(Failover, R13ChangesOneNumberAndSurvivesARestart) {
    Rig rig;
    rig.make_pair("v1");
    rig.make_pair("v2");
    const auto other = rig.nvmet_state().subsystems.at(rig.volume("v2").serial);
    const auto moved = rig.pavcfg("failover volume v1 --json").json();
    ASSERT_EQ(moved["nvmet_steps"].size(), 1U) << moved;
    EXPECT_TRUE(has(moved["nvmet_steps"][0], "ana_grpid"));
    EXPECT_EQ(rig.nvmet_state().subsystems.at(rig.volume("v2").serial), other) << "no other volume notices";
    const auto v = rig.pavcfg("show volume name v1 --json").json();
    EXPECT_EQ(v["preferred"], "100g-1/1");
    EXPECT_EQ(v["active"], "100g-1/2");
    EXPECT_EQ(v["paths"]["100g-1/2"], "optimized");
    EXPECT_EQ(v["paths"]["100g-1/1"], "non-optimized");
    EXPECT_TRUE(has(rig.pavcfg("failover volume v1").out, "Nothing to do"));

    rig.reset_tree();
    ASSERT_EQ(rig.pavcfg("restore").code, 0);
    EXPECT_EQ(rig.pavcfg("show volume name v1 --json").json()["active"], "100g-1/2") << "failback is manual";
    EXPECT_TRUE(has(rig.pavcfg("show status").out, "failed over to 100g-1/2"));

    ASSERT_EQ(rig.pavcfg("failback volume v1").code, 0);
    EXPECT_EQ(rig.pavcfg("show volume name v1 --json").json()["active"], "100g-1/1");
    EXPECT_FALSE(rig.volume("v1").props.contains("export.active"));
    EXPECT_TRUE(rig.tree->violations().empty());
}

TEST(Failover, OfAPortOfAControllerAndBackOfAll) {
    Rig rig;
    for (const auto *name : {"v1", "v2", "v3"}) rig.make_pair(name);
    ASSERT_EQ(rig.pavcfg("assign volume name v3 port-name 100g-1/2 preferred").code, 0);
    ASSERT_EQ(rig.pavcfg("failover port-name 100g-1/1").code, 0);
    for (const auto *name : {"v1", "v2", "v3"})
        EXPECT_EQ(rig.pavcfg(std::string("show volume --json name ") + name).json()["active"], "100g-1/2") << name;
    ASSERT_EQ(rig.pavcfg("failover controller 2").code, 0);
    for (const auto *name : {"v1", "v2", "v3"})
        EXPECT_EQ(rig.pavcfg(std::string("show volume --json name ") + name).json()["active"], "100g-1/1") << name;
    ASSERT_EQ(rig.pavcfg("failback").code, 0);
    EXPECT_EQ(rig.pavcfg("show volume name v3 --json").json()["active"], "100g-1/2");
    EXPECT_EQ(rig.pavcfg("show volume name v1 --json").json()["active"], "100g-1/1");
}

TEST(Failover, OfAGroupAndNotOfWhatIsNotNamed) {
    Rig rig;
    rig.make_pair("v1");
    ASSERT_EQ(rig.pavcfg("create group name MG2 drives /dev/nvme6n1 /dev/nvme7n1 /dev/nvme8n1 /dev/nvme9n1").code, 0);
    ASSERT_EQ(rig.pavcfg("create volume name v2 size 1 GB grpname MG2").code, 0);
    for (const auto *port : {"100g-1/1 preferred", "100g-1/2"}) ASSERT_EQ(rig.pavcfg(std::string("assign volume name v2 port-name ") + port).code, 0);
    const auto active = [&](const char *name) { return export_of(rig.volume(name).props).active; };
    const auto bare = rig.pavcfg("failover");
    EXPECT_EQ(bare.code, 1);
    EXPECT_TRUE(has(bare.err, "it is not said which")) << bare.err;
    EXPECT_EQ(rig.pavcfg("failover grpname MG3").code, 1);
    EXPECT_EQ(active("v1"), "100g-1/1");
    for (int again = 0; again < 2; again++) {
        ASSERT_EQ(rig.pavcfg("failover grpname MG2").code, 0);
        EXPECT_EQ(active("v1"), "100g-1/1");
        EXPECT_EQ(active("v2"), "100g-1/2");
    }
    ASSERT_EQ(rig.pavcfg("failover volume v1").code, 0);
    ASSERT_EQ(rig.pavcfg("failback grpname MG1 controller 1").code, 0);
    EXPECT_EQ(active("v1"), "100g-1/1");
    EXPECT_EQ(active("v2"), "100g-1/2");
}

TEST(Failover, AnotherModelInTheFileStandsInNoWay) {
    Rig rig;
    rig.make_pair();
    rig.tree->connected.insert(rig.volume("v1").serial);
    rig.config_text += "array: { model = \"PVL-OTHER\"; };\n";
    const auto moved = rig.pavcfg("failover volume v1");
    EXPECT_EQ(moved.code, 0) << moved.err;
    EXPECT_EQ(rig.nvmet_state().subsystems.at(rig.volume("v1").serial).model, "PVL-PAVRAID");
    EXPECT_EQ(rig.pavcfg("show status").code, 0);
    rig.make_pair("v2");
    EXPECT_EQ(rig.nvmet_state().subsystems.at(rig.volume("v2").serial).model, "PVL-OTHER");
}

TEST(Failover, WhatCannotGoBackEitherIsSaid) {
    Rig rig;
    rig.make_pair();
    rig.tree->fail_at(rig.tree->changes(), EIO);
    rig.engine.refuse([n = 0](const std::string &line) mutable -> std::optional<Error> {
        if (!line.starts_with("set properties") || n++ == 0) return std::nullopt;
        return Error{"set the export settings of", "MG1/v1", EIO, "the checkpoint failed", ""};
    });
    const auto refused = rig.pavcfg("failover volume v1");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "going back failed too: cannot set the export settings of MG1/v1")) << refused.err;
}

TEST(Failover, WithoutASecondPathIsRefused) {
    Rig rig;
    rig.make_volume();
    ASSERT_EQ(rig.pavcfg("assign volume name v1 port-name 100g-1/1").code, 0);
    EXPECT_TRUE(has(rig.pavcfg("failover volume v1").err, "no second path"));
    ASSERT_EQ(rig.pavcfg("assign volume name v1 port-name 100g-1/2").code, 0);
    rig.reset_tree();
    rig.network.addresses.erase("eth2");
    EXPECT_TRUE(has(rig.pavcfg("failover volume v1").err, "there is no interface eth2")) << "not to a path that is not there";
    EXPECT_FALSE(rig.volume("v1").props.contains("export.active"));
}

// ---- protocol of a controller: R2 -----------------------------------------------------------------------------------------------

TEST(Protocol, R2RefusesWhileVolumesAreServedAndListsThem) {
    Rig rig;
    rig.make_pair("v1");
    rig.make_pair("v2");
    const auto refused = rig.pavcfg("configure controller id 1 protocol tcp");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "MG1/v1 (port 100g-1/1), MG1/v2 (port 100g-1/1)")) << refused.err;
    for (const auto *name : {"v1", "v2"}) ASSERT_EQ(rig.pavcfg(std::string("unassign volume --yes name ") + name).code, 0);
    ASSERT_EQ(rig.pavcfg("configure controller id 1 protocol tcp").code, 0);
    // It lasts: the next command and the next boot see it, though the file says otherwise.
    const auto controllers = rig.pavcfg("show controllers --json").json()["controllers"];
    EXPECT_EQ(controllers[0]["protocol"], "tcp");
    EXPECT_EQ(controllers[0]["protocol_in_file"], "roce");
    ASSERT_EQ(rig.pavcfg("assign volume name v1 port-name 100g-1/1").code, 0);
    EXPECT_EQ(rig.nvmet_state().ports.at(10101).trtype, "tcp");
    EXPECT_TRUE(has(rig.pavcfg("configure controller id 2 protocol roce").out, "Nothing to do"));
    EXPECT_TRUE(has(rig.pavcfg("configure controller id 9 protocol roce").err, "not in pavcfg.conf"));
}

TEST(Protocol, GoingBackToTheFilesLeavesNoTrace) {
    Rig rig;
    rig.make_volume();
    ASSERT_EQ(rig.pavcfg("configure controller id 1 protocol tcp").code, 0);
    ASSERT_EQ(rig.pavcfg("configure controller id 1 protocol roce").code, 0);
    EXPECT_TRUE(load_state(rig.dir + "/state.json")->protocols.empty());
}

// ---- show: R16 ------------------------------------------------------------------------------------------------------------------

TEST(Show, R16VolumeMappedNetwork) {
    Rig rig;
    rig.make_pair();
    const auto shown = rig.pavcfg("show volume-mapped-network name nvmeroce");
    for (const auto *part : {"Volume Mapped Network list", "| Mac Address ", "| IP Address ", "| Slot ", "| Controller ", "52:54:00:00:00:01", "192.168.10.1", "100g-1/1"})
        EXPECT_TRUE(has(shown.out, part)) << part << "\n" << shown.out;
    const auto list = rig.pavcfg("show volume-mapped-network name nvmeroce --json").json()["volume_mapped_network"];
    ASSERT_EQ(list.size(), 2U);
    EXPECT_EQ(list[0]["mac_address"], "52:54:00:00:00:01");
    EXPECT_EQ(list[0]["slot"], "100g-1/1");
    EXPECT_EQ(list[0]["controller"], 1);
    EXPECT_EQ(list[0]["preferred"], true);
    EXPECT_EQ(list[1]["active"], false);
    EXPECT_TRUE(rig.pavcfg("show volume-mapped-network name nvmetcp --json").json()["volume_mapped_network"].empty());
}

TEST(Show, EveryTableAndItsJson) {
    Rig rig;
    rig.make_pair();
    for (const auto *what : {"groups", "drives", "volumes", "controllers", "ports", "hosts"}) {
        const auto text = rig.pavcfg(std::string("show ") + what);
        EXPECT_EQ(text.code, 0) << text.err;
        EXPECT_TRUE(text.out.starts_with("+-")) << text.out;
        EXPECT_FALSE(rig.pavcfg(std::string("show --json ") + what).json()[what].empty()) << what;
    }
    EXPECT_EQ(rig.pavcfg("show volume name v2").code, 1);
    EXPECT_TRUE(has(rig.pavcfg("show volume name v2").err, "did you mean v1?"));
    EXPECT_EQ(rig.pavcfg("show groups name MG9").code, 1);
}

TEST(Show, StatusSaysWhatIsAmiss) {
    Rig rig;
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("allow host any to volume v1").code, 0);
    auto status = rig.pavcfg("show status");
    EXPECT_EQ(status.code, 0);
    EXPECT_TRUE(has(status.out, "All is well")) << status.out;
    rig.reset_tree();
    status = rig.pavcfg("show status");
    EXPECT_EQ(status.code, 3);
    EXPECT_TRUE(has(status.out, "nvmet differs")) << status.out;
    EXPECT_TRUE(rig.nvmet_state().ports.empty()) << "looking changes nothing";
}

TEST(Show, AVolumeOfTwoGroupsHasToBeSaid) {
    Rig rig;
    rig.make_volume("v1");
    ASSERT_EQ(rig.pavcfg("create group name MG2 drives /dev/nvme6n1 /dev/nvme7n1 /dev/nvme8n1 /dev/nvme9n1").code, 0);
    ASSERT_EQ(rig.pavcfg("create volume name v1 size 1 GB grpname MG2").code, 0);
    const auto refused = rig.pavcfg("show volume name v1 --json");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.json()["error"]["text"], "each have one of this name"));
    EXPECT_EQ(rig.pavcfg("show volume name MG2/v1 --json").json()["group"], "MG2");
    const auto group = rig.pavcfg("show groups MG2 --json").json()["groups"][0];
    EXPECT_EQ(group["volume_count"], 1);
    EXPECT_EQ(group["active_drives"], 4);
    EXPECT_TRUE(rig.pavcfg("show volume name MG2/v1 --json").json()["protocol"].is_null());
    ASSERT_EQ(rig.pavcfg("assign volume name v1 grpname MG2 port-name 100g-1/1").code, 0);
    EXPECT_EQ(rig.pavcfg("show volume name MG2/v1 --json").json()["protocol"], "roce");
    EXPECT_EQ(rig.pavcfg("show volume name v1 grpname MG1 --json").json()["group"], "MG1");
}

TEST(Show, StatusEndsWith3WhenSomethingNeedsAttention) {
    Rig rig;
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("allow host any to volume v1").code, 0);
    EXPECT_EQ(rig.pavcfg("show status").code, 0);
    rig.engine.set_group_state("MG1", GroupState::full);
    EXPECT_EQ(rig.pavcfg("show status").code, 3);
    rig.engine.set_group_state("MG1", GroupState::online);
    EXPECT_EQ(rig.pavcfg("show status").code, 0);
    Task scrub;
    scrub.kind = TaskKind::scrub;
    scrub.lost = 1;
    rig.engine.set_task("MG1", scrub);
    EXPECT_EQ(rig.pavcfg("show status").code, 3);
}

TEST(Show, WithoutTheModuleSaysSo) {
    Rig rig;
    rig.modules.in_kernel.clear();
    EXPECT_EQ(rig.pavcfg("show volumes").code, 1);
    EXPECT_TRUE(has(rig.pavcfg("show volumes").err, "pavraid is not loaded"));
    EXPECT_EQ(rig.pavcfg("show ports").code, 0);
    EXPECT_EQ(rig.pavcfg("show status").code, 3);
}

// ---- dry run ----------------------------------------------------------------------------------------------------------------------

TEST(DryRun, ShowsEverythingAndDoesNothing) {
    Rig rig;
    rig.make_pair();
    rig.make_volume("v2");
    const auto before = rig.tree->dump();
    const auto journal = rig.engine.journal();
    for (const auto *line : {"create group name MG2 drives /dev/nvme10n1 /dev/nvme11n1 /dev/nvme12n1 /dev/nvme13n1", "create volume name v3 size 1 GB grpname MG1",
                             "assign volume name v2 port-name 100g-1/2 preferred", "unassign volume name v1", "allow host any to volume v1", "failover volume v1",
                             "delete volume name v1", "export group name MG1", "grow volume name v1 size 101 GB", "rename volume name v1 new-name v5",
                             "fail drive grpname MG1 slot 0", "configure controller id 2 protocol roce"}) {
        const auto dry = rig.pavcfg(std::string(line) + " --dry-run");
        EXPECT_EQ(dry.code, 0) << line << dry.err;
        EXPECT_TRUE(has(dry.out, "Dry run")) << line;
    }
    EXPECT_TRUE(has(rig.pavcfg("assign volume name v2 port-name 100g-1/2 --dry-run").out, "+")) << "the plan of nvmet is shown";
    EXPECT_EQ(rig.tree->dump(), before);
    EXPECT_EQ(rig.engine.journal(), journal);
    EXPECT_EQ(rig.pavcfg("assign volume name v2 port-name 100g-9/1 --dry-run").code, 1) << "what would be refused is refused";
}

// ---- a group is deleted while one of its drives is away -----------------------------------------------------------------

TEST(DeleteGroup, ADriveThatIsAwayIsNamedAndRefusedUntilItIsWiped) {
    Rig rig;
    const std::string create = std::string("create group name MG1 drives ") + six;
    ASSERT_EQ(rig.pavcfg(create).code, 0);
    rig.engine.take_away("/dev/nvme2n1");
    const auto deleted = rig.pavcfg("delete group name MG1 --yes");
    EXPECT_EQ(deleted.code, 0) << deleted.err;
    EXPECT_TRUE(has(deleted.err, "drive /dev/nvme2n1 (slot 2) is not here and was not wiped")) << deleted.err;

    // It comes back, with what it held.
    const auto shown = rig.pavcfg("show drives --json").json()["drives"];
    ASSERT_EQ(shown.size(), 1U) << shown;
    EXPECT_EQ(shown[0]["path"], "/dev/nvme2n1");
    EXPECT_EQ(shown[0]["state"], "group not open");
    const auto refused = rig.pavcfg(create);
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "/dev/nvme2n1 belongs to group MG1")) << refused.err;
    EXPECT_TRUE(has(refused.err, "pavcfg wipe drives /dev/nvme2n1")) << refused.err;

    EXPECT_EQ(rig.pavcfg("wipe drives /dev/nvme2n1").code, 1) << "it asks";
    const auto wiped = rig.pavcfg("wipe drives /dev/nvme2n1 --yes");
    EXPECT_EQ(wiped.code, 0) << wiped.err;
    EXPECT_TRUE(has(wiped.out, "drive /dev/nvme2n1 no longer belongs to group MG1")) << wiped.out;
    EXPECT_EQ(rig.pavcfg(create).code, 0);
}

TEST(WipeDrives, DrivesOfOpenGroupsAndOthersAreRefusedAndNothingIsTouched) {
    Rig rig;
    ASSERT_EQ(rig.pavcfg(std::string("create group name MG1 drives ") + six).code, 0);
    const auto before = rig.engine.journal().size();
    const auto refused = rig.pavcfg("wipe drives /dev/nvme0n1 /dev/nvme9n1 --yes");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "/dev/nvme0n1: the open group MG1 has it")) << refused.err;
    EXPECT_TRUE(has(refused.err, "/dev/nvme9n1: no superblock")) << refused.err;
    EXPECT_EQ(rig.engine.journal().size(), before);
}

}  // namespace
}  // namespace pav::test
