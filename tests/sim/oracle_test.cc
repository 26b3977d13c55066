// SPDX-License-Identifier: GPL-2.0
// The oracle's rules on histories made by hand. Half of them are wrong histories, which it must refuse.
#include "oracle.h"

#include <gtest/gtest.h>

#include <array>

namespace pav::sim {
namespace {

constexpr uint64_t uid = 5, lba = 77;

class OracleTest : public testing::Test {
protected:
	Time now = 1;
	VersionId next = 1;
	VolumeOracle oracle{uid};
	std::array<uint8_t, 4096> cell{};

	VolumeOracle::Write begin(bool zero = false, bool two = false)
	{
		VolumeOracle::Write w{lba, 1, next++, 0, zero, ++now};

		if (two)
			w.alternative = next++;
		oracle.write_begins(w);
		return w;
	}
	void ack(const VolumeOracle::Write &w) { oracle.write_ends(w, true, ++now); }
	void error(const VolumeOracle::Write &w) { oracle.write_ends(w, false, ++now); }
	VersionId written(bool zero = false)
	{
		const auto w = begin(zero);

		ack(w);
		return w.version;
	}
	void cut() { oracle.cut(++now); }
	// Is it legal that a read that began at @began returns @version (0: zeroes) now?
	bool reads(VersionId version, Time began)
	{
		if (version)
			stamp_cell(cell, uid, lba, version);
		else
			cell.fill(0);
		return !oracle.read_ends(lba, cell, began, ++now);
	}
	bool reads(VersionId version) { return reads(version, ++now); }
};

TEST_F(OracleTest, NeverWrittenIsZero)
{
	EXPECT_TRUE(reads(0));
	EXPECT_FALSE(reads(3));
}

TEST_F(OracleTest, TheNewestAcknowledgedOneIsRead)
{
	const VersionId a = written(), b = written();

	EXPECT_FALSE(reads(a));
	EXPECT_FALSE(reads(0));
	EXPECT_TRUE(reads(b));
}

TEST_F(OracleTest, InFlightEitherIsRead)
{
	const VersionId a = written();
	const auto b = begin();

	EXPECT_TRUE(reads(a));
	EXPECT_TRUE(reads(b.version));
	EXPECT_FALSE(reads(a)) << "back to the old one, after the new one was seen";
	ack(b);
	EXPECT_TRUE(reads(b.version));
}

TEST_F(OracleTest, AReadThatBeganBeforeTheAckMayReturnTheOldOne)
{
	const VersionId a = written();
	const auto b = begin();
	const Time early = ++now;

	ack(b);
	EXPECT_TRUE(reads(a, early));
	EXPECT_FALSE(reads(a));
}

TEST_F(OracleTest, OverlappingWritesMayEndInEitherOrder)
{
	const auto a = begin(), b = begin();

	ack(b);
	ack(a);
	EXPECT_TRUE(reads(a.version));
	EXPECT_FALSE(reads(b.version)) << "nothing was in flight: the first read has settled it";
}

TEST_F(OracleTest, AFailedWriteIsThereOrNot)
{
	const VersionId a = written();
	const auto b = begin();

	error(b);
	EXPECT_TRUE(reads(b.version));
	EXPECT_FALSE(reads(a));
}

TEST_F(OracleTest, AFailedWriteThatWasNotThereStaysAway)
{
	const VersionId a = written();
	const auto b = begin();

	error(b);
	EXPECT_TRUE(reads(a));
	EXPECT_FALSE(reads(b.version));
}

TEST_F(OracleTest, AfterACutTheOneInFlightIsThereOrNot)
{
	const VersionId a = written();
	const auto b = begin();

	cut();
	EXPECT_TRUE(oracle.legal(lba, a, now));
	EXPECT_TRUE(reads(b.version));
	cut();
	EXPECT_FALSE(reads(a)) << "lost by the second cut";
	EXPECT_TRUE(reads(b.version));
}

TEST_F(OracleTest, WhatWasNotThereAfterACutDoesNotComeBack)
{
	const VersionId a = written();
	const auto b = begin();

	cut();
	EXPECT_TRUE(reads(a));
	cut();
	EXPECT_FALSE(reads(b.version));
	EXPECT_TRUE(reads(a));
}

TEST_F(OracleTest, AnAcknowledgedWriteSurvivesACut)
{
	const VersionId a = written(), b = written();

	cut();
	EXPECT_FALSE(reads(a));
	EXPECT_FALSE(reads(0));
	EXPECT_TRUE(reads(b));
}

TEST_F(OracleTest, UnmappedIsZero)
{
	const VersionId a = written();

	written(true);
	EXPECT_FALSE(reads(a));
	EXPECT_TRUE(reads(0));
	cut();
	EXPECT_FALSE(reads(a)) << "an unmap that was acknowledged is forgotten";
	EXPECT_TRUE(reads(0));
}

TEST_F(OracleTest, AnUnmapInFlightSettlesByWhatIsRead)
{
	const VersionId a = written();
	const auto u = begin(true);

	cut();
	EXPECT_TRUE(reads(a));
	EXPECT_FALSE(reads(0));
	EXPECT_TRUE(reads(a));
	(void)u;
}

TEST_F(OracleTest, AnUnmapThatWasSeenInFlightIsUndoneByACutOnly)
{
	const VersionId a = written();
	const auto u = begin(true);

	EXPECT_TRUE(reads(0));
	EXPECT_FALSE(reads(a));
	cut();
	EXPECT_TRUE(reads(a));
	const auto v = begin(true);

	EXPECT_TRUE(reads(0));
	ack(v);
	cut();
	EXPECT_FALSE(reads(a));
	(void)u;
}

TEST_F(OracleTest, AWriteThatWasSeenInFlightStays)
{
	const VersionId a = written();
	const auto b = begin();

	EXPECT_TRUE(reads(b.version));
	cut();
	EXPECT_FALSE(reads(a));
	EXPECT_TRUE(reads(b.version));
}

TEST_F(OracleTest, ChangingMemoryGivesOneOfTwo)
{
	const auto w = begin(false, true);

	ack(w);
	EXPECT_TRUE(oracle.legal(lba, w.version, now));
	EXPECT_TRUE(oracle.legal(lba, w.alternative, now));
	EXPECT_TRUE(reads(w.alternative));
	EXPECT_FALSE(reads(w.version));
	EXPECT_FALSE(reads(0));
}

TEST_F(OracleTest, GarbageAndMisplacedCellsAreFound)
{
	written();
	cell.fill(0xa5);
	EXPECT_TRUE(oracle.read_ends(lba, cell, now, now + 1));
	stamp_cell(cell, uid, lba + 1, 1);
	EXPECT_TRUE(oracle.read_ends(lba, cell, now, now + 1));
	stamp_cell(cell, uid + 1, lba, 1);
	EXPECT_TRUE(oracle.read_ends(lba, cell, now, now + 1));
	stamp_cell(cell, uid, lba, 1);
	cell[4095] ^= 1;
	EXPECT_TRUE(oracle.read_ends(lba, cell, now, now + 1));
}

TEST_F(OracleTest, HotCellsDoNotPileUp)
{
	for (int i = 0; i < 1000; i++) {
		written();
		oracle.forget_before(now);
	}
	EXPECT_LE(oracle.versions(), 16U);
}

}  // namespace
}  // namespace pav::sim
