/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Discards what segments held that are free again, so that the drives need not carry it along.
 *
 * A segment is taken out of the free ones while its discard is under way: nobody can open it and lose what he writes to it. It is one at a time, with
 * pauses, and only while enough others are free; one that is wanted before its turn comes is used as it is. What a cut leaves of a discard does not matter:
 * nothing points to a free segment. Drives that cannot discard are left alone.
 */
#ifndef PAV_DISCARD_H
#define PAV_DISCARD_H

#include "../log/log.h"

#define PAV_DISCARD_PAUSE	3u	/* between two segments: so many times as long as the last one took */

struct pav_discard {
	struct pav_group *g;
	struct pav_log *log;
	struct pav_worker *worker;
	struct pav_work work;
	bool off;
	struct pav_io io[PAV_MAX_DRIVES];
	atomic_t pending;
	struct completion all;
	atomic64_t cells;	/* discarded, on all drives */
};

int pav_discard_init(struct pav_discard *d, struct pav_log *log);	/* process; -ENOMEM: free it all the same */
void pav_discard_start(struct pav_discard *d);	/* the group is open. Never called: nothing is discarded */
void pav_discard_want(void *d);			/* segments have become free. Any context */
void pav_discard_stop(struct pav_discard *d);	/* process: when it returns no discard is under way, nor will one be */
void pav_discard_free(struct pav_discard *d);

#endif
