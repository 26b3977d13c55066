// SPDX-License-Identifier: GPL-2.0
// A worker of env.h: one fiber that runs its queue in order.
#pragma once

#include "engine_c.h"
#include "machine.h"

#include <deque>
#include <string>

struct pav_worker {
	std::string name;
	pav::sim::Fiber *fiber = nullptr;
	std::deque<pav_work *> queue;
	bool idle = false;	// parked, nothing to do
	bool ending = false, ended = false;
	uint64_t queued = 0, done = 0;	// how many items, ever
	std::vector<pav::sim::Fiber *> waiters;	// for progress, or the end
};
