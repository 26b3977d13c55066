/* SPDX-License-Identifier: GPL-2.0 */
/*
 * group (4): the drives of a media group, which of them can be trusted, and cells that survive the loss of two.
 *
 * Failure. A drive whose write fails, or that vanishes, is put into @gone at once: from then on nothing is read from it or written to it. What was
 * written meanwhile without it waits (pav_group_failure_wait) until superblocks on the others say FAILED, and is acknowledged only then (I4).
 * A third loss in any set of drives that data lies on sets @faulted: every later write is refused before it reaches a drive (I7).
 *
 * A segment *lacks* a slot whose cells of it may not be what was written: the drive was away then, or it is a new one in an old one's place (I15). Such
 * cells are treated as if the drive were gone, until they are rebuilt (background/rebuild.c). What is gone need not be lacking: it is asked for anyhow.
 */
#ifndef PAV_GROUP_H
#define PAV_GROUP_H

#include "../drive/drive.h"
#include "../engine.h"
#include "owner.h"

#define pav_fail(err, code, ...) \
	({ if (err) scnprintf((err)->text, sizeof((err)->text), __VA_ARGS__); (code); })

#define PAV_LOSSES	8u		/* kinds of losses a set tells apart */

/*
 * The drives of a segment, in column order. Sets are few: made when first met; one that nothing lies on may be given back for another. Not freed while the
 * group is open.
 */
struct pav_set {
	u64 members;			/* mask of slots */
	unsigned int index;		/* in g->sets, and in the superblock's */
	unsigned int n;
	u8 slot[PAV_MAX_DRIVES];	/* by column */
	atomic_t segments;		/* segments in use that lie on it */
	u32 picks;			/* who is about to put one there; under the group's lock */
	struct pav_set *retired;	/* given back before this one was; under the group's lock */
	struct pav_loss {		/* … that lack something: how many lack what; under the group's lock */
		u64 slots;
		u32 segments;
	} loss[PAV_LOSSES];
};

struct pav_recon;
struct pav_raid6_impl;

/* What a commit is for. */
enum pav_commit {
	PAV_COMMIT_DRIVES,		/* who is a member, and in what state */
	PAV_COMMIT_SEGMENTS,		/* and more segments for the log to write to */
	PAV_COMMIT_CHECKPOINT,		/* all of it: replay begins here */
};

struct pav_group {
	char name[PAV_NAME_MAX + 1];
	u8 uuid[16];
	u64 created;
	u32 segment_blocks, segments, data_drives, slots, reserve_percent;
	const struct pav_host_ops *ops;
	void *host;
	const struct pav_raid6_impl *impl;
	struct pav_worker *worker;	/* failures, reconstruction: may use vectors, sleeps only for commits */
	struct pav_worker *recon_worker;
	struct pav_drive drives[PAV_MAX_DRIVES];

	spinlock_t lock;		/* gone, durable_gone, lacks, faulted, drives[].state, waits, closing, sets, nsets, the pool of recons and its waiters */
	u64 gone;			/* slots not to be used: their drives have failed, or they are empty; read without the lock */
	u64 durable_gone;		/* … and the superblocks say so */
	bool closing;			/* losses are not put on record any more */
	u32 seats;			/* how often a drive has been given a slot */
	u32 losses;			/* how often a drive has gone: who works on drives for a while sees that one has, even if it is back. Read without the lock */
	u64 *lacks;			/* by segment: mask of slots; read without the lock */
	u32 lacking;			/* segments that lack anything */
	u64 leaving;			/* slots whose drives are LEAVING; read without the lock */
	atomic_t discarding;		/* segments being discarded on their drives; of drives that leave it lets go */
	bool faulted;			/* read without the lock */
	bool uneven;			/* at open: not all drives have the newest superblock */
	struct list_head waits;
	struct pav_work failure_work;
	u64 loss_ns;			/* when a drive was last lost, or the group opened */
	void (*changed)(void *ctx);	/* a failure is on record, or nothing may lie any more where something did; any context. May be NULL */
	void *changed_ctx;
	struct pav_set *sets[PAV_MAX_SETS];
	unsigned int nsets;		/* grows; read with acquire */
	struct pav_set *retired;	/* given back, for those who may look at them still */

	struct pav_scrub_mark {		/* as the superblock has it; the scrubber's to change, and of who asks for a scrub; read by commits */
		u32 left;
		u64 started, finished, healed;
	} scrub;

	struct list_head recon_free, recon_waiters;
	struct pav_recon *recons;
	unsigned int nrecons;

	struct mutex commit_lock;	/* the superblock: everything below */
	struct pav_d_superblock *sb;	/* as last committed, for no drive in particular */
	struct pav_d_superblock *sb_cells[PAV_MAX_DRIVES];	/* one for each drive */
	struct pav_io *sb_io;
	/* Puts what only the log knows (the replay list) into @sb; called with commit_lock held. Then told how the commit ended. */
	void (*fill)(void *log, struct pav_d_superblock *sb, enum pav_commit what);
	void (*filled)(void *log, enum pav_commit what, int error);
	void *log;

	struct pav_owner owner;		/* owner.h; its parts say who may touch them */

	atomic64_t healed, lost, reconstructed, commits;
};

static inline u64 pav_group_cell(const struct pav_group *g, u32 seg, u32 row)
{
	return PAV_SEGMENTS_CELL + (u64)seg * g->segment_blocks + row;
}

/* Slots whose cells of segment @seg are not to be read. Any context. */
static inline u64 pav_group_missing(const struct pav_group *g, u32 seg)
{
	return READ_ONCE(g->gone) | READ_ONCE(g->lacks[seg]);
}

/*
 * Segment @seg, in use on @set, lacks the slots of @add from now on, and those of @clear no more; not in use any more: @clear ~0. False: that was so
 * already. Any context.
 */
bool pav_group_lack(struct pav_group *g, struct pav_set *set, u32 seg, u64 clear, u64 add);
/* What the segment lacks of @slots has been rebuilt, unless a drive was lost since g->losses was @losses. False: nothing changed. */
bool pav_group_rebuilt(struct pav_group *g, struct pav_set *set, u32 seg, u64 slots, u32 losses);

bool pav_group_lacks_any(struct pav_group *g, unsigned int slot);	/* does any segment lack this slot? Any context */

/*
 * Slots whose contents should be elsewhere: of drives about to leave, or that are gone and have been for a while (pav_evacuate_delay), unless so few are
 * left that what is new must lie there too. Any context.
 */
u64 pav_group_unwanted(struct pav_group *g);

static inline void pav_group_changed(struct pav_group *g)
{
	void (*changed)(void *ctx) = READ_ONCE(g->changed);

	if (changed)
		changed(g->changed_ctx);
}

/* Makes a group in memory from superblock @sb (copied); no I/O. -ENOMEM. */
int pav_group_init(struct pav_group *g, const struct pav_d_superblock *sb, const struct pav_open_params *p);
/*
 * Of a group that is about to be freed: puts on record which drives have failed by now, as in the last commit, while all that a commit needs is still there (the
 * log, the owner's lease). Losses after this are not recorded: nothing is written any more that such a drive could miss. Process context.
 */
void pav_group_last_record(struct pav_group *g);
void pav_group_free(struct pav_group *g);	/* after its I/O has ended */

/*
 * Reads the drives' superblocks, lets the newest decide, makes @g of it (pav_group_init) and gives every member that is current its drive; the others
 * are gone. Writes nothing. Errors as pav_engine_open(). (superblock.c)
 */
int pav_group_gather(struct pav_group *g, const struct pav_drive_arg *drives, unsigned int n, const struct pav_open_params *p, struct pav_err *err);

/* Are the superblocks what pav_group_gather() found? -EAGAIN: not. Reads only. (superblock.c) */
int pav_group_unchanged(struct pav_group *g);

void pav_make_uuid(u8 *uuid);	/* a random one (version 4); 16 bytes */

/*
 * The set with these members, made if need be; it is not given back until pav_group_put_set(), or while segments lie on it. NULL: no memory, or too many sets
 * that are in use. Process context.
 */
struct pav_set *pav_group_set(struct pav_group *g, u64 members);
void pav_group_put_set(struct pav_group *g, struct pav_set *set);	/* NULL too; any context */

unsigned int pav_group_staying(const struct pav_group *g);	/* members, whether they work or not, but those that are to leave. Any context */

/* The drives a new segment is to lie on: k+2 that work; fewer when there are no more. */
u64 pav_group_members(struct pav_group *g, u32 seg);

/*
 * May new stripes go to these drives? Yes if all of them work; where so few drives are left that no stripe fits on them (2+2 without two), also
 * if at most two do not.
 */
bool pav_group_usable(struct pav_group *g, u64 members);

enum pav_loss_reason {
	PAV_LOSS_ERRED,			/* it failed a write, or too many reads, or stalls */
	PAV_LOSS_AWAY,			/* it vanished: it may come home */
	PAV_LOSS_BY_HAND,		/* the administrator wants it out */
};

/* Any context. The drive is not to be used any more: see above. Idempotent. */
void pav_group_fail_drive(struct pav_group *g, unsigned int slot, enum pav_loss_reason why_gone, const char *why);
/* Puts what has failed by now on record, in the background, and lets those go that wait for it; not once the group is closing. Any context. */
void pav_group_record_losses(struct pav_group *g);
/* The same for an I/O that failed; one to a drive that another has replaced since says nothing. */
void pav_group_io_failed(struct pav_group *g, unsigned int slot, const struct pav_io *io, const char *why);
/* A cell of it had to be rebuilt for a reader, though the drive is there. Too many within a minute (pav_error_limit), and it is failed. Any context. */
void pav_group_cell_bad(struct pav_group *g, unsigned int slot);
/* It alone has not answered for so long (pav_stall_limit): it is failed, if nothing else is missing. Any context. */
void pav_group_stalls(struct pav_group *g, unsigned int slot, unsigned int seconds);
void pav_group_verified(struct pav_group *g);	/* all that is alive was read and is right now: what was counted so far says nothing any more */
/* True: @erased is covered by superblocks already. False: @w->fn will be called when it is (or when the group is faulted). Any context. */
bool pav_group_failure_wait(struct pav_group *g, u64 erased, struct pav_waiter *w);
/* Largest number of drives gone from, or lacking in, any segment, were @gone gone. Lock held, or nobody else there. */
unsigned int pav_group_worst_loss(struct pav_group *g, u64 gone);

/*
 * Writes the superblock to every drive that works: to the older slot, with a new generation. @change may edit it first (commit_lock held).
 * @what is passed to fill. Returns when it is durable on all that are not gone; a drive that fails meanwhile is failed, and the commit done
 * again. -EIO: faulted. Process context.
 */
int pav_group_commit(struct pav_group *g, enum pav_commit what, void (*change)(void *ctx, struct pav_d_superblock *sb), void *ctx);

/*
 * Were @gone gone: is data lost, could nothing be written that survives, or are fewer left than pav_group_needed()? Then the group is faulted. Lock held,
 * or nobody else there.
 */
bool pav_group_too_few(struct pav_group *g, u64 gone);
/*
 * Without so many of those that are members, by the last commit, and no spares, nobody has the group open: k, or, where the group has become narrower, all
 * but two; and never less than most, so that of two parts of a group only one can ever go on. Two halves of four may not meet.
 */
unsigned int pav_group_needed(const struct pav_group *g);

/* ---- who sits where, while the group is open (member.c). Process context; one at a time ---- */

/*
 * Slot @slot, which has failed, is taken by the spare in slot @spare. That all segments in use lack @slot is durable. -EBUSY: it is not so any more;
 * -EIO: faulted. Ends with a commit.
 */
int pav_group_take_over(struct pav_group *g, unsigned int slot, unsigned int spare);
/* Is @dev a drive that was a member here and left by vanishing, as it was then? *@slot: its slot. -ENOENT, -EINVAL: no; errors as pav_probe(). */
int pav_group_may_return(struct pav_group *g, struct pav_dev *dev, unsigned int *slot, struct pav_err *err);
/*
 * Blank drives join: as spares, or to make the group wider by as many data drives, for which there must be room in all buffers. Their superblock slots
 * are cleared first. -ENOSPC: no slots for them; -EIO: one of them, or the group, does not work.
 */
int pav_group_join(struct pav_group *g, const struct pav_drive_arg *drives, unsigned int n, unsigned int grow, struct pav_err *err);
/* The drive in @slot is to leave, or, @on false, to stay after all. Ends with a commit. -EIO */
int pav_group_leaving(struct pav_group *g, unsigned int slot, bool on);
/* Nothing lies in @slot any more and nobody reads there: it is empty from now on. Returns the drive, NULL if it was not there, in *@dev. -EIO */
int pav_group_leave(struct pav_group *g, unsigned int slot, struct pav_dev **dev);
bool pav_group_slot_used(struct pav_group *g, unsigned int slot);	/* does any segment in use lie on it? Any context */
int pav_recon_widen(struct pav_group *g, unsigned int width);	/* room for rows of @width cells; process; -ENOMEM */

/* @dev is back in slot @slot; what it lacks is durable. -EBUSY, -EIO as above. */
int pav_group_come_home(struct pav_group *g, unsigned int slot, struct pav_dev *dev);

/*
 * Is what the drives say sure to be what this host wrote there? Not once the group is faulted, or another host may have taken it over: then a cell that
 * cannot be had says nothing about the data. Any context.
 */
static inline bool pav_group_is_ours(const struct pav_group *g)
{
	return !READ_ONCE(g->faulted) && pav_owner_holds(&g->owner);
}

/*
 * A write to a member. Refused with -EIO, like every write, once the group is faulted (I7); held back while it is not sure that the group is still ours
 * (I14). As pav_drive_io().
 */
void pav_group_write(struct pav_group *g, unsigned int slot, struct pav_io *io, u64 block, unsigned int cells, void *buf);

void pav_group_event(struct pav_group *g, enum pav_event type, int slot, u64 value, const char *text);

/* ---- cells (cell.c) ---- */

/*
 * Reads and verifies the cell at @loc into @buf (4 KiB from pav_alloc_cells), or rebuilds it from its row and heals it. The caller fills the first
 * part and keeps it until @done. @direct_failed: the caller has tried the drive and got @loc's cell wrong: go straight to rebuilding.
 */
struct pav_cell_read {
	struct pav_group *g;
	u64 loc;			/* pav_loc_ok() */
	u32 crc;
	void *buf;
	bool direct_failed;
	void (*done)(struct pav_cell_read *cr);	/* any context */
	int error;			/* 0, -EIO: cannot be rebuilt */

	struct pav_set *set;		/* of @loc */
	struct list_head link;
	struct pav_recon *recon;
	struct pav_work work;
	struct pav_io io;
};

void pav_cell_read(struct pav_cell_read *cr);	/* any context but hard interrupt */

/*
 * A cell is rewritten after its reader has what he wanted. Returns when every rewriting that readers who have left by now caused is over: only then
 * may cells be used again. Process context.
 */
void pav_group_wait_heals(struct pav_group *g);

/* For who can wait, one cell at a time. */
struct pav_cell_asleep {
	struct pav_cell_read cr;
	struct completion done;
};

/*
 * @cell is what somebody has read at @loc. If its sum is not @crc, reads it again, or rebuilds it, into @cell. False: it cannot be had. Process context.
 */
bool pav_cell_make_right(struct pav_cell_asleep *a, struct pav_group *g, u64 loc, u32 crc, void *cell);

/* Is @loc a place that can be? What holds locations is protected by sums; this is for the code's own mistakes. */
static inline bool pav_loc_ok(const struct pav_group *g, u64 loc)
{
	const struct pav_set *set;

	if (pav_loc_set(loc) >= smp_load_acquire(&g->nsets) || pav_loc_seg(loc) >= g->segments || pav_loc_row(loc) >= g->segment_blocks)
		return false;
	set = g->sets[pav_loc_set(loc)];
	return pav_loc_col(loc) < set->n && pav_loc_c0(loc) < set->n && pav_loc_width(loc) <= set->n;
}

/* The slot a location's cell is on. */
static inline unsigned int pav_loc_slot(const struct pav_group *g, u64 loc)
{
	return g->sets[pav_loc_set(loc)]->slot[pav_loc_col(loc)];
}

int pav_recon_pool_init(struct pav_group *g);
/* Cells are healed after their readers have been answered: waits for the last of it. Process context. */
void pav_recon_pool_drain(struct pav_group *g);
void pav_recon_pool_free(struct pav_group *g);

#endif
