// SPDX-License-Identifier: GPL-2.0
// A map of which little is in memory, told one by one: nodes that leave it while somebody looks at them without a pin; and who gets to change some.
#include "scenario.h"

#include <string>
#include <vector>

namespace pav::sim {
namespace {

class SmallMemory : public Scenario {
protected:
	explicit SmallMemory(uint64_t segment_blocks = 64) : Scenario(6, 160, segment_blocks, false) {}
	~SmallMemory() override
	{
		set_sticky_places({});
		close();
	}

	// From now on one in @one_in who come to a place in @where lingers there, for so long.
	void linger(const char *where, unsigned int one_in, uint64_t mean_ns)
	{
		const auto here = places_in(where);

		ASSERT_FALSE(here.empty());
		set_sticky_places(here);
		machine_->set_sticky(one_in, mean_ns);
	}
};

// A map of many more nodes than there are in memory, of all levels alike. Whoever looks at one lingers: it is another by the time he goes on.
class FewNodes : public SmallMemory, public testing::WithParamInterface<const char *> {
};

TEST_P(FewNodes, AreOthersByTheTimeTheyAreLookedAt)
{
	constexpr uint64_t leaf = 256, interior = 512 * leaf;
	std::vector<uint64_t> lbas;

	create(4, 6, 0, 1 << 24);
	for (uint64_t i = 0; i < 60 * 8; i++)
		lbas.push_back(i / 8 * interior + i % 8 * leaf + i % leaf);
	const auto some = [&] {
		std::vector<uint64_t> picked;

		for (unsigned int i = 0; i < 400; i++)
			picked.push_back(lbas[rng_.below(lbas.size())]);
		return picked;
	};
	ASSERT_EQ(write(lbas), 0);
	ASSERT_NO_FATAL_FAILURE(linger(GetParam(), 100, 20 * ms));
	in_threads_ = true;
	for (unsigned int round = 0; round < 100 && !HasFailure(); round++) {
		ASSERT_EQ(write(some()), 0);
		ASSERT_EQ(read(some(), 64), 0);
	}
	verify();
	check_counts();
}

INSTANTIATE_TEST_SUITE_P(, FewNodes, testing::Values("kmod/map/tree.c", "kmod/map/tree.h", "kmod/map/read.c"));

class FewNodesAndCells : public SmallMemory {
protected:
	FewNodesAndCells() : SmallMemory(16) {}
};

// The garbage collector asks the map what is alive, and lingers over the answer. Were it another leaf's, it would leave a cell behind, and look at the whole segment the long way, as for a
// header that has rotted.
TEST_F(FewNodesAndCells, TheCollectorOverlooksNothing)
{
	constexpr uint64_t leaf = 256, leaves = 300, cells = 12;
	std::vector<uint64_t> lbas;

	create(4, 6, 0, 1 << 20);
	for (uint64_t i = 0; i < leaves * cells; i++)
		lbas.push_back(i / cells * leaf + i % cells);
	ASSERT_EQ(write(lbas), 0);
	ASSERT_NO_FATAL_FAILURE(linger("kmod/map/tree.h", 100, 20 * ms));
	for (unsigned int round = 0; round < 20 && !HasFailure(); round++) {
		std::vector<uint64_t> picked;

		for (uint64_t i = 0; i < 1000; i++)
			picked.push_back(lbas[rng_.below(lbas.size())]);
		ASSERT_EQ(write(picked), 0);
	}
	EXPECT_GT(counter("moved_cells"), 1000U);
	EXPECT_EQ(reached("segment emptied past a rotten header"), 0U);
	verify();
	check_counts();
}

// Writes take each claim to a node as soon as a checkpoint has set it free. Who deletes a volume, or grows one, needs some too, and is slower.
TEST_F(SmallMemory, AVolumeIsDeletedAndAnotherGrowsUnderLoad)
{
	constexpr uint64_t leaf = 256;
	std::vector<uint64_t> lbas;
	unsigned int done = 0;
	pav_volume_ident ident{};

	create(4, 6, 0, 1 << 17);
	for (uint64_t i = 0; i < 200; i++)
		lbas.push_back(i * leaf);
	ASSERT_EQ(write(lbas), 0);
	pav_volume *const old = volume_;

	version_.clear();
	std::snprintf(ident.name, sizeof ident.name, "w");
	as_process([&] {
		pav_err err{};

		ASSERT_EQ(pav_volume_create(engine_, &ident, 512 * leaf, &volume_, &err), 0) << err.text;
	});
	machine_->spawn("control", [&] {
		pav_err err{};

		EXPECT_EQ(pav_volume_delete(engine_, old, &err), 0) << err.text;
		done++;
		EXPECT_EQ(pav_volume_grow(engine_, volume_, 512 * 512 * leaf, &err), 0) << err.text;
		done++;
	});
	ASSERT_NO_FATAL_FAILURE(linger("kmod/engine.c", 1, 5 * ms));
	lbas.clear();
	for (unsigned int i = 0; i < 20'000; i++)
		lbas.push_back(rng_.below(512) * leaf + rng_.below(leaf));
	ASSERT_EQ(write(lbas, 128), 0);
	EXPECT_EQ(done, 2U);
	EXPECT_EQ(reached("growth waited for a checkpoint"), 0U);	// what is kept for it was there
	run_until([&] { return done == 2; });
	verify();
}

}  // namespace
}  // namespace pav::sim
