// SPDX-License-Identifier: GPL-2.0
//
// After a boot: groups are found, interfaces come late or never, and what is right is not touched. Import and export.
#include <chrono>

#include "rig.hpp"

namespace pav::test {
namespace {

using namespace std::chrono_literals;

bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

// The machine goes down and comes up: nvmet is empty, the drives hold a group that is closed, nothing is loaded.
void reboot(Rig &rig) {
    ASSERT_TRUE(rig.engine.export_group("MG1"));
    rig.reset_tree();
    rig.modules.in_kernel.clear();
}

TEST(Restore, BringsEverythingBackAndIsIdempotent) {
    Rig rig;
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("allow host nqn.2014-08.org:a to volume v1").code, 0);
    const auto before = rig.nvmet_state();
    reboot(rig);
    const auto restored = rig.pavcfg("restore");
    EXPECT_EQ(restored.code, 0) << restored.err;
    EXPECT_TRUE(has(restored.out, "group MG1 imported from 6 drives")) << restored.out;
    EXPECT_EQ(rig.nvmet_state(), before);
    for (const auto *module : {"pavraid", "nvmet-rdma"}) EXPECT_TRUE(rig.modules.in_kernel.contains(module)) << module;
    const auto changes = rig.tree->changes();
    const auto again = rig.pavcfg("restore");
    EXPECT_EQ(again.code, 0);
    EXPECT_TRUE(has(again.out, "Nothing to do")) << again.out;
    EXPECT_EQ(rig.tree->changes(), changes) << "what is right is not touched";
    EXPECT_TRUE(rig.tree->violations().empty());
}

TEST(Restore, WithoutThisHostsFilesTooAsOnAnotherHost) {
    Rig rig;
    rig.make_pair();
    const auto before = rig.nvmet_state();
    reboot(rig);
    std::filesystem::remove(rig.dir + "/state.json");
    EXPECT_EQ(rig.pavcfg("restore").code, 0);
    EXPECT_EQ(rig.nvmet_state(), before) << "identity and export settings travel with the drives";
}

TEST(Restore, WaitsForAnAddressAndSaysForWhich) {
    Rig rig;
    rig.make_pair();
    const auto before = rig.nvmet_state();
    reboot(rig);
    rig.network.addresses["eth2"].clear();
    rig.network.rdma.erase("eth2");
    rig.clock.at[3s] = [&] { rig.network.addresses["eth2"] = {"192.168.20.1"}; };
    rig.clock.at[5s] = [&] { rig.network.rdma.insert("eth2"); };
    const auto restored = rig.pavcfg("restore");
    EXPECT_EQ(restored.code, 0) << restored.err;
    EXPECT_TRUE(has(restored.err, "waiting (at most 10 s) for port 100g-1/2: interface eth2 does not have the address 192.168.20.1")) << restored.err;
    EXPECT_TRUE(has(restored.err, "no RDMA device on interface eth2")) << "says again when the reason changes: " << restored.err;
    EXPECT_EQ(rig.clock.time, 5s) << "and waits no longer than it must";
    EXPECT_EQ(rig.nvmet_state(), before);
}

TEST(Restore, ServesTheRestWhenTheTimeIsUp) {
    Rig rig;
    rig.make_pair();
    reboot(rig);
    rig.network.addresses.erase("eth2");
    const auto restored = rig.pavcfg("restore --wait 4");
    EXPECT_EQ(restored.code, 3);
    EXPECT_TRUE(has(restored.err, "left out: port 100g-1/2: there is no interface eth2")) << restored.err;
    EXPECT_EQ(rig.clock.time, 4s);
    const std::string nqn = rig.volume("v1").serial;
    EXPECT_TRUE(rig.nvmet_state().ports.at(10101).subsystems.contains(nqn));
    EXPECT_TRUE(rig.nvmet_state().ports.at(10201).subsystems.empty());
    // The rest comes when the interface does.
    rig.network.addresses["eth2"] = {"192.168.20.1"};
    EXPECT_EQ(rig.pavcfg("restore --wait 0").code, 0);
    EXPECT_TRUE(rig.nvmet_state().ports.at(10201).subsystems.contains(nqn));
}

TEST(Restore, APortThatNvmetRefusesDoesNotKeepTheOthersDown) {
    Rig rig;
    rig.make_pair();
    reboot(rig);
    rig.tree->local_ips.erase("192.168.10.1");  // the interface has it, says the system, but nvmet cannot bind it
    const auto restored = rig.pavcfg("restore");
    EXPECT_EQ(restored.code, 3);
    EXPECT_TRUE(has(restored.err, "port 100g-1/1: nvmet refused to listen on it")) << restored.err;
    EXPECT_TRUE(rig.nvmet_state().ports.at(10201).subsystems.contains(rig.volume("v1").serial));
}

TEST(Restore, WaitsForDrivesAndThenTakesTheGroupDegraded) {
    Rig rig;
    rig.make_pair();
    reboot(rig);
    auto all = rig.drives.present;
    rig.drives.present.erase(rig.drives.present.begin());
    auto restored = rig.pavcfg("restore --wait 2");
    EXPECT_TRUE(has(restored.err, "waiting (at most 2 s) for drives of group MG1: 5 of 6 are here")) << restored.err;
    EXPECT_EQ(restored.code, 0);
    EXPECT_TRUE(has(restored.err, "group MG1 has only 5 of its 6 drives"));

    reboot(rig);
    const auto start = rig.clock.time;
    rig.clock.at[start + 1s] = [&] { rig.drives.present = all; };
    restored = rig.pavcfg("restore --wait 60");
    EXPECT_EQ(restored.code, 0);
    EXPECT_TRUE(has(restored.out, "imported from 6 drives")) << restored.out << restored.err;
    EXPECT_EQ(rig.clock.time - start, 1s);
}

TEST(Restore, DoesNotWaitForADriveThatHasFailedBeforeAndASpareStandsInForNone) {
    Rig rig;
    ASSERT_EQ(rig.pavcfg("create group name MG1 drives /dev/nvme0n1 /dev/nvme1n1 /dev/nvme2n1 /dev/nvme3n1 /dev/nvme4n1 /dev/nvme5n1 spares /dev/nvme6n1").code, 0);
    rig.make_pair();
    const auto all = rig.drives.present;
    reboot(rig);
    rig.drives.present.erase(rig.drives.present.begin());
    auto restored = rig.pavcfg("restore --wait 3");
    EXPECT_TRUE(has(restored.err, "6 of 7 are here")) << restored.err;
    EXPECT_EQ(rig.clock.time, 3s);

    rig.drives.present = all;
    ASSERT_EQ(rig.pavcfg("fail drive grpname MG1 slot 0 --yes").code, 0);
    reboot(rig);
    rig.drives.present.erase(rig.drives.present.begin());
    restored = rig.pavcfg("restore --wait 3");
    EXPECT_EQ(rig.clock.time, 3s) << restored.err;
    EXPECT_EQ(restored.code, 0) << restored.err;
}

TEST(Restore, WaitsForAGroupOfWhichNoDriveIsThere) {
    Rig rig;
    rig.make_pair();
    const auto before = rig.nvmet_state();
    reboot(rig);
    const auto all = rig.drives.present;
    rig.drives.present.clear();
    rig.clock.at[2s] = [&] { rig.drives.present = all; };
    auto restored = rig.pavcfg("restore");
    EXPECT_EQ(restored.code, 0) << restored.err;
    EXPECT_TRUE(has(restored.err, "waiting (at most 10 s) for drives of group MG1: none is here")) << restored.err;
    EXPECT_EQ(rig.clock.time, 2s);
    EXPECT_EQ(rig.nvmet_state(), before);

    reboot(rig);
    rig.drives.present.clear();
    restored = rig.pavcfg("restore --wait 3");
    EXPECT_EQ(restored.code, 3) << "nothing is served, and that is no success";
    EXPECT_TRUE(has(restored.err, "left out: group MG1: none of its drives is here")) << restored.err;
    EXPECT_EQ(rig.clock.time, 5s);
    const auto status = rig.pavcfg("show status");
    EXPECT_EQ(status.code, 3);
    EXPECT_TRUE(has(status.out, "group MG1 is not open")) << status.out;

    const auto gone = rig.pavcfg("export group name MG1 --yes");
    EXPECT_EQ(gone.code, 0) << gone.err;
    EXPECT_TRUE(has(gone.out, "restore no longer waits for it")) << gone.out;
    EXPECT_TRUE(has(rig.pavcfg("export group name MG1 --yes").out, "Nothing to do"));
    EXPECT_EQ(rig.pavcfg("restore --wait 3").code, 0);
    EXPECT_EQ(rig.pavcfg("show status").code, 0);
    EXPECT_EQ(rig.clock.time, 5s);
}

TEST(Restore, DoesNotWaitForAGroupThatWasDeletedOrWiped) {
    Rig rig;
    rig.make_volume();
    ASSERT_EQ(rig.pavcfg("delete volume name v1 --yes").code, 0);
    ASSERT_EQ(rig.pavcfg("delete group name MG1 --yes").code, 0);
    EXPECT_EQ(rig.pavcfg("restore --wait 3").code, 0);
    rig.make_volume();
    reboot(rig);
    rig.modules.in_kernel = {"pavraid"};
    ASSERT_EQ(rig.pavcfg("wipe drives /dev/nvme0n1 /dev/nvme1n1 /dev/nvme2n1 /dev/nvme3n1 /dev/nvme4n1 --yes").code, 0);
    EXPECT_TRUE(has(rig.pavcfg("show status").out, "group MG1 is not open")) << "a drive of it is left";
    ASSERT_EQ(rig.pavcfg("wipe drives /dev/nvme5n1 --yes").code, 0);
    EXPECT_EQ(rig.pavcfg("restore --wait 3").code, 0);
    EXPECT_EQ(rig.clock.time, 0s);
}

TEST(Restore, ADriveThatFailedAndIsStillInItsBayHidesNoneThatIsLate) {
    Rig rig;
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("fail drive grpname MG1 slot 0 --yes").code, 0);
    reboot(rig);
    const auto all = rig.drives.present;
    std::erase(rig.drives.present, "/dev/nvme5n1");
    rig.clock.at[2s] = [&] { rig.drives.present = all; };
    const auto restored = rig.pavcfg("restore");
    EXPECT_TRUE(has(restored.err, "drives of group MG1: 4 of 5 are here")) << restored.err;
    EXPECT_EQ(rig.clock.time, 2s);
    EXPECT_TRUE(has(restored.out, "imported from 6 drives")) << restored.out;
}

TEST(Restore, ServesThoughTheStateFileCannotBeWritten) {
    Rig rig;
    rig.make_pair();
    const auto before = rig.nvmet_state();
    reboot(rig);
    std::filesystem::remove(rig.dir + "/state.json");
    std::filesystem::create_directory(rig.dir + "/state.json.new");  // where the new file would be
    const auto restored = rig.pavcfg("restore");
    EXPECT_EQ(restored.code, 3);
    EXPECT_TRUE(has(restored.err, "could not be noted on this host: cannot write the state of this host")) << restored.err;
    EXPECT_EQ(rig.nvmet_state(), before);
}

TEST(Restore, AModuleOfOneTransportThatIsMissingKeepsTheOthersPortsUp) {
    std::string config = two_controllers;
    config.replace(config.rfind("roce"), 4, "tcp");
    Rig rig(config);
    rig.make_pair();
    reboot(rig);
    rig.modules.missing = {"nvmet-rdma"};
    const auto restored = rig.pavcfg("restore --wait 0");
    EXPECT_EQ(restored.code, 3);
    EXPECT_TRUE(has(restored.err, "left out: port 100g-1/1: nvmet refused to listen on it")) << restored.err;
    EXPECT_TRUE(has(restored.err, "nvmet-rdma")) << restored.err;
    EXPECT_TRUE(rig.nvmet_state().ports.at(10201).subsystems.contains(rig.volume("v1").serial));
    rig.modules.missing.clear();
    EXPECT_EQ(rig.pavcfg("restore --wait 0").code, 0);
    EXPECT_TRUE(rig.nvmet_state().ports.at(10101).subsystems.contains(rig.volume("v1").serial));
}

TEST(Restore, AGroupThatCannotOpenIsSaidAndTheOthersServe) {
    Rig rig;
    rig.make_pair();
    ASSERT_EQ(rig.pavcfg("create group name MG2 drives /dev/nvme10n1 /dev/nvme11n1 /dev/nvme12n1 /dev/nvme13n1").code, 0);
    ASSERT_TRUE(rig.engine.export_group("MG2"));
    reboot(rig);
    rig.engine.refuse([](const std::string &line) -> std::optional<Error> {
        if (!line.starts_with("import group MG2")) return std::nullopt;
        return Error{"import the group", "MG2", EUCLEAN, "the superblock of /dev/nvme10n1 is corrupt", ""};
    });
    const auto restored = rig.pavcfg("restore");
    EXPECT_EQ(restored.code, 3);
    EXPECT_TRUE(has(restored.err, "the superblock of /dev/nvme10n1 is corrupt")) << restored.err;
    EXPECT_EQ(rig.nvmet_state().subsystems.size(), 1U);
}

TEST(Restore, ADryRunWithoutTheModuleDoesNotSayThatAllIsWell) {
    Rig rig;
    rig.make_pair();
    reboot(rig);
    const auto dry = rig.pavcfg("restore --dry-run");
    EXPECT_TRUE(has(dry.out, "the module pavraid is loaded")) << dry.out << dry.err;
    EXPECT_FALSE(has(dry.out, "Nothing to do")) << dry.out;
    EXPECT_TRUE(rig.modules.in_kernel.empty());
}

TEST(Restore, AMissingModuleIsNamed) {
    Rig rig;
    rig.make_pair();
    reboot(rig);
    rig.modules.missing = {"pavraid"};
    const auto restored = rig.pavcfg("restore");
    EXPECT_EQ(restored.code, 1);
    EXPECT_TRUE(has(restored.err, "load the module pavraid")) << restored.err;
}

TEST(ExportImport, TakesTheVolumesOutAndBringsThemBack) {
    Rig rig;
    rig.make_pair();
    const auto before = rig.nvmet_state();
    ASSERT_EQ(rig.pavcfg("export group name MG1 --yes").code, 0);
    EXPECT_TRUE(rig.nvmet_state().subsystems.empty());
    EXPECT_TRUE(rig.engine.groups().value().empty());
    const auto restored = rig.pavcfg("restore");
    EXPECT_TRUE(has(restored.err, "was exported and stays closed")) << restored.err;
    EXPECT_TRUE(rig.engine.groups().value().empty());
    ASSERT_EQ(rig.pavcfg("import group name MG1").code, 0);
    EXPECT_EQ(rig.nvmet_state(), before);
    EXPECT_TRUE(has(rig.pavcfg("import group MG1").out, "Nothing to do"));
}

TEST(ExportImport, ExportOfAGroupInUseLocallyServesItAgain) {
    Rig rig;
    rig.make_pair();
    const auto before = rig.nvmet_state();
    rig.engine.set_openers("MG1/v1", 1);
    const auto refused = rig.pavcfg("export group name MG1 --yes");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "volume v1 is open")) << refused.err;
    EXPECT_EQ(rig.nvmet_state(), before);
}

TEST(ExportImport, AVolumeThatIsOpenBesidesNvmetRefusesBeforeHostsLoseAnything) {
    Rig rig;
    rig.make_pair();
    rig.engine.set_openers("MG1/v1", 2);  // nvmet's is one of them
    const auto changes = rig.tree->changes();
    for (const auto *command : {"export group name MG1 --yes", "delete volume name v1 --yes"}) {
        const auto refused = rig.pavcfg(command);
        EXPECT_EQ(refused.code, 1);
        EXPECT_TRUE(has(refused.err, "/dev/pav0 is open on this host")) << refused.err;
        EXPECT_EQ(rig.pavcfg(std::string(command) + " --dry-run").code, 1);
    }
    EXPECT_EQ(rig.tree->changes(), changes);
}

TEST(ExportImport, ImportSaysWhyADriveIsNoGood) {
    Rig rig;
    const auto nothing = rig.pavcfg("import group");
    EXPECT_EQ(nothing.code, 1);
    EXPECT_TRUE(has(nothing.err, "no drive that is not in use belongs to one")) << nothing.err;
    const auto empty = rig.pavcfg("import group drives /dev/nvme0n1");
    EXPECT_EQ(empty.code, 1);
    EXPECT_TRUE(has(empty.err, "/dev/nvme0n1: no superblock")) << empty.err;
}

TEST(ExportImport, AGroupThatAnotherHostHasIsRefusedAndTakenByForceOnly) {
    Rig rig;
    rig.make_pair();
    const auto before = rig.nvmet_state();
    reboot(rig);
    rig.engine.set_owner("MG1", "beta");
    rig.modules.in_kernel.insert("pavraid");
    const auto closed = rig.pavcfg("show drives");
    EXPECT_TRUE(has(closed.out, "group open on beta, or left so")) << closed.out << closed.err;
    EXPECT_EQ(rig.pavcfg("show drives --json").json()["drives"][0]["owner"], "beta");
    const auto refused = rig.pavcfg("import group name MG1");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "host beta has it open")) << refused.err;
    EXPECT_TRUE(has(refused.err, "host beta has it open, or left it so: is it silent? about 15 seconds")) << refused.err;
    const auto restored = rig.pavcfg("restore --wait 0");
    EXPECT_EQ(restored.code, 3) << "a boot never takes a group by force";
    EXPECT_TRUE(has(restored.err, "host beta has it open")) << restored.err;
    const auto unnamed = rig.pavcfg("import group --takeover");
    EXPECT_EQ(unnamed.code, 1);
    EXPECT_TRUE(has(unnamed.err, "add: name GROUP")) << unnamed.err;
    EXPECT_TRUE(rig.engine.groups().value().empty());
    const auto taken = rig.pavcfg("import group name MG1 --takeover");
    EXPECT_EQ(taken.code, 0) << taken.err;
    EXPECT_EQ(rig.engine.journal().back(), "import group MG1 from /dev/nvme0n1 /dev/nvme1n1 /dev/nvme2n1 /dev/nvme3n1 /dev/nvme4n1 /dev/nvme5n1, by force");
    EXPECT_EQ(rig.nvmet_state(), before);
}

TEST(ExportImport, DrivesOfAGroupThatAnotherHostHasAreNotWiped) {
    Rig rig;
    rig.make_pair();
    reboot(rig);
    rig.engine.set_owner("MG1", "beta");
    const auto refused = rig.pavcfg("wipe drives /dev/nvme0n1 --yes");
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, "host beta has group MG1 open")) << refused.err;
    EXPECT_TRUE(has(rig.pavcfg("wipe drives /dev/nvme0n1 takeover --yes --dry-run").out, "no longer belongs")) << "by force";
}

TEST(Host, IdentityIsTheMachineIdAndTellsCopiesOfAMachineApart) {
    Rig rig;
    const std::string root = rig.dir + "/root";
    const auto write = [&](const std::string &file, const std::string &text) {
        std::filesystem::create_directories(std::filesystem::path(root + file).parent_path());
        std::ofstream(root + file) << text << "\n";
    };
    EXPECT_TRUE(is_nil(host_identity(root).id)) << "nothing to go by";
    write("/etc/machine-id", "00112233445566778899aabbccddeeff");
    write("/proc/sys/kernel/hostname", "alpha\x01" + std::string(80, 'x'));
    const HostIdentity plain = host_identity(root);
    EXPECT_EQ(to_string(plain.id), "00112233-4455-6677-8899-aabbccddeeff");
    EXPECT_EQ(plain.name, "alpha?" + std::string(57, 'x'));
    write("/sys/class/dmi/id/product_uuid", "01000000-0000-0000-0000-000000000001");
    const Uuid first = host_identity(root).id;
    write("/sys/class/dmi/id/product_uuid", "02000000-0000-0000-0000-000000000001");
    EXPECT_NE(host_identity(root).id, first);
    EXPECT_NE(host_identity(root).id, plain.id);
    write("/etc/machine-id", "uninitialized");
    EXPECT_TRUE(is_nil(host_identity(root).id)) << "half an identity is none";
}

TEST(State, ADamagedFileIsAnErrorWithARemedy) {
    Rig rig;
    rig.make_volume();
    for (const auto *text : {"{", "[]", R"({"controllers": {"x": {"protocol": "tcp"}}})", R"({"controllers": {"1": {"protocol": "fc"}}})"}) {
        std::ofstream(rig.dir + "/state.json") << text;
        const auto refused = rig.pavcfg("assign volume name v1 port-name 100g-1/1");
        EXPECT_EQ(refused.code, 1) << text;
        EXPECT_TRUE(has(refused.err, "state.json")) << refused.err;
    }
}

TEST(Shell, NamespacesAsInTheGuide) {
    Rig rig;
    rig.make_volume();
    rig.answers = "switch config\nassign volume name v1 port-name 100g-1/1 preferred\nswitch show\n"
                  "volumes\nshow volume-mapped-network name nvmeroce\n# a remark\nports --json\nexit\nfrobnicate\n";
    const auto shell = rig.pavcfg("");
    EXPECT_EQ(shell.code, 0) << shell.err;
    for (const auto *part : {"Switched to config namespace", "Device Serial: GB0", "Switched to show namespace", "Media Group", "Volume Mapped Network list", "\"ports\""})
        EXPECT_TRUE(has(shell.out, part)) << part << shell.out;
    rig.answers = "frobnicate\nassign volume name v1 port-name 100g-1/2\n";
    EXPECT_EQ(rig.pavcfg("").code, 2) << "a script stops at its first mistake";
    EXPECT_EQ(export_of(rig.volume("v1").props).ports.size(), 1U);
    rig.answers = "switch off\n";
    EXPECT_EQ(rig.pavcfg("").code, 2);
}

TEST(Options, ErrorsAndExitCodes) {
    Rig rig;
    EXPECT_EQ(rig.pavcfg("show ports --jsn").code, 2);
    EXPECT_EQ(rig.pavcfg("restore --wait soon").code, 2);
    EXPECT_EQ(rig.pavcfg("help nonsense").code, 2);
    EXPECT_TRUE(has(rig.pavcfg("assign volume --help").out, "Example:"));
    rig.config_text = "zones: ( { id = 9; } );";
    const auto wrong = rig.pavcfg("show ports");
    EXPECT_EQ(wrong.code, 4);
    EXPECT_TRUE(has(wrong.err, "pavcfg.conf:1")) << wrong.err;
    EXPECT_EQ(rig.pavcfg("show ports --json").json()["error"]["object"], "pavcfg.conf:1");
}

}  // namespace
}  // namespace pav::test
