// SPDX-License-Identifier: GPL-2.0
// The places of the engine's sources where code can be put aside.
#include "host.h"
#include "plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace pav::sim {
namespace {

TEST(Places, HaveTheNamesOfTheirFilesAndLines)
{
	const auto &all = places();
	const auto some = places_in("kmod/log/stripe.c");

	EXPECT_GT(all.size(), 500U);
	EXPECT_GT(some.size(), 20U);
	EXPECT_LT(some.size(), all.size() / 2);
	for (const std::string &name : all)
		EXPECT_TRUE(name.rfind("kmod/", 0) == 0 && name.find("..") == std::string::npos && name.find(':') != std::string::npos) << name;
	EXPECT_EQ(places_in(some[0]), std::vector<std::string>{some[0]});
	EXPECT_TRUE(places_in("kmod/log/stripe.c:1-2").empty());
	EXPECT_TRUE(places_in("kmod/log").empty());
}

TEST(Places, SeedsLingerAtSomeOrWhereTheyAreTold)
{
	const auto here = places_in("kmod/map/read.c");
	unsigned int lingering = 0;

	for (uint64_t seed = 1; seed <= 200; seed++)
		lingering += !Plan(seed).sticky.empty();
	EXPECT_GT(lingering, 30U);
	EXPECT_LT(lingering, 110U);
	Plan::linger_at(here);
	for (uint64_t seed = 1; seed <= 50; seed++) {
		const Plan plan(seed);

		EXPECT_NE(plan.sticky.empty(), !plan.third_loss);
		for (const std::string &place : plan.sticky)
			EXPECT_NE(std::find(here.begin(), here.end(), place), here.end()) << place;
	}
	Plan::linger_at({});
}

}  // namespace
}  // namespace pav::sim
