// SPDX-License-Identifier: GPL-2.0
// What env_sim.cc, the host of the engine, shares with the world that sets it up.
#pragma once

#include "drive.h"
#include "engine_c.h"
#include "machine.h"

// An open drive.
struct pav_dev {
	pav::sim::Drive *drive;
};

namespace pav::sim {

// The memory of a user's request, behind pav_req_env.sim.
struct UserMemory {
	uint8_t *cells;		// one after another
	bool scattered;		// hand cells out through the bounce buffer now and then
};

// How the host treats the engine in this run; counters of what it did.
struct HostOptions {
	unsigned int alloc_failure = 0;		// an allocation fails once in so many; 0: never
	uint64_t alloc_failures = 0;
	int64_t clock_is_off_s = 0;		// the wall clock, which people and batteries set
	uint64_t warnings = 0, errors = 0;	// messages by pav_log()
	std::function<void(pav_level, const char *)> on_log;
};
HostOptions &host_options();

// The marks of rare branches (pav_reached()) in the engine and their counts.
struct Mark {
	std::string name;
	uint64_t count;
};
std::vector<Mark> marks();
uint64_t reached(std::string_view branch);	// how often since the last reset
void reset_marks();

// The places of the engine's sources where code can be put aside: "kmod/log/log.c:123", each once, in the order of their names.
const std::vector<std::string> &places();
// Those of a file, or of a part of it: "kmod/log/log.c:100-140".
std::vector<std::string> places_in(const std::string &where);
// These are sticky, in this process, and no others are.
void set_sticky_places(const std::vector<std::string> &names);

}  // namespace pav::sim
