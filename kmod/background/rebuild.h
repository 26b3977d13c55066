/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Segments made whole again: what drives lack is rebuilt, in place, from the other drives; and everything is read and verified when that is asked for
 * (scrub). One segment at a time, those first that could bear the least.
 *
 *	a drive has failed, a spare is there:	every segment of the drive's lacks its slot, a checkpoint makes that durable, the spare takes the slot
 *	a drive comes home:			what it missed is known, and durable with a checkpoint; it takes its slot again
 *	rebuild	a segment is held, so that it is not used again meanwhile; read; every stripe made whole (log/mend.h); it lacks nothing any more
 *	scrub	the same of segments that lack nothing
 *
 * Nothing is moved, the map does not change: a location that was on the lost drive is right again when its cell is there. New segments use the new drive
 * from the moment on that it has its slot. A crash loses at most the record of what was rebuilt since the last checkpoint; that is rebuilt again.
 */
#ifndef PAV_REBUILD_H
#define PAV_REBUILD_H

#include "gc.h"
#include "../log/mend.h"

struct pav_rebuild {
	struct pav_group *g;
	struct pav_log *log;
	struct pav_map *map;
	struct pav_checkpoint *ckpt;
	struct pav_gc *gc;		/* its lock keeps volumes where they are */
	struct pav_worker *worker;
	struct pav_work work;
	struct mutex lock;		/* who is a member: held while that changes */
	bool off;
	struct pav_scan scan;
	struct pav_mend mend;
	unsigned long *stuck;		/* by segment: something in it cannot be made whole by the drives that are here */
	u32 seats;			/* g->seats then */
	struct pav_timer later;		/* tries again what could not be done */

	u32 seg;			/* being mended */
	struct pav_task *task;		/* … for this task */
	bool owed;			/* what was rebuilt is not durable yet */
	bool lost;			/* … and something of it is beyond repair */
	u64 pace_start_ns, pace_rows, pace_others;	/* since when, how much, and others' I/O then: for the rate */

	/* What is shown. Written by the worker. */
	struct pav_task {
		bool on;
		u64 total, done;	/* segments */
		struct pav_mended count;
		u64 lost;		/* stripes */
		u64 started, finished;	/* seconds since 1970 */
		u64 start_ns, ns;	/* began; took so far */
		u64 bytes;		/* read and verified */
	} rebuild, scrub;
	struct mutex scrub_lock;	/* what follows, and the group's mark of where the scrub is */
	bool scrub_wanted;
	u32 scrub_asked, scrub_of;	/* scrubs asked for, from the first segment on; the one that the task is */
};

int pav_rebuild_init(struct pav_rebuild *r, struct pav_gc *gc);		/* process; -ENOMEM: free it all the same */
void pav_rebuild_start(struct pav_rebuild *r);		/* the group is open */
void pav_rebuild_stop(struct pav_rebuild *r);		/* process; while checkpoints still run */
void pav_rebuild_free(struct pav_rebuild *r);
void pav_rebuild_want(struct pav_rebuild *r);		/* any context: a drive has failed, joined or come back */

/* Begins a scrub, or goes on with one that was interrupted; or stops it. Process context. */
void pav_rebuild_scrub(struct pav_rebuild *r, bool on);

/* The spare in slot @spare takes the place of the drive in @slot, which has failed. @lock held. Process context. */
int pav_rebuild_take_over(struct pav_rebuild *r, unsigned int slot, unsigned int spare);
/* The drive that was in @slot is back: pav_group_may_return() said so. @lock held. Process context. */
int pav_rebuild_come_home(struct pav_rebuild *r, unsigned int slot, struct pav_dev *dev);

#endif
