/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The owner stamp: one host at a time has a group open.
 *
 * The host that has the group open rewrites a stamp (struct pav_d_owner) on a few drives every interval. Whoever would open it watches the stamps for
 * longer than the owner may go without a renewal, by a clock of its own, and is refused if one changes. No two clocks are ever compared.
 *
 * The owner's side is a lease: *sure_until*. It is renewed when enough drives (owner_quorum) have taken a new stamp in place of one that was still
 * ours, and lasts PAV_OWNER_FENCE intervals from when the first of these reads *began*. Past it nothing is submitted to a drive but stamps, and nothing
 * is acknowledged: both wait. They go on when it is proved that nobody took over meanwhile (below), and fail when somebody did: the group is faulted.
 *
 * Proof that a stamp is ours alone, after a pause and for an importer alike: read what was there before; write ours within half an interval; read it again
 * half an interval and a margin later. Of two hosts that do this to one drive, one finds the other's stamp. (Chockler and Malkhi's leases.)
 *
 * DESIGN.md, "The owner stamp", has the rule, the proof, and what it does not cover.
 */
#ifndef PAV_OWNER_H
#define PAV_OWNER_H

#include "../drive/drive.h"
#include "../engine.h"

struct pav_group;

/* The stamp on one drive. A round reads it, and writes the next if it was ours. Only the owner's worker uses it, but for @step. */
struct pav_owner_drive {
	struct pav_io io;
	struct pav_dev *dev;	/* what all this is about: another drive may be given the slot */
	struct pav_d_owner *cell;
	unsigned int step;	/* enum in owner.c; completions raise it */
	bool ours;		/* this round's read found our stamp */
	u64 beat;		/* last written, 0: not known to be there */
	bool fresh;		/* the drive was given the slot, and its stamp has not been read since */
	u8 brought[16];		/* it came with a stamp of this instance, which is of an owner from before */
	u64 brought_beat;	/* … while it has this beat */
	unsigned int waits;	/* beats in a row that found this round not done */
	u64 begun, ended;	/* this round: when its read was submitted; its write completed. ns */
	u64 chain;		/* the round before, if it found our stamp and wrote the next in good time: when it began. 0: it did not */
	u64 kept;		/* the newest round that found our stamp and wrote the next: when it began */
	u64 proved;		/* … of which the next one found that its stamp had stayed */
};

struct pav_owner {
	u64 sure_until;		/* ns; read by everyone */
	bool lost;		/* another host may have the group: for good. Read by everyone */
	bool claimed;		/* our stamps are on the drives */
	bool started;		/* the worker renews them */
	bool closing;
	bool late;		/* has said that the lease ran out */
	u64 late_since;
	struct pav_d_owner stamp;	/* the next to be written */
	u64 interval_ns, fence_ns;
	struct pav_worker *worker;
	struct pav_work work;
	struct pav_timer timer;
	atomic_t tick;
	atomic_t in_flight;	/* I/O of rounds whose completion has not returned */
	unsigned int next;	/* slot the next beat begins at */
	unsigned int alone;	/* beats in a row that found one drive alone late, the same */
	struct pav_owner_drive *drives;	/* by slot */
	struct completion idle;

	spinlock_t lock;	/* the two lists. Leaf */
	struct list_head held;	/* writes that wait for the lease: pav_io.held */
	struct list_head waits;	/* acknowledgements: pav_waiter.link */
	atomic64_t beats, lates;
};

/*
 * Watches, and makes this host the owner; then renews the stamp until pav_owner_release(). Takes about two intervals where the group was closed, or had
 * been left open by an earlier life of this host; else as long as the last owner's stamp says. Nothing but stamps is written. -EBUSY: another host has the group,
 * @err says which; -EAGAIN: the group changed since its superblocks were read, read them again; -EIO, -ENOMEM. Process context.
 */
int pav_owner_take(struct pav_group *g, const struct pav_open_params *p, struct pav_err *err);

/* Ends it. If the group is still ours the stamps say closed: the next to open it need not watch. Nothing else may be in flight. Process context. */
void pav_owner_release(struct pav_group *g);

/* Does the lease hold at this moment? Then this host may write. Any context. */
static inline bool pav_owner_holds(const struct pav_owner *o)
{
	return pav_now_ns() < READ_ONCE(o->sure_until);
}

/*
 * True: what has reached the drives up to now did so while the group was ours, or it is known that it is not. False: @w->fn is called when one or the other is
 * so. Any context.
 */
bool pav_owner_sure(struct pav_group *g, struct pav_waiter *w);
/* The same, asleep. False: the group is not ours any more. Process context. */
bool pav_owner_wait(struct pav_group *g);

/* Slot @slot is not to be used any more: returns when no I/O of ours goes on there. Process context. */
void pav_owner_let_go_of(struct pav_group *g, unsigned int slot);

/* Keeps a write until the lease is renewed, and then submits it, or fails it. Any context. */
void pav_owner_hold(struct pav_group *g, unsigned int slot, struct pav_io *io, u64 block, unsigned int cells, void *buf);

#endif
