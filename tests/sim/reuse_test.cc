// SPDX-License-Identifier: GPL-2.0
// Segments that are used again, told one by one: not under somebody's hands, and not so that a recovery, or a group without drives, would miss what was there.
#include "scenario.h"

#include <utility>
#include <vector>

namespace pav::sim {
namespace {

class Reuse : public Scenario {
protected:
	explicit Reuse(uint64_t segments = 60, uint64_t blocks = 16) : Scenario(13, segments, blocks, true) { pav_evacuate_delay = 1000; }
	~Reuse() override
	{
		if (engine_)
			close();
	}

	void vanish(unsigned int drive)
	{
		Scenario::vanish(drive);
		run_for(20 * ms);
	}
	// Where cell @lba lies.
	std::pair<unsigned int, uint64_t> place_of(uint64_t lba)
	{
		const Cell content = expected(lba);

		for (unsigned int drive = 0; drive < drives_.size(); drive++)
			for (uint64_t block = segments_begin; block < drives_[drive]->blocks(); block++)
				if (const CellRef cell = drives_[drive]->peek(block); cell && *cell == content)
					return {drive, block};
		fail("cell %lu lies nowhere", lba);
	}
	// A group, and @n cells in eighty leaves by turns, written twice; so many nodes are in memory that no checkpoint is needed for them. The cells.
	std::vector<uint64_t> create_and_scatter(uint64_t n)
	{
		std::vector<uint64_t> lbas;

		params_.cache_nodes = 4096;
		create(4, 6, 0, 1 << 18);
		for (uint64_t i = 0; i < n; i++)
			lbas.push_back(i % 80 * 512 + i / 80);
		EXPECT_EQ(write(lbas), 0);
		EXPECT_EQ(write(lbas), 0);
		checkpoint();
		return lbas;
	}
	void overwrite(uint64_t first, uint64_t n, unsigned int times)
	{
		while (times--)
			ASSERT_EQ(write(first, n), 0);
	}
};

// A reader finds a cell wrong, and is answered while it is still being rewritten. Users have gone on meanwhile: what is there by then is not to be hit.
TEST_F(Reuse, NotWhileACellIsBeingHealed)
{
	create(4, 6, 0, 4096);
	ASSERT_EQ(write(0, 64), 0);
	const auto [drive, block] = place_of(5);

	drives_[drive]->rot(block, rng_);
	drives_[drive]->on_submit = [this, drive = drive, block = block](const Drive::Command &c) {
		drives_[drive]->latency.write = c.op == PAV_IO_WRITE && c.block == block ? 100 * second : 20'000;
	};
	verify();
	EXPECT_EQ(reached("cell healed"), 1U);
	drives_[drive]->on_submit = nullptr;
	drives_[drive]->latency.write = 20'000;
	pav_stall_limit = 0;
	overwrite(0, 64, 200);
	run_for(1000 * second);
	verify();
	EXPECT_GT(reached("waited for a cell being healed"), 0U);
}

// What is rebuilt reaches a drive late, and users have written over all of it meanwhile: the same.
TEST_F(Reuse, NotWhileItIsBeingRebuilt)
{
	bool late = false;

	create(4, 7, 1, 4096);
	ASSERT_EQ(write(0, 64), 0);
	const auto [drive, block] = place_of(5);

	drives_[6]->on_submit = [&, block = block](const Drive::Command &c) {
		const bool here = c.op == PAV_IO_WRITE && !late && c.block <= block && block < c.block + c.cells;

		late = late || here;
		drives_[6]->latency.write = here ? 100 * second : 20'000;
	};
	pav_stall_limit = 0;
	vanish(drive);
	run_until([&] { return late; });
	drives_[6]->on_submit = nullptr;
	drives_[6]->latency.write = 20'000;
	for (unsigned int i = 0; i < 10; i++) {
		overwrite(0, 64, 10);
		checkpoint();
	}
	ASSERT_EQ(write(1024, 1800), 0);
	ASSERT_GT(drives_[6]->commands_in_flight(), 0U);
	run_for(1000 * second);
	until_whole();
	cut(100);
	open({(drive + 1) % 6, (drive + 2) % 6});
	verify();
}

// One that had to be healed too often is failed, and a spare takes its place. What was healed of the one before is not the spare's.
TEST_F(Reuse, ASpareStartsWithACleanCount)
{
	std::vector<uint64_t> lbas;

	pav_error_limit = 4;
	create(4, 7, 1, 4096);
	ASSERT_EQ(write(0, 256), 0);
	checkpoint();
	const unsigned int bad = place_of(0).first;
	const auto rot = [&](unsigned int drive, size_t n) {
		lbas.clear();
		for (uint64_t lba = 0; lbas.size() < n; lba++)
			if (const auto [where, block] = place_of(lba); where == drive) {
				drives_[drive]->rot(block, rng_);
				lbas.push_back(lba);
			}
		EXPECT_EQ(read(lbas), 0);
		run_for(second);
	};

	rot(bad, 6);
	ASSERT_EQ(failed_.size(), 1U);
	until_whole();
	rot(6, 1);
	EXPECT_EQ(failed_.size(), 1U);
	verify();
}

/*
 * Until the next checkpoint the last one tells what lies where, and a group that has lost three drives of a segment it tells of cannot be opened. So that
 * third loss must fault it at once: or what users write afterwards would be gone when the power is. A stripe of six lies on some of more drives, and which three
 * go is the test's parameter: some choices hit only segments that are free but for the table.
 */
class ThreeLosses : public Reuse, public testing::WithParamInterface<unsigned int> {
protected:
	ThreeLosses() : Reuse(960) { params_.streams = 1; }

	void the_third_goes(unsigned int drive)
	{
		may_fault_ = true;
		vanish(drive);
		if (write(0, 16) || faulted_)
			return;
		cut(100);
		open();
		verify();
	}
	// Users write over all they have, until what it was written over is free again.
	void go_on(uint64_t cells)
	{
		const uint64_t renewals = reached("segments renewed"), checkpoints = counter("checkpoints");

		overwrite(0, cells, 3);
		EXPECT_GT(reached("segments renewed"), renewals);
		EXPECT_EQ(counter("checkpoints"), checkpoints);
	}
};

class ThreeOfSeven : public ThreeLosses {
protected:
	std::vector<unsigned int> three() const
	{
		unsigned int n = 0;

		for (unsigned int a = 0; a < 7; a++)
			for (unsigned int b = a + 1; b < 7; b++)
				for (unsigned int c = b + 1; c < 7; c++)
					if (n++ == GetParam())
						return {a, b, c};
		return {};
	}
};

TEST_P(ThreeOfSeven, WhenTheLastSegmentOfASetIsFree)
{
	const auto drives = three();

	create(4, 7, 0, 4096);
	ASSERT_EQ(write(0, 256), 0);
	ASSERT_EQ(write(0, 256), 0);
	checkpoint();
	vanish(drives[0]);
	vanish(drives[1]);
	go_on(256);
	the_third_goes(drives[2]);
}

INSTANTIATE_TEST_SUITE_P(, ThreeOfSeven, testing::Range(0U, 35U));

using ThreeOfTwelve = ThreeLosses;

TEST_P(ThreeOfTwelve, WhenOneThatLacksSomethingIsFree)
{
	const unsigned int first = GetParam();

	create(4, 13, 1, 4096);
	ASSERT_EQ(write(0, 768), 0);
	checkpoint();
	ASSERT_EQ(write(1024, 64), 0);
	pav_rebuild_rate_min = pav_rebuild_rate_max = 1;
	vanish(first);
	ASSERT_EQ(state(first), PAV_DRIVE_REBUILDING);
	go_on(768);
	vanish((first + 1) % 12);
	the_third_goes((first + 2) % 12);
}

INSTANTIATE_TEST_SUITE_P(, ThreeOfTwelve, testing::Range(0U, 12U));

// A full group, whose collector and renewals leave little free, cut every so often: each recovery ends with a checkpoint, and there is room for it.
class FullReuse : public Reuse, public testing::WithParamInterface<unsigned int> {
protected:
	FullReuse() : Reuse(GetParam()) {}
};

TEST_P(FullReuse, IsRecoveredAgainAndAgain)
{
	create(4, 6, 0, 1 << 20);
	uint64_t cells = 0;

	while (info().free_cells) {
		ASSERT_EQ(write(cells, 1), 0);
		cells++;
	}
	for (unsigned int round = 0; round < 30 && !HasFailure(); round++) {
		std::vector<uint64_t> lbas;

		for (uint64_t n = rng_.range(20, 2 * cells); n; n--)
			lbas.push_back(rng_.below(cells));
		ASSERT_EQ(write(lbas), 0);
		cut(100);
		open();
	}
	verify();
	check_counts();
}

INSTANTIATE_TEST_SUITE_P(, FullReuse, testing::Values(40U, 200U));

// Segments, cells of the volume: blocks at random, until there is no room; some of these groups have one leaf of the map for each block.
class RandomlyFilled : public Scenario, public testing::WithParamInterface<std::pair<uint64_t, uint64_t>> {
protected:
	RandomlyFilled() : Scenario(6, GetParam().first, 16, true) {}
	~RandomlyFilled() override { close(); }
};

// What is mapped can be written for ever. And when nobody writes the garbage collector comes to rest.
TEST_P(RandomlyFilled, ItIsOverwrittenAndThenRests)
{
	create(4, 6, 0, 1 << 20);
	fill(GetParam().second, 64);
	EXPECT_EQ(rewrite(60), 0);
	run_for(10 * second);
	const uint64_t commits = counter("superblock_commits"), moved = counter("moved_cells");

	run_for(1000 * second);
	EXPECT_LT(counter("superblock_commits"), commits + 10);
	EXPECT_EQ(counter("moved_cells"), moved);
	verify();
	check_counts();
}

INSTANTIATE_TEST_SUITE_P(, RandomlyFilled, testing::Values(std::pair{40UL, 1UL << 20}, std::pair{160UL, 1UL << 15}, std::pair{400UL, 1UL << 15}, std::pair{400UL, 1UL << 20}));

class Stuck : public Scenario {
protected:
	Stuck() : Scenario(6, 160, 16, false) {}
	~Stuck() override { close(); }
};

// A full group loses two of its six drives, and what is written now is so narrow that moving gains nothing. Then the collector gives up; it tries again, but not all the time.
TEST_F(Stuck, TheCollectorRests)
{
	pav_evacuate_delay = 0;
	create(4, 6, 0, 1 << 20);
	ASSERT_EQ(fill(1 << 20, 64), 0);
	vanish(0);
	vanish(1);
	run_for(10 * second);
	ASSERT_EQ(rewrite(100), -ENOSPC);
	run_for(10 * second);
	const uint64_t commits = counter("superblock_commits"), moved = counter("moved_cells");

	run_for(1000 * second);
	EXPECT_LT(counter("superblock_commits"), commits + 3000);	// ten attempts, each of them at all segments
	EXPECT_EQ(counter("moved_cells"), moved);
	verify();
}

// Cells of the volume that blocks at random are written of: a dense map, and one that has a leaf for each block.
class FourFull : public Scenario, public testing::WithParamInterface<uint64_t> {
protected:
	FourFull() : Scenario(4, 160, 16, true) {}
	~FourFull() override { close(); }
};

// A full group of four loses two: its stripes stay as wide, two of their cells are lost as they are written. So moving gains what it did, and what is mapped can be written for ever;
// but where metadata is most of the group, it is kept the room it takes with a third drive. With that stripes are narrow, and not all can be overwritten; but nothing is lost, the group
// opens after every cut, and with the fourth all is as it was.
TEST_P(FourFull, IsOverwrittenWithTwoLost)
{
	const bool dense = GetParam() < 1 << 20;

	create(2, 4, 0, GetParam());
	ASSERT_EQ(fill(GetParam(), 64), 0);
	vanish(0);
	vanish(1);
	run_for(10 * second);
	for (unsigned int round = 0; round < 20; round++) {
		const int error = rewrite(30);

		ASSERT_TRUE(!error || (!dense && error == -ENOSPC)) << round << ": " << error;
	}
	run_for(10 * second);	// the collector comes to rest
	verify();
	check_counts();

	come_home(0);
	run_for(10 * second);
	for (unsigned int cuts = 0; cuts < 3; cuts++) {
		rewrite(30);
		cut(100);
		open();
	}
	verify();

	come_home(1);
	run_for(10 * second);
	for (unsigned int round = 0; round < 10; round++)
		ASSERT_EQ(rewrite(30), 0) << round;
	EXPECT_EQ(info().missing, 0U);
	verify();
}

INSTANTIATE_TEST_SUITE_P(, FourFull, testing::Values(1UL << 13, 1UL << 20));

class LargeReuse : public Reuse {
protected:
	LargeReuse() : Reuse(160, 64) {}
};

// A recovery that needs checkpoints of its own, cut at every moment.
TEST_F(LargeReuse, ARecoveryThatIsCutAgainAndAgain)
{
	std::vector<uint64_t> lbas = create_and_scatter(8000);
	const uint64_t before = reached("segments renewed");

	lbas.resize(5500);
	ASSERT_EQ(write(lbas), 0);
	EXPECT_GT(reached("segments renewed"), before + 1);
	cut(100);
	params_.cache_nodes = 64;	// the recovery has fewer
	const auto there = contents();

	for (uint64_t events = 100; !HasFailure(); events += events / 8) {
		restore(there);
		if (open_for(events))
			break;
		for (unsigned int again = 0; again < 2; again++) {
			cut(100);
			open();
			check_counts();
			verify();
		}
		cut(100);
	}
	EXPECT_GT(reached("checkpoint in the middle of replay"), 0U);
	verify();
}

class LossReuse : public Reuse, public testing::WithParamInterface<uint64_t> {
protected:
	LossReuse() : Reuse(640, 16) {}
};

// The same, where a drive was lost in the middle of the writes: what its stripes lack is found by the recovery, and is on record once a checkpoint of its own has passed them. Were that
// forgotten by a second recovery, the drive would come home and stay without it.
TEST_P(LossReuse, ARecoveryIsCutAgainAndAgain)
{
	const std::vector<uint64_t> lbas = create_and_scatter(4000);
	const uint64_t renewals = reached("segments renewed"), checkpoints = counter("checkpoints");

	ASSERT_EQ(write({lbas.begin(), lbas.begin() + 900}), 0);
	EXPECT_GT(reached("segments renewed"), renewals);
	machine_->after(GetParam(), [this] { Scenario::vanish(3); });
	ASSERT_EQ(write({lbas.begin() + 900, lbas.begin() + 1050}), 0);
	EXPECT_EQ(state(3), PAV_DRIVE_FAILED);
	EXPECT_EQ(counter("checkpoints"), checkpoints);
	cut(100);
	params_.cache_nodes = 64;	// the recovery has fewer
	const auto there = contents();

	for (uint64_t events = 100; !HasFailure(); events += events / 8) {
		restore(there);
		if (!drives_[3]->gone())
			drives_[3]->vanish(rng_);
		if (open_for(events))
			break;
		cut(100);
		open();
		come_home(3);
		until_whole();
		close();
		open({1, 2});
		verify();
		cut(100);
	}
	EXPECT_GT(reached("checkpoint in the middle of replay"), 0U);
	verify();
}

INSTANTIATE_TEST_SUITE_P(AtNs, LossReuse, testing::Values(100'000UL, 200'000UL, 300'000UL, 400'000UL));

}  // namespace
}  // namespace pav::sim
