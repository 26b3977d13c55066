/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The checkpoint: makes the state of the map as it is at one sequence number durable, so that replay can begin there.
 *
 *	freeze		streams stop issuing; what is in flight is applied
 *	snapshot	dirty nodes are marked; counts and roots are copied; the replay list is marked
 *	thaw		I/O goes on; a marked node that changes leaves its old image in a shadow
 *	nodes		images of marked nodes go to the metadata stream
 *	volumes, segments	their records too
 *	table		blocks of the node table, from the lowest level to the root
 *	commit		superblocks: the new root, sequence number and replay list
 *	free		segments in which nothing is alive, once readers have left
 *
 * Where the log needs segments, and no more than that, they are freed and listed for replay without all this: renew().
 */
#ifndef PAV_CHECKPOINT_H
#define PAV_CHECKPOINT_H

#include "../log/scan.h"
#include "../map/map.h"

#define PAV_CKPT_BATCH	128u		/* at most */
#define PAV_CKPT_ROUNDS	16u		/* checkpoints in a row to gain room */

struct pav_checkpoint {
	struct pav_group *g;
	struct pav_log *log;
	struct pav_map *map;
	struct pav_worker *worker;
	struct pav_work work;
	void (*gc_want)(void *gc);	/* space is short: the garbage collector is asked for; NULL while there is none */
	void *gc;
	void (*freed)(void *discard);	/* segments have become free; NULL: nobody wants to know */
	void *discard;
	struct mutex lock;		/* one at a time; whoever must not meet one holds it too */
	bool off;			/* closing: requests are not heard any more */
	bool running;			/* requests are not heard: whoever still needs one asks again when it is woken at its end */
	bool undone;			/* the last one failed, after it had begun */
	atomic_t wanted, needed;	/* a whole one; segments for the log, without which it cannot go on */
	bool hoped;			/* the last one found nothing to reserve, but freed some */

	u8 *seg_snap;			/* by node of the segment table: was dirty at the snapshot */
	u32 *live_snap;			/* by segment */
	unsigned long *dead, *victims;	/* by segment: to be freed; to be emptied */
	struct pav_scan scan;		/* of victims */
	unsigned int found;		/* … images that are alive in the one being scanned */
	struct pav_cell_asleep asleep;
	struct pav_node_write *write;	/* PAV_CKPT_BATCH */
	struct pav_node **node;		/* whose image write[i] is; NULL: none's */
	u8 *stage[PAV_CKPT_BATCH];
	unsigned int batch, staged;	/* nodes written at once: with their header they fill rows */
	atomic_t pending;
	struct completion all;

	atomic64_t count, nodes, renewals;
	u64 last_ns, freeze_ns;		/* how long the last one took, and had streams stopped */
};

int pav_checkpoint_init(struct pav_checkpoint *c, struct pav_group *g, struct pav_log *log, struct pav_map *map);
void pav_checkpoint_free(struct pav_checkpoint *c);

/* The segment table is loaded; called once, before the first checkpoint. */
void pav_checkpoint_loaded(struct pav_checkpoint *c);
/* Asks for one soon. Any context. */
void pav_checkpoint_want(void *c);
/*
 * Asks for more segments for the log, which may take a checkpoint; @needed: it waits for one, else they are brought only if that is worth while by now. Any context.
 */
void pav_checkpoint_want_segments(void *c, bool needed);
/* Asks for the garbage collector, if there is one by now. Any context. */
void pav_checkpoint_want_space(void *c);

/* Writes one now. Process context. -ENOSPC, -EIO; then the last one stands. */
int pav_checkpoint_run(struct pav_checkpoint *c);
/* Sees to it now that the log gets more segments. Errors as above: 0 is no promise that there were any. */
int pav_checkpoint_segments(struct pav_checkpoint *c);
/* Does the node table say that node or block @key lies at @loc? Process context; c->lock not held. */
bool pav_checkpoint_lies_at(struct pav_checkpoint *c, u64 key, u64 loc);
/* The same, c->lock held. @seq: what the state includes, if replay says so; 0: the log's newest. @log_id: 0, or the log's new one. */
int pav_checkpoint_locked(struct pav_checkpoint *c, u64 seq, u64 log_id);
/*
 * Streams leave their segments, all, or those that may not be written to any more, or lack a drive which is there; with a checkpoint, after which nothing is in
 * flight to them and no replay looks there. Errors as above. Process context; c->lock not held.
 */
int pav_checkpoint_leave_segments(struct pav_checkpoint *c, bool all);

#endif
