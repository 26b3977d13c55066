// SPDX-License-Identifier: GPL-2.0
// What a drive keeps and what it loses.
#include "drive.h"
#include "machine.h"

#include <gtest/gtest.h>

#include <set>

namespace pav::sim {
namespace {

class DriveTest : public testing::Test {
protected:
	Rng rng{1};
	Trace trace;
	Machine machine{rng, trace};
	Drive drive{0, 64, true};
	std::vector<std::vector<uint8_t>> buffers;
	int completed = 0, error = 0;

	void write(uint64_t block, uint8_t value, bool fua = false, unsigned int cells = 1)
	{
		buffers.emplace_back(cells * cell_bytes, value);
		drive.submit({.op = PAV_IO_WRITE, .block = block, .cells = cells, .fua = fua, .from = buffers.back().data(), .into = nullptr,
			      .done = [this](int e) { completed++; error = e; }, .data = {}});
	}
	void flush()
	{
		drive.submit({.op = PAV_IO_FLUSH, .block = 0, .cells = 0, .fua = false, .from = nullptr, .into = nullptr, .done = [this](int) { completed++; }, .data = {}});
	}
	int read(uint64_t block)
	{
		std::vector<uint8_t> into(cell_bytes);
		int result = 1;

		drive.submit({.op = PAV_IO_READ, .block = block, .cells = 1, .fua = false, .from = nullptr, .into = into.data(), .done = [&](int e) { result = e; }, .data = {}});
		run();
		return result ? result : into[7];
	}
	void run()
	{
		while (machine.step())
			;
	}
	uint8_t at_rest(uint64_t block) const { return drive.peek(block) ? (*drive.peek(block))[0] : 0; }
};

TEST_F(DriveTest, ReadsReturnTheNewestWrite)
{
	EXPECT_EQ(read(3), 0);
	write(3, 1);
	run();
	write(3, 2);
	run();
	EXPECT_EQ(read(3), 2);
	EXPECT_EQ(completed, 2);
}

TEST_F(DriveTest, FuaAndFlushedWritesSurviveACut)
{
	write(1, 1, true);
	write(2, 2);
	run();
	flush();
	run();
	write(3, 3);
	run();
	drive.power_cut(rng, 0);
	EXPECT_EQ(at_rest(1), 1);
	EXPECT_EQ(at_rest(2), 2);
	EXPECT_EQ(at_rest(3), 0) << "was in the cache";
}

TEST_F(DriveTest, WithoutACacheCompletedWritesSurvive)
{
	Drive plain(1, 64, false);
	std::vector<uint8_t> buffer(cell_bytes, 9);

	plain.submit({.op = PAV_IO_WRITE, .block = 5, .cells = 1, .fua = false, .from = buffer.data(), .into = nullptr, .done = [](int) {}, .data = {}});
	run();
	plain.power_cut(rng, 0);
	EXPECT_EQ((*plain.peek(5))[0], 9);
}

TEST_F(DriveTest, AFlushDoesNotCoverWhatCompletesAfterItBegan)
{
	drive.latency = {.read = 1, .write = 1, .flush = 1'000'000, .inline_percent = 0, .slow = 0};
	write(4, 1);
	run();
	flush();
	write(4, 2);
	while (completed < 2)
		machine.step();
	run();
	drive.power_cut(rng, 0);
	EXPECT_EQ(at_rest(4), 1);
}

TEST_F(DriveTest, ACutTearsWritesInEveryWay)
{
	std::set<int> patterns;

	for (int i = 0; i < 200; i++) {
		Drive d(2, 8, true);
		std::vector<uint8_t> buffer(3 * cell_bytes, 1);

		d.submit({.op = PAV_IO_WRITE, .block = 0, .cells = 3, .fua = true, .from = buffer.data(), .into = nullptr, .done = [](int) {}, .data = {}});
		d.power_cut(rng, 50);
		int pattern = 0;

		for (uint64_t b = 0; b < 3; b++)
			pattern |= (d.peek(b) != nullptr) << b;
		patterns.insert(pattern);
	}
	EXPECT_EQ(patterns.size(), 8U);
}

TEST_F(DriveTest, AnyOfSeveralUnflushedVersionsMayBeLeft)
{
	std::set<int> left;

	for (int i = 0; i < 100; i++) {
		for (const uint8_t v : {1, 2, 3}) {
			write(6, v);
			run();
		}
		drive.power_cut(rng, 70);
		left.insert(at_rest(6));
		write(6, 0, true);
		run();
	}
	EXPECT_EQ(left, (std::set<int>{0, 1, 2, 3}));
}

TEST_F(DriveTest, ALaterFuaWriteBuriesWhatTheCacheHeld)
{
	write(7, 1);
	run();
	write(7, 2, true);
	run();
	drive.power_cut(rng, 100);
	EXPECT_EQ(at_rest(7), 2);
}

TEST_F(DriveTest, AVanishedDriveFailsEverything)
{
	write(1, 1, true);
	drive.vanish(rng);
	run();
	EXPECT_EQ(error, -ENODEV);
	EXPECT_EQ(read(1), -ENODEV);
	drive.plug();
	EXPECT_GE(read(1), 0);
}

TEST_F(DriveTest, RotAndBadBlocks)
{
	write(1, 0, true);
	run();
	drive.rot(1, rng);
	const CellRef cell = drive.peek(1);

	EXPECT_TRUE(std::any_of(cell->begin(), cell->end(), [](uint8_t b) { return b != 0; }));
	drive.make_unreadable(2);
	EXPECT_EQ(read(2), -EIO);
	write(2, 5);
	run();
	EXPECT_EQ(read(2), 5);
}

TEST_F(DriveTest, LostAndMisdirectedWrites)
{
	drive.rates.lost_write = 1;
	write(1, 1, true);
	run();
	EXPECT_EQ(error, 0);
	EXPECT_EQ(at_rest(1), 0);
	drive.rates = {.read_error = 0, .write_error = 0, .lost_write = 0, .misdirected_write = 1};
	for (uint8_t i = 0; i < 8; i++)
		write(i, 77, true);
	run();
	EXPECT_EQ(drive.stats().misdirected_writes, 8U);
}

TEST_F(DriveTest, ADriveThatHangsAnswersLateOrIsReset)
{
	drive.hang(5'000'000'000, false);
	write(1, 1, true);
	machine.step();
	EXPECT_LT(machine.now_ns(), 1'000'000'000U);
	EXPECT_EQ(completed, 0);
	run();
	EXPECT_EQ(completed, 1);
	EXPECT_EQ(error, 0);
	EXPECT_GE(machine.now_ns(), 5'000'000'000U);
	drive.hang(9'000'000'000, true);
	write(2, 2, true);
	run();
	EXPECT_EQ(error, -ETIMEDOUT);
	write(3, 3, true);
	run();
	EXPECT_EQ(error, 0) << "was reset";
	EXPECT_EQ(at_rest(3), 3);
}

TEST_F(DriveTest, WhatIsNotDurableIsToldWriteByWrite)
{
	write(1, 1, true);
	write(4, 4, false, 2);
	run();
	write(5, 5, true);
	drive.submit({.op = PAV_IO_DISCARD, .block = 1, .cells = 1, .fua = false, .from = nullptr, .into = nullptr, .done = [](int) {}, .data = {}});
	const auto open = drive.unflushed();

	ASSERT_EQ(open.size(), 3U);
	EXPECT_EQ(open[0].cells.size(), 2U) << "completed, in the cache";
	EXPECT_EQ(open[1].cells.front().first, 5U);
	EXPECT_EQ(open[2].cells.front().second, nullptr) << "a discard may have got there";
	EXPECT_EQ((*drive.durable()[1])[0], 1);
	EXPECT_EQ(drive.durable()[5], nullptr);
	EXPECT_EQ(drive.activity(), 6U);
}

using DriveDeathTest = DriveTest;

TEST_F(DriveDeathTest, BreakingTheRulesEndsTheRun)
{
	EXPECT_EXIT(write(64, 1), testing::ExitedWithCode(failed_exit), "beyond its 64 blocks");
	EXPECT_EXIT(
		{
			write(3, 1);
			write(3, 2);
		},
		testing::ExitedWithCode(failed_exit), "either may win");
	EXPECT_EXIT(
		{
			write(3, 1);
			buffers.back()[100] = 7;
			run();
		},
		testing::ExitedWithCode(failed_exit), "was changed in memory while it was being written");
}

}  // namespace
}  // namespace pav::sim
