// SPDX-License-Identifier: GPL-2.0
// pav_sim on the toy engine; TOY_BUG=n in the environment orders a bug.
#include "toy_engine.h"

#include <cstdlib>

namespace {

const bool bug_is_set = [] {
	if (const char *n = std::getenv("TOY_BUG"))
		toy_set_bug(static_cast<toy_bug>(std::atoi(n)));
	return true;
}();

}  // namespace
