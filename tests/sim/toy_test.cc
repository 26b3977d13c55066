// SPDX-License-Identifier: GPL-2.0
// The whole simulator on the toy engine: it finds nothing where nothing is wrong, and each of the bugs to order where there is one.
#include "toy_engine.h"
#include "world.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <sys/wait.h>
#include <unistd.h>

namespace pav::sim {
namespace {

// Runs seeds from 1 on in a process of its own. The first that failed, 0: none did.
uint64_t first_failure(toy_bug bug, uint64_t seeds)
{
	int fds[2];

	if (pipe(fds))
		return UINT64_MAX;
	const pid_t pid = fork();

	if (pid == 0) {
		std::freopen("/dev/null", "w", stderr);
		toy_set_bug(bug);
		for (uint64_t seed = 1; seed <= seeds; seed++) {
			if (write(fds[1], &seed, sizeof seed) != sizeof seed)
				_exit(1);
			World(seed, false).run();
		}
		_exit(0);
	}
	close(fds[1]);
	uint64_t seed = 0;
	int status = 0;

	while (read(fds[0], &seed, sizeof seed) == sizeof seed)
		;
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	// By fail(), that is: not by a crash of the simulator itself.
	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == failed_exit) << "seed " << seed << ", status " << status;
	return seed;
}

TEST(Toy, WithoutBugsNothingIsFound)
{
	EXPECT_EQ(first_failure(TOY_BUG_NONE, 20), 0U);
}

class ToyBug : public testing::TestWithParam<toy_bug> {};

TEST_P(ToyBug, IsFound)
{
	const uint64_t seed = first_failure(GetParam(), 1000);

	EXPECT_NE(seed, 0U);
	RecordProperty("seed", std::to_string(seed));
}

INSTANTIATE_TEST_SUITE_P(All, ToyBug,
			 testing::Values(TOY_BUG_NO_FUA, TOY_BUG_ACK_EARLY, TOY_BUG_CRC_UNCHECKED, TOY_BUG_STALE_READMITTED, TOY_BUG_TORN_ACCEPTED,
					 TOY_BUG_DELETE_FORGOTTEN, TOY_BUG_WRITES_WHEN_FAULTED, TOY_BUG_LEAK));

TEST(Toy, ASeedReplays)
{
	uint64_t hashes[2];

	toy_set_bug(TOY_BUG_NONE);
	for (uint64_t &hash : hashes) {
		World world(7, false);

		world.run();
		hash = world.trace().hash();
	}
	EXPECT_EQ(hashes[0], hashes[1]);
}

}  // namespace
}  // namespace pav::sim
