/* SPDX-License-Identifier: GPL-2.0 */
/*
 * space.c: how much of a group is used: told when it becomes much, and remembered for a day, so that one can tell when it will be full.
 *
 * A sample every ten minutes, in memory: what a group's use was before it was opened here is not known. All of it is under pav_registry_lock.
 */
#ifndef PAV_SPACE_H
#define PAV_SPACE_H

#include "engine.h"

#define PAV_SPACE_STEP		600u			/* seconds between samples */
#define PAV_SPACE_SAMPLES	(24 * 3600 / PAV_SPACE_STEP + 1)

struct pav_space {
	unsigned int level;				/* the threshold last told of, in percent */
	bool full;					/* … and that it is full */
	unsigned int next, n;				/* samples there are, the newest before @next */
	struct pav_space_sample {
		u64 seconds;				/* since the machine started, sleep included */
		u64 bytes;
	} sample[PAV_SPACE_SAMPLES];
};

/* To be called each second: takes a sample if it is time to, and sends events. */
void pav_space_watch(struct pav_space *s, struct pav_engine *e);

/* What was used when the oldest sample was taken, and how many seconds ago that was: a day at most, but for a step. False: there is none. */
bool pav_space_before(const struct pav_space *s, u64 *bytes, u64 *seconds);

#endif
