// SPDX-License-Identifier: GPL-2.0
//
// Drives that come and go while a group is open, and tasks: what is asked of the engine, what is refused, what is shown.
#include "rig.hpp"

namespace pav::test {
namespace {

class Repair : public ::testing::Test {
  protected:
    void SetUp() override { rig.make_volume(); }

    std::string asked() const { return rig.engine.journal().empty() ? "" : rig.engine.journal().back(); }
    void refused(const std::string &line, std::initializer_list<const char *> says) {
        const std::size_t before = rig.engine.journal().size();
        const auto r = rig.pavcfg(line);
        EXPECT_EQ(r.code, 1) << line;
        for (const char *text : says) EXPECT_NE(r.err.find(text), std::string::npos) << line << " → " << r.err;
        EXPECT_EQ(rig.engine.journal().size(), before) << "nothing was asked of the engine";
    }
    DriveState state_of(unsigned slot) {
        const auto drives = rig.engine.drives("MG1").value();
        for (const auto &drive : drives)
            if (drive.slot == slot) return drive.state;
        return DriveState::empty;
    }

    Rig rig;
};

TEST_F(Repair, ReplaceWithASpare) {
    refused("replace drive 3 in group MG1 --yes", {"no spare", "replace drive 3 in group MG1 with DRIVE"});
    EXPECT_EQ(rig.pavcfg("add spares /dev/nvme7n1 /dev/nvme8n1 to group MG1").code, 0);
    EXPECT_EQ(asked(), "add to group MG1: /dev/nvme7n1 (spare) /dev/nvme8n1 (spare)");
    refused("replace drive 3 in group MG1", {"--yes"});
    refused("replace drive 6 in group MG1 --yes", {"spare and holds nothing"});
    EXPECT_EQ(rig.pavcfg("replace drive /dev/nvme3n1 in group MG1 --yes").code, 0);
    EXPECT_EQ(asked(), "put /dev/nvme7n1 in the place of drive 3 (/dev/nvme3n1) of group MG1");
    EXPECT_EQ(rig.pavcfg("replace drive 2 in group MG1 with /dev/nvme8n1 --yes").code, 0);
    EXPECT_EQ(asked(), "put /dev/nvme8n1 in the place of drive 2 (/dev/nvme2n1) of group MG1");
}

TEST_F(Repair, ReplaceWithANewDriveThatIsEmpty) {
    rig.drives.holds["/dev/nvme9n1"] = {"a file system (ext4)"};
    refused("replace drive 3 in group MG1 with /dev/nvme9n1 --yes", {"/dev/nvme9n1 holds a file system (ext4)", "wipefs -a /dev/nvme9n1"});
    refused("replace drive 3 in group MG1 with /dev/nvme0n1 --yes", {"/dev/nvme0n1 belongs to group MG1"});
    refused("replace drive 3 in group MG1 with /dev/nvme99n1 --yes", {"/dev/nvme99n1", "lsblk"});
    refused("replace drive 9 in group MG1 with /dev/nvme10n1 --yes", {"no such drive"});
    refused("replace drive /dev/nvme33n1 in group MG1 with /dev/nvme10n1 --yes", {"did you mean /dev/nvme3n1?"});
    refused("replace drive 3 in group MG2 with /dev/nvme10n1 --yes", {"did you mean MG1?"});
    EXPECT_EQ(rig.pavcfg("--dry-run replace drive 3 in group MG1 with /dev/nvme10n1").code, 0);
    EXPECT_EQ(state_of(3), DriveState::active) << "a dry run does nothing";
    EXPECT_EQ(rig.pavcfg("replace drive 3 in group MG1 with /dev/nvme10n1 --yes").code, 0);
    EXPECT_EQ(state_of(3), DriveState::rebuilding);
}

TEST_F(Repair, APathThatTwoSlotsHaveOrHadIsNotGuessedAt) {
    rig.engine.take_away("/dev/nvme4n1");
    rig.drives.same_as["/dev/nvme4n1"] = "/dev/nvme2n1";  // names have shifted: it is another's by now
    const auto refused = rig.pavcfg("replace drive /dev/nvme4n1 in group MG1 with /dev/nvme9n1 --yes");
    EXPECT_EQ(refused.code, 1);
    EXPECT_NE(refused.err.find("more than one slot of group MG1 has or had this path: 2 (active), 4 (gone, had it)"), std::string::npos) << refused.err;
    EXPECT_EQ(rig.pavcfg("replace drive 4 in group MG1 with /dev/nvme9n1 --yes").code, 0);
}

TEST_F(Repair, AddNamesEveryDriveInTheWay) {
    rig.drives.holds["/dev/nvme7n1"] = {"swap space"};
    refused("add drives /dev/nvme6n1 /dev/nvme7n1 /dev/nvme6n1 spares /dev/nvme1n1 to group MG1",
            {"/dev/nvme7n1 holds swap space", "/dev/nvme6n1 is named twice", "/dev/nvme1n1 belongs to group MG1"});
    refused("add to group MG1", {"not said which"});
    const auto r = rig.pavcfg("add drives /dev/nvme6n1 to group MG1");
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.out.find("/dev/nvme6n1 joined; capacity"), std::string::npos) << r.out;
}

TEST_F(Repair, RemoveASpareOrADriveInUse) {
    rig.pavcfg("add spares /dev/nvme6n1 to group MG1");
    EXPECT_NE(rig.pavcfg("remove drive 6 from group MG1 --yes").out.find("has left"), std::string::npos);
    refused("remove drive 2 from group MG1", {"--yes"});
    EXPECT_NE(rig.pavcfg("remove drive /dev/nvme2n1 from group MG1 --yes").out.find("moved to the others"), std::string::npos);
    EXPECT_EQ(state_of(2), DriveState::leaving);
    EXPECT_NE(rig.pavcfg("remove drive 2 from group MG1 --yes").out.find("Nothing to do"), std::string::npos) << "it leaves already";
}

TEST_F(Repair, ADriveComesBack) {
    EXPECT_NE(rig.pavcfg("return").out.find("Nothing to do"), std::string::npos);
    rig.engine.take_away("/dev/nvme4n1");
    rig.engine.bring_back("/dev/nvme4n1", "/dev/nvme4n2");
    rig.drives.present.emplace_back("/dev/nvme4n2");
    EXPECT_NE(rig.pavcfg("show drives").out.find("out of its group"), std::string::npos);
    EXPECT_NE(rig.pavcfg("show status").out.find("has failed (pavcfg replace drive 4 in group MG1"), std::string::npos);
    const auto r = rig.pavcfg("return");
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(asked(), "take /dev/nvme4n2 back into slot 4 of group MG1");
    EXPECT_EQ(rig.pavcfg("return drive /dev/nvme9n1").code, 1);
    rig.modules.in_kernel.clear();
    EXPECT_EQ(rig.pavcfg("return").code, 0);
    EXPECT_TRUE(rig.modules.in_kernel.empty()) << "udev's asking loads no module";
}

TEST_F(Repair, RestoreTakesDrivesBackToo) {
    rig.engine.take_away("/dev/nvme4n1");
    rig.engine.bring_back("/dev/nvme4n1", "/dev/nvme4n2");
    rig.drives.present.emplace_back("/dev/nvme4n2");
    const auto r = rig.pavcfg("restore --wait 0");
    EXPECT_NE(r.out.find("drive /dev/nvme4n2 is back in group MG1"), std::string::npos) << r.out << r.err;
    rig.engine.take_away("/dev/nvme3n1");
    rig.engine.bring_back("/dev/nvme3n1", "/dev/nvme3n2");
    rig.drives.present.emplace_back("/dev/nvme3n2");
    rig.engine.refuse([](const std::string &line) -> std::optional<Error> {
        if (line.starts_with("take ")) return Error{"take back", "it", EINVAL, "it failed", ""};
        return std::nullopt;
    });
    EXPECT_NE(rig.pavcfg("restore --wait 0").err.find("drive /dev/nvme3n2 stays out of group MG1"), std::string::npos);
}

Task running(TaskKind kind, std::uint64_t done) {
    Task task;
    task.kind = kind;
    task.running = true;
    task.done = done;
    task.total = 100;
    task.started = 1000000000;
    task.seconds = 60;
    task.rate = 100 << 20;
    return task;
}

TEST_F(Repair, ScrubOneOrAllAndStop) {
    EXPECT_EQ(rig.pavcfg("scrub group MG1").code, 0);
    EXPECT_EQ(asked(), "begin the scrub of group MG1");
    EXPECT_NE(rig.pavcfg("scrub").out.find("Nothing to do"), std::string::npos) << "it runs already";
    EXPECT_EQ(rig.pavcfg("scrub group MG1 stop").code, 0);
    EXPECT_EQ(asked(), "stop the scrub of group MG1");
    EXPECT_EQ(rig.pavcfg("scrub group nope").code, 1);
}

TEST_F(Repair, TasksAreShown) {
    rig.engine.set_task("MG1", running(TaskKind::rebuild, 25));
    const auto task = rig.pavcfg("--json show tasks").json()["tasks"][0];
    EXPECT_EQ(task["state"], "running");
    EXPECT_EQ(task["percent"], 25.0);
    EXPECT_EQ(task["seconds_left"], 180);
    const std::string table = rig.pavcfg("show tasks").out;
    for (const auto *text : {"25.0 %", "100 MB/s", "3 min"}) EXPECT_NE(table.find(text), std::string::npos) << table;
    EXPECT_EQ(rig.pavcfg("--json show groups").json()["groups"][0]["status"], "Rebuilding");
    EXPECT_EQ(rig.pavcfg("show tasks group nope").code, 1);
    Task done = running(TaskKind::rebuild, 100);
    done.running = false;
    done.finished = 1000000060;
    rig.engine.set_task("MG1", done);
    EXPECT_EQ(rig.pavcfg("--json show tasks").json()["tasks"][0]["state"], "done");
    done.finished = 0;
    rig.engine.set_task("MG1", done);
    EXPECT_EQ(rig.pavcfg("--json show tasks").json()["tasks"][0]["state"], "interrupted");
}

TEST_F(Repair, WatchWaitsForTheEnd) {
    rig.engine.set_task("MG1", running(TaskKind::rebuild, 10));
    rig.clock.at[std::chrono::seconds(20)] = [this] { rig.engine.set_task("MG1", running(TaskKind::rebuild, 60)); };
    rig.clock.at[std::chrono::seconds(40)] = [this] {
        Task done = running(TaskKind::rebuild, 100);
        done.running = false;
        rig.engine.set_task("MG1", done);
    };
    const auto r = rig.pavcfg("show tasks --watch");
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.err.find("rebuild of MG1: 10.0 %"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("rebuild of MG1: 60.0 %"), std::string::npos) << r.err;
    EXPECT_GE(rig.clock.time, std::chrono::seconds(40));

    rig.engine.set_task("MG1", running(TaskKind::scrub, 10));
    EXPECT_EQ(rig.pavcfg("show tasks --watch --wait 5").code, 3) << "it still runs";
    Task lost = running(TaskKind::scrub, 100);
    lost.running = false;
    lost.lost = 1;
    rig.engine.set_task("MG1", lost);
    EXPECT_EQ(rig.pavcfg("show tasks --watch").code, 3) << "something is beyond repair";
}

}  // namespace
}  // namespace pav::test
