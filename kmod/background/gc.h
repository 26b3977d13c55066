/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The garbage collector: gives segments back whose cells have mostly died, by moving what is alive. And, while there is room, it moves what lies on drives
 * that are gone, with no spare in their place, or are about to leave: so that everything is fully redundant on the drives that are left.
 *
 *	while the pool of segments for users is small (pav_log_pool):
 *		victim		the segment that pays most					(log/space.c)
 *		scan		read it; its headers tell what its cells were			(log/scan.c)
 *		look up		alive is what the map still finds there
 *		move		as a write of the same content, through a stream of its own; unless it is written meanwhile
 *		give		users may write in proportion to what is won			(pav_map_give)
 *
 * What is emptied is used again when users need it (pav_checkpoint_want_segments); the collector sees to that itself only if they wait already.
 *
 * A move is a write like any other: admitted by the map, logged, replayed. It takes claims that users cannot have, segments that users must leave, and
 * waits for no user's write: so it goes on when they all wait for it. Where it cannot help, the group is full (log->full).
 */
#ifndef PAV_GC_H
#define PAV_GC_H

#include "checkpoint.h"

#define PAV_GC_MOVES	PAV_STRIPE_ENTRIES	/* cells moved at once, at most: what fills stripes */
#define PAV_GC_PARTS	8u			/* victims whose last cells may wait for the next ones', to fill a stripe with them */
#define PAV_GC_VAIN	32u			/* victims emptied without anybody being the better for it: then it is only moving in circles */
#define PAV_GC_AGAIN_NS	1000000000ULL	/* so long after it gave up it tries again, though nothing has changed; each time twice as long */
#define PAV_GC_BATCH	4u			/* segments emptied for each checkpoint that somebody waits for */

struct pav_gc_part {
	u32 seg;
	u64 seq;			/* when it was opened */
};

/* What may make another attempt worth while. */
struct pav_gc_facts {
	s64 pool;
	u64 written, mapped, gone, seats;
};

struct pav_gc {
	struct pav_group *g;
	struct pav_log *log;
	struct pav_map *map;
	struct pav_checkpoint *ckpt;
	struct pav_worker *worker;
	struct pav_work work;
	struct mutex lock;		/* held while it uses volumes */
	bool locked;			/* by it: there are moves not sent yet */
	atomic_t waiting;		/* … for the lock */
	struct pav_gc_part part[PAV_GC_PARTS];	/* victims since it was taken */
	unsigned int parts;
	bool off;
	struct pav_scan scan;
	unsigned long *tried;		/* by segment: stuck, or emptied in this run. If cells are left, they are being written anew */
	unsigned long *stuck;		/* by segment: something in it cannot be read or found */

	struct pav_move *move;		/* PAV_GC_MOVES */
	u8 **cell;			/* their contents */
	unsigned int moves, batch;	/* gathered, not sent yet; sent at once */
	atomic_t pending;
	struct completion all;
	atomic_t refused;		/* for lack of room */
	atomic_t left;			/* cells of the victims since the lock was taken that were found and not moved: refused, being written, of a dying volume */
	u64 written;			/* cells by users, when there last was progress */
	s64 best;			/* the pool since then */
	unsigned int vain;		/* victims since then */
	struct pav_timer again;		/* it gave up, and tries again then, or when something has changed: */
	unsigned int hopeless;		/* … so often since */
	u64 again_ns;
	struct pav_gc_facts gave_up;
	s64 goal;			/* the pool should hold so much; users are slowed while it does not */
	u64 evacuate_ns;		/* until then no room is made for evacuation: that was in vain, so often in a row: */
	unsigned int evacuate_vain;
	u64 gain, given;		/* cells that emptying the segment wins; of those, what users were given credit for */
	struct pav_cell_asleep asleep;

	atomic64_t emptied;
};

int pav_gc_init(struct pav_gc *gc, struct pav_checkpoint *ckpt);	/* process; -ENOMEM: free it all the same */
void pav_gc_want(void *gc);		/* any context: there may be something to do */
void pav_gc_start(struct pav_gc *gc);	/* the group is open */
void pav_gc_stop(struct pav_gc *gc);	/* process; while checkpoints still run */
void pav_gc_free(struct pav_gc *gc);
/* Waits until it uses no volume any more that was not LIVE at the call, and reads no segment any more that was dead. Process context; the checkpoint's lock not held. */
void pav_gc_barrier(struct pav_gc *gc);

#endif
