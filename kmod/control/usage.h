/* SPDX-License-Identifier: GPL-2.0 */
/*
 * usage.c: how much of a group was used in the last day, so that one can tell when it will be full.
 *
 * A sample every ten minutes for a day, in memory: what a group's use was before it was opened here is not known. All of it is under
 * pav_registry_lock.
 */
#ifndef PAV_USAGE_H
#define PAV_USAGE_H

#include <linux/types.h>

#define PAV_USAGE_STEP		600u			/* seconds between samples */
#define PAV_USAGE_SAMPLES	(24 * 3600 / PAV_USAGE_STEP + 1)

struct pav_usage {
	unsigned int next, n;				/* samples there are, the newest before @next */
	struct pav_usage_sample {
		u64 seconds;				/* since the machine started, sleep included */
		u64 bytes;
	} sample[PAV_USAGE_SAMPLES];
};

bool pav_usage_due(const struct pav_usage *u);
void pav_usage_note(struct pav_usage *u, u64 bytes);

/* What was used when the oldest sample was taken, and how many seconds ago that was: a day at most, but for a step. False: there is none. */
bool pav_usage_before(const struct pav_usage *u, u64 *bytes, u64 *seconds);

#endif
