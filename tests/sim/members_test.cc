// SPDX-License-Identifier: GPL-2.0
// Which drives are members, and on which sets of them segments lie, told one by one.
#include "scenario.h"

#include <string>
#include <vector>

namespace pav::sim {
namespace {

constexpr uint64_t volume_cells = 4096;

class Members : public Scenario {
protected:
	explicit Members(unsigned int drives = 13) : Scenario(drives, 160, 16, true) {}
	~Members() override
	{
		if (engine_)
			close();
	}

	int remove(unsigned int slot)
	{
		pav_err err{};
		int result = 0;

		as_process([&] { result = pav_engine_remove(engine_, slot, &err); });
		said_ = err.text;
		return result;
	}

	std::string said_;
};

// Twelve drives that take turns in stripes of six, two of them away, and each time other ones: that makes many more sets than there are places for. The
// place of one that nothing lies on any more is taken; never another's.
TEST_F(Members, MoreSetsOfDrivesThanPlacesForThem)
{
	create(4, 12, 0, volume_cells);
	write(0, volume_cells / 2);	// stays where it is
	for (unsigned int round = 0; round < 24; round++) {
		const unsigned int a = round % 12, b = (a + 1 + round / 12 * 3) % 12;

		vanish(a);
		vanish(b);
		run_for(10 * ms);
		write(volume_cells / 2, volume_cells / 4);
		checkpoint();
		come_home(a);
		come_home(b);
		until_whole();
		if (HasFailure())
			FAIL() << "in round " << round;
	}
	EXPECT_GT(reached("set given back"), 10U);
	verify();
	close();
	open({2, 7});
	verify();
}

// What lies on a drive must have room on the others.
TEST_F(Members, ADriveOfAFullGroupStays)
{
	create(6, 8, 0, 1 << 20);
	for (uint64_t lba = 0; info().free_cells > 16; lba += 16)
		ASSERT_EQ(write(lba, 16), 0);
	EXPECT_EQ(remove(3), -ENOSPC);
	EXPECT_NE(said_.find("no room"), std::string::npos) << said_;
	verify();
}

// Four is the least. One that failed while it was about to leave is no member for long; and nothing lies yet on one that has just come.
TEST_F(Members, FiveDrivesDoNotBecomeThree)
{
	const pav_drive_arg another{&devs_[4], false};
	pav_err err{};

	create(2, 4, 0, volume_cells);
	write(0, 512);
	as_process([&] { ASSERT_EQ(pav_engine_add(engine_, &another, 1, &err), 0) << err.text; });
	ASSERT_EQ(remove(1), 0) << said_;
	vanish(1);
	vanish(4);
	run_for(2 * ms);
	ASSERT_EQ(state(1), PAV_DRIVE_FAILED);
	ASSERT_EQ(state(4), PAV_DRIVE_FAILED);
	EXPECT_EQ(remove(4), -EBUSY);
	EXPECT_NE(said_.find("fewer than 4"), std::string::npos) << said_;
	verify();
}

// It is gone, and the superblocks do not say so yet: it counts as if they did.
TEST_F(Members, NorDoTheyWhenOneWasJustLost)
{
	const pav_drive_arg another{&devs_[4], false};
	pav_err err{};

	create(2, 4, 0, volume_cells);
	write(0, 512);
	as_process([&] { ASSERT_EQ(pav_engine_add(engine_, &another, 1, &err), 0) << err.text; });
	ASSERT_EQ(remove(1), 0) << said_;
	for (auto &drive : drives_)
		drive->latency.superblocks = 10'000;
	vanish(4);
	EXPECT_EQ(remove(4), -EBUSY);
	EXPECT_NE(said_.find("fewer than 4"), std::string::npos) << said_;
	for (auto &drive : drives_)
		drive->latency.superblocks = 1;
	run_for(second);
	verify();
	EXPECT_EQ(info().drives, 4U);
}

// The power fails while the group is being opened, and one drive alone has got the stamp. The next open does not see that drive, and takes the same epoch: what it
// brings along when it comes home is nobody's who lives.
TEST_F(Members, ADriveBringsTheStampOfAnOpenThatWasCut)
{
	create(4, 6, 0, volume_cells);
	ASSERT_EQ(write(0, 64), 0);
	close();
	const auto versions = version_;
	const auto there = contents();

	for (uint64_t events = 1;; events++) {
		cut(100);
		version_ = versions;
		restore(there);
		if (open_for(events))
			break;
		cut(0, 5);
		open({5});
		come_home(5);
		run_for(5 * second);
		ASSERT_EQ(write(0, 64), 0) << "after " << events << " events";
		ASSERT_FALSE(faulted_) << "after " << events << " events";
		until_whole();
		close();
	}
	verify();
}

// Two drives of seven are lost, what lay there is moved, and when the group is full two others are lost. Checkpoints need more rows then, the one that ends a
// recovery too, and there must be room for it. New drives revive the group.
TEST_F(Members, AFullGroupLosesTwoAndTwoMore)
{
	constexpr uint64_t cells = 1 << 20, batch = 200;

	pav_evacuate_delay = 0;
	create(5, 7, 0, cells);
	ASSERT_EQ(fill(cells, batch, 7000), 0);
	ASSERT_EQ(rewrite(30), 0);
	vanish(0);
	vanish(1);
	run_for(10 * second);
	ASSERT_EQ(info().missing, 0U);
	fill(cells, batch);
	rewrite(30);
	vanish(2);
	vanish(3);
	run_for(10 * second);
	for (unsigned int cuts = 0; cuts < 3; cuts++) {
		rewrite(30);
		cut(100);
		open();
	}
	verify();

	const pav_drive_arg more[] = {{&devs_[7], false}, {&devs_[8], false}, {&devs_[9], false}, {&devs_[10], false}};
	pav_err err{};

	as_process([&] { ASSERT_EQ(pav_engine_add(engine_, more, 4, &err), 0) << err.text; });
	run_for(10 * second);
	rewrite(30);	// while what lies on lost drives is moved it may be refused
	run_for(10 * second);
	EXPECT_EQ(rewrite(30), 0);
	EXPECT_EQ(info().missing, 0U);
	verify();
}

// It did not merely vanish: nobody knows what is on it.
TEST_F(Members, ADriveThatFailedDoesNotComeHome)
{
	pav_err err{};
	int result = 0;

	create(4, 6, 0, volume_cells);
	write(0, 512);
	as_process([&] { ASSERT_EQ(pav_engine_fail_drive(engine_, 2, &err), 0) << err.text; });
	run_for(100 * ms);
	as_process([&] { result = pav_engine_return(engine_, &devs_[2], &err); });
	EXPECT_EQ(result, -EINVAL);
	EXPECT_NE(std::string(err.text).find("did not merely vanish"), std::string::npos) << err.text;
	EXPECT_EQ(state(2), PAV_DRIVE_FAILED);
	verify();
}

// Each drive goes once in a while, and no spare is there. What lay on it is moved; what is set aside for metadata there, where nothing lies yet, is let go: nobody writes, so no
// checkpoint would come to it.
TEST_F(Members, NothingStaysSetAsideOnALostDrive)
{
	pav_evacuate_delay = 0;
	create(4, 8, 0, volume_cells);
	for (unsigned int round = 0; round < 60 && !HasFailure(); round++) {
		std::vector<uint64_t> lbas;

		for (uint64_t n = rng_.range(1, 300); n; n--)
			lbas.push_back(rng_.below(volume_cells));
		ASSERT_EQ(write(lbas), 0);
		checkpoint();
		vanish(round % 8);
		run_for(30 * second);
		EXPECT_EQ(info().missing, 0U) << "in round " << round;
		come_home(round % 8);
		until_whole();
	}
	EXPECT_GT(reached("segment set aside on drives that are gone"), 10U);
	verify();
}

// A spare takes over while somebody wants the drive replaced that was there before: the spare is not failed for that.
TEST_F(Members, WhoTookOverIsNotReplaced)
{
	const pav_drive_arg spares[] = {{&devs_[6], true}, {&devs_[7], true}};
	pav_drive_info there{};
	pav_err err{};
	int result = 0;

	create(4, 6, 0, volume_cells);
	write(0, 512);
	as_process([&] { ASSERT_EQ(pav_engine_add(engine_, spares, 2, &err), 0) << err.text; });
	vanish(2);
	run_for(second);
	ASSERT_EQ(state(2), PAV_DRIVE_ACTIVE);
	as_process([&] { result = pav_engine_replace(engine_, 2, &devs_[2], -1, &err); });
	EXPECT_EQ(result, -EBUSY);
	EXPECT_NE(std::string(err.text).find("slot 2 has another drive by now"), std::string::npos) << err.text;
	run_for(second);
	EXPECT_EQ(state(2), PAV_DRIVE_ACTIVE);
	pav_engine_drive_info(engine_, 2, &there);
	as_process([&] { result = pav_engine_replace(engine_, 2, there.dev, -1, &err); });
	EXPECT_EQ(result, 0) << err.text;
	run_for(second);
	EXPECT_EQ(state(2), PAV_DRIVE_ACTIVE);
	verify();
}

}  // namespace
}  // namespace pav::sim
