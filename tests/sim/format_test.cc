// SPDX-License-Identifier: GPL-2.0
// The validators of the superblock's replay list and of the owner stamp: what they must refuse, one thing at a time.
#include <gtest/gtest.h>

#include "engine_c.h"

extern "C" {
#include "format/format.h"
}

namespace {

struct Stamp : testing::Test {
	pav_d_owner o{};

	Stamp()
	{
		std::memcpy(o.magic, PAV_OWNER_MAGIC, sizeof o.magic);
		o.version = PAV_FORMAT_VERSION;
		o.state = PAV_OWNER_OPEN;
		o.interval_ms = 1000;
		o.fence_ms = 8000;
		std::strcpy(o.host_name, "alpha");
	}

	const char *check(bool seal = true)
	{
		bool blank;
		const char *why;

		if (seal)
			pav_seal(&o, offsetof(pav_d_owner, crc));
		why = pav_owner_check(&o, &blank);
		EXPECT_TRUE(!blank || why) << "a blank cell is no stamp";
		is_blank = blank;
		return why;
	}
	bool is_blank = false;
};

TEST_F(Stamp, AGoodOneIsGood)
{
	EXPECT_EQ(check(), nullptr);
	o.state = PAV_OWNER_CLOSED;
	EXPECT_EQ(check(), nullptr);
	o.interval_ms = PAV_OWNER_MAX_MS;
	o.fence_ms = PAV_OWNER_MAX_MS * PAV_OWNER_FENCE;
	EXPECT_EQ(check(), nullptr);
}

TEST_F(Stamp, ABlankCellIsNotABadOne)
{
	std::memset(&o, 0, sizeof o);
	EXPECT_NE(check(false), nullptr);
	EXPECT_TRUE(is_blank);
	o.magic[0] = 'Q';
	EXPECT_NE(check(), nullptr);
	EXPECT_TRUE(is_blank);
}

TEST_F(Stamp, EveryByteIsUnderTheChecksum)
{
	ASSERT_EQ(check(), nullptr);
	for (size_t at = sizeof o.magic; at < sizeof o; at++) {
		auto *bytes = reinterpret_cast<uint8_t *>(&o);

		bytes[at] ^= 1;
		ASSERT_NE(check(false), nullptr) << at;
		ASSERT_FALSE(is_blank);
		bytes[at] ^= 1;
	}
	EXPECT_EQ(check(false), nullptr);
}

TEST_F(Stamp, FieldsOutOfRange)
{
	const pav_d_owner good = o;
	const auto refused = [&](const char *part) {
		const char *why = check();

		EXPECT_TRUE(why && std::strstr(why, part)) << (why ? why : "let pass") << ", not " << part;
		o = good;
	};

	o.version = PAV_FORMAT_VERSION + 1;
	refused("newer version");
	o.state = PAV_OWNER_OPEN + 1;
	refused("unknown state");
	std::memset(o.host_name, 'x', sizeof o.host_name);
	refused("host name");
	for (const auto &[interval, fence] : {std::pair{0U, 8000U}, {PAV_OWNER_MAX_MS + 1, 500000U}, {1000U, 1999U}, {1000U, 0U}, {1000U, UINT32_MAX}}) {
		o.interval_ms = interval;
		o.fence_ms = fence;
		refused("times out of range");
	}
}

struct Superblock : testing::Test {
	static constexpr uint64_t cells = PAV_SEGMENTS_CELL + 64 * 1024;
	pav_d_superblock good{}, sb{};

	Superblock()
	{
		std::memcpy(good.magic, PAV_SB_MAGIC, sizeof good.magic);
		good.version = PAV_FORMAT_VERSION;
		std::strcpy(good.name, "g");
		good.segment_blocks = 1024;
		good.segments = 64;
		good.data_drives = 2;
		good.slots = 4;
		good.sets[0] = 0xf;
		good.replays = PAV_REPLAY_MAX;
		sb = good;
	}

	const char *check()
	{
		bool blank;

		pav_seal(&sb, offsetof(pav_d_superblock, crc));
		return pav_sb_check(&sb, cells, &blank);
	}

	void refused(const char *part)
	{
		const char *why = check();

		EXPECT_TRUE(why && std::strstr(why, part)) << (why ? why : "let pass") << ", not " << part;
		sb = good;
	}
};

TEST_F(Superblock, OtherVersionsAreToldApart)
{
	EXPECT_EQ(check(), nullptr);
	sb.version = PAV_FORMAT_VERSION - 1;
	refused("older version");
	sb.version = PAV_FORMAT_VERSION + 1;
	refused("newer version");
	sb.incompat = 1ULL << 63;
	refused("newer version");
}

TEST_F(Superblock, ReplayList)
{
	pav_d_replay &last = sb.replay[PAV_REPLAY_MAX - 1];

	last = {63, 1024, 0, 1};
	EXPECT_EQ(check(), nullptr);
	last = {64, 0, 0, 0};
	refused("replay segment");
	last = {0, 1025, 0, 0};
	refused("replay segment");
	last = {0, 0, 1, 0};		// no such set
	refused("replay segment");
	last = {0, 0, PAV_MAX_SETS, 0};
	refused("replay segment");
	last = {0, 0, 0, 2};
	refused("replay segment");
	sb.sets[0] = 3;			// narrower than a stripe can be
	refused("replay segment");
	sb.replays = PAV_REPLAY_MAX + 1;
	refused("count out of range");
}

}  // namespace
