/* SPDX-License-Identifier: GPL-2.0 */
/*
 * map (2): volume LBA -> location and checksum.
 *
 * Per volume a tree: leaves of 256 entries (1 MiB of the volume each), above them interior nodes of 512 numbers. Nodes are named by number; the node
 * table, itself a tree of fixed depth rooted in the superblock, says where on the drives a node's last checkpointed image lies. A node without an
 * image is all zero.
 *
 * All blocks of the map live in one bounded cache of slots (cache.c). Slots are allocated at open and never freed before close, so a reader may look
 * at one without holding it: it reads, then checks by @ident that the slot still was what it took it for. Reads therefore take no lock (read.c).
 *
 * A write is admitted before it is logged: its leaf is in memory, pinned, and counted against the limit of nodes that may be dirty; its range of the
 * leaf is marked busy, and whoever overlaps waits. So when its stripe is durable, applying it needs nothing that could fail; and the order of two
 * overlapping writes is the same here and in replay (I3).
 *
 * A checkpoint takes the state as it is at one sequence number (I5): nodes dirty then are marked @ckpt, and a node that is to change before its image
 * is copied leaves a copy of the old image in @shadow.
 */
#ifndef PAV_MAP_H
#define PAV_MAP_H

#include "../log/log.h"

#define PAV_TABLE_KEY(level, index)	((u64)((level) + 1) << 56 | (index))
#define PAV_KEY_LEVEL(key)		((int)((key) >> 56) - 1)	/* -1: no block of the node table, but a node */
#define PAV_KEY_INDEX(key)		((key) & ((1ULL << 56) - 1))	/* the node's number, or the block's index in its level */
#define PAV_BUSY_LOC			(~0ULL)		/* an entry that is being changed right now */
#define PAV_SHADOWS			64u
#define PAV_REPAIRS			16u
#define PAV_HASH_LOCKS			64u
#define PAV_READER_LANES		16u

#define PAV_MIN_CREDIT			64	/* cells users are given at once */
#define PAV_MAX_CREDIT			1024	/* … and may save up */

enum pav_node_state { PAV_NODE_FREE, PAV_NODE_LOADING, PAV_NODE_VALID };

struct pav_map;

struct pav_node {
	struct pav_map *map;
	u64 key;			/* node number, or PAV_TABLE_KEY() */
	struct pav_node *hnext;		/* read without a lock; written with the bucket's */
	u32 ident;			/* changes whenever the slot becomes another node: odd while it is none */
	u8 state;			/* with the bucket's lock */
	u8 referenced;			/* clock bit; a hint */
	int error;			/* it could not be read */
	atomic_t pins;			/* raised from 0 only with the bucket's lock */
	struct list_head waiters;	/* for the load; with the bucket's lock */
	struct pav_waiter let_go;	/* of the loader's pin, behind them */
	unsigned int ticket;		/* of the load, which is a reader too */
	struct pav_cell_read cr;

	spinlock_t lock;		/* data, busy, blocked, writers, dirty … claimed */
	u8 *data;			/* 4 KiB */
	u8 *shadow;			/* image as of the checkpoint under way, if @data has moved on */
	bool dirty, ckpt, claimed, dead;
	bool staged;			/* its image is on its way, the node table does not tell its new place yet */
	unsigned int writers, movers;	/* requests admitted: users', and the garbage collector's */
	struct list_head dirty_link;	/* map->dirty, map->ckpt or map->tdirty[]; with map->dirty_lock */
	DECLARE_BITMAP(busy, 256);
	struct list_head blocked;	/* requests that wait for a range */
};

struct pav_volume {
	struct pav_map *map;
	unsigned int id;
	u8 state;			/* enum pav_volume_state; control lock */
	bool dirty;			/* its record must be in the next checkpoint */
	bool snapped;			/* … in the checkpoint under way */
	u32 birth;
	u64 cells;
	u64 top;			/* root and depth in one word: PAV_TOP(); tree_lock to change, read without */
	atomic64_t mapped;
	u64 top_snap, cells_snap, mapped_snap;	/* as of the checkpoint under way */
	u8 state_snap;
	spinlock_t tree_lock;		/* top, and new children anywhere in the tree */
	struct pav_volume_ident ident;
	u16 props_bytes;
	char props[3584];
	void *host;
	atomic64_t reads, writes, unmaps, read_cells, write_cells;
};

/* The root's number (0: nothing mapped) and the number of interior levels above the leaves. */
#define PAV_TOP(root, depth)	((u64)(depth) << 60 | (root))
#define PAV_TOP_ROOT(top)	((top) & ((1ULL << 60) - 1))
#define PAV_TOP_DEPTH(top)	((unsigned int)((top) >> 60))

struct pav_repair;

struct pav_map {
	struct pav_group *g;
	struct pav_log *log;
	struct pav_worker *worker;	/* calls back who waited */
	struct pav_work ready_work, repair_work;

	/* cache */
	struct pav_node *slots;
	unsigned int nslots, hand;
	struct pav_node **bucket;
	unsigned int buckets;		/* a power of two */
	spinlock_t hash_lock[PAV_HASH_LOCKS];
	spinlock_t lock;		/* hand, ready, room, claims, turns, repair lists */
	struct list_head ready;		/* waiters to be called back */
	struct list_head room, claims;	/* waiters for a slot, for a claim */
	atomic_t room_events;		/* times a slot may have become free */
	unsigned int turns;		/* requests that may still begin to load their way down a tree; with lock */
	struct list_head turn_waiters;
	atomic_t claimed;		/* nodes dirty or about to be */
	atomic64_t node_room;		/* nodes that may still be made before the next checkpoint */
	bool no_node_room;		/* … and the last one found room for none */
	int stuck;			/* why the last checkpoint failed (-errno): no room will come of waiting */
	unsigned int claim_limit;
	atomic_t held;			/* nodes with writers. What they wait for may be what moving cells brings: so that has claims left to it */
	unsigned int held_limit;

	spinlock_t dirty_lock;
	struct list_head dirty, ckpt, tdirty[PAV_TABLE_LEVELS];
	unsigned int tdirty_count;	/* the checkpoint's own */
	u8 *shadow[PAV_SHADOWS];	/* with dirty_lock */
	unsigned int shadows;

	struct pav_d_entry root;	/* of the node table; the checkpoint's own */
	atomic64_t next_node;
	struct pav_volume *volumes[PAV_MAX_VOLUMES];

	u64 capacity;			/* cells that may be mapped; the checkpoint's word */
	atomic64_t mapped, promised;	/* cells that are, in all volumes; and that requests on their way may add */

	struct list_head deferred;	/* requests that wait until users may have a segment again; lock */
	bool paced;			/* the garbage collector is behind: users' writes go by what it wins; changed with lock */
	s64 credit;			/* cells they may write until it wins more; lock */
	struct list_head slow;		/* writes that wait for that; lock */
	struct list_head unmaps;	/* without room in the log: applied at the next checkpoint's freeze, acknowledged with its commit; lock */

	struct list_head repair_free, repair_reqs;	/* lock */
	struct pav_repair *repairs;

	unsigned int epoch;		/* readers: which count to use */
	struct { atomic_t n[2]; u8 pad[56]; } readers[PAV_READER_LANES];

	atomic_t coming;		/* moves that are neither in the log yet nor turned away: the stream waits for them */

	void (*want_checkpoint)(void *ctx);
	void *ctx;

	atomic64_t misses, evictions, retries, mismatches;
};

int pav_map_init(struct pav_map *map, struct pav_group *g, struct pav_log *log, const struct pav_open_params *p);
void pav_map_free(struct pav_map *map);
extern const struct pav_log_ops pav_map_log_ops;	/* with .ctx to be set */

/* ---- cache (cache.c) ---- */
int pav_cache_init(struct pav_map *map, unsigned int slots);
void pav_cache_free(struct pav_map *map);

/* The node, pinned; or NULL, and @w is called back when it is worth asking again. ->error may be set. Any context but hard interrupt. */
struct pav_node *pav_node_get(struct pav_map *map, u64 key, struct pav_waiter *w);
/* The same, asleep. Process context. NULL never; look at ->error. */
struct pav_node *pav_node_get_wait(struct pav_map *map, u64 key);
void pav_node_put(struct pav_map *map, struct pav_node *n);
/*
 * The same for who held it but for a look. Nobody who waits for a slot is told: walks that wait would wake one another for ever. Holders of every other
 * kind tell, and slots that nobody holds are more than there can be looks at once.
 */
static inline void pav_node_put_look(struct pav_node *n)
{
	atomic_dec(&n->pins);
}
/* Makes node @key, known to be nowhere, all zero; pinned. NULL: no slot now. Any context. */
struct pav_node *pav_node_new(struct pav_map *map, u64 key);
/* A look without a pin; *@ident to be compared with READ_ONCE(n->ident) after reading from it. NULL: not there, or not sure. */
struct pav_node *pav_node_peek(struct pav_map *map, u64 key, u32 *ident);
/*
 * Loading a path takes several slots, one after the other. Were all to do it at once in a small cache, each would lose the first for the sake of another's
 * last. So only so many have a turn. False: @w will be called back with the turn taken.
 */
bool pav_map_turn(struct pav_map *map, struct pav_waiter *w);
void pav_map_turn_over(struct pav_map *map);
/* Parks @w until there may be a claim to be had, and asks for the checkpoint that brings it. */
void pav_map_wait_claim(struct pav_map *map, struct pav_waiter *w);
/* Parks @w until fewer nodes are held by writers. */
void pav_map_wait_hold(struct pav_map *map, struct pav_waiter *w);
void pav_map_set_node_room(struct pav_map *map, u64 nodes);	/* the checkpoint's word on it */
/* Parks @w until the garbage collector has won a segment for users, or given up. */
void pav_map_wait_segment(struct pav_map *map, struct pav_waiter *w);
/*
 * Users' pace. While the garbage collector is behind, it gives out what they may write, in cells; what it does not give waits in line, holding nothing.
 * Whoever has begun to give must end it by pav_map_run_free(). Any context.
 */
void pav_map_give(struct pav_map *map, u64 cells);
void pav_map_run_free(struct pav_map *map);
/* May this write go on? False: it will be called back. */
bool pav_map_pace(struct pav_map *map, struct pav_req *req);
void pav_map_room(struct pav_map *map);			/* there may be a claim, a slot or a segment: calls back who waits */
void pav_map_call_back(struct pav_map *map, struct pav_waiter *w);	/* from the map's worker */
/* Counts @n among the nodes that are or will be dirty; false: the limit is reached. Node's lock held. */
bool pav_node_claim(struct pav_map *map, struct pav_node *n);
/* The same for the nodes that growing or deleting a volume changes: writes leave it pav_map_control_claims(), or it might never get any among them. */
bool pav_node_claim_control(struct pav_map *map, struct pav_node *n);
/* At least what the growth of one volume needs; a few dozen, so that a deletion takes fewer checkpoints. */
static inline unsigned int pav_map_control_claims(const struct pav_map *map)
{
	return clamp_t(unsigned int, map->claim_limit / 16, 4, 64);
}
/* Claims that writes and moves may take in all, and now. */
static inline unsigned int pav_map_write_claims(const struct pav_map *map)
{
	return map->claim_limit - pav_map_control_claims(map);
}
static inline unsigned int pav_map_claims_left(const struct pav_map *map)
{
	unsigned int taken = atomic_read(&map->claimed), all = pav_map_write_claims(map);

	return all - min(all, taken);
}
/* Node's lock held. True: there is a claim to be had, tell by pav_map_room(). */
bool pav_node_unclaim_if_idle(struct pav_map *map, struct pav_node *n);
/* To be called before @n's data is changed, node's lock held, claimed. False: no shadow left, ask again after room. Marks it dirty. */
bool pav_node_change(struct pav_map *map, struct pav_node *n);

/* ---- requests (read.c, write.c) ---- */
void pav_map_read(struct pav_req *req);
void pav_map_write(struct pav_req *req);	/* and unmap */
/* Applies what could not go through the log; while frozen, process context. Returns them in @done, to be acknowledged after the commit. */
void pav_map_apply_unmaps(struct pav_map *map, struct list_head *done);
void pav_map_take_unmaps(struct pav_map *map, struct list_head *list);	/* … that wait, not applied */
bool pav_map_unmaps_wait(struct pav_map *map);		/* are there any that wait? */
void pav_map_unmaps_done(struct list_head *done, int error);
/*
 * A reader holds what it found in the map: no segment is used again before it has left. Any context. Returns what pav_map_leave() wants to know.
 */
unsigned int pav_map_enter(struct pav_map *map);
void pav_map_leave(struct pav_map *map, unsigned int ticket);
/* Waits until every reader that had entered has left. Process context. */
void pav_map_wait_readers(struct pav_map *map);

/* Where cell @lba lies: location (0: nowhere, or the map cannot be read), sum and birth. Process context. */
u64 pav_map_lookup(struct pav_volume *vol, u64 lba, u32 *crc, u32 *birth);
/*
 * For the garbage collector. @n moves will come: they go to their stream together, to fill stripes, however late the map's nodes for some of them are loaded. Who
 * must wait for a claim is not waited for.
 */
void pav_map_begin_moves(struct pav_map *map, unsigned int n);
/* @m: vol, lba, buf, loc, birth and req.done are set. Ends as a write does; -ESTALE: it lies elsewhere by now, or will soon. */
void pav_map_move(struct pav_move *m);
/* Counts cells of @vol that are mapped. */
static inline void pav_map_mapped(struct pav_volume *vol, s64 delta)
{
	atomic64_add(delta, &vol->mapped);
	atomic64_add(delta, &vol->map->mapped);
}

/* Sets (@loc 0: clears) the entries of @n cells from @lba on: replay's way. Process context, no requests run. -ENOSPC: a checkpoint must make room
 * in the cache first; -EIO.
 */
int pav_tree_set(struct pav_volume *vol, u64 lba, unsigned int n, u64 loc, u32 crc, u32 birth);

/* ---- volumes (volume.c) ---- */
struct pav_volume *pav_volume_alloc(struct pav_map *map, unsigned int id);
void pav_volume_snapshot(struct pav_volume *vol);	/* while frozen */
void pav_volume_encode(struct pav_volume *vol, struct pav_d_volume *d);	/* as of the snapshot */
int pav_volume_decode(struct pav_map *map, unsigned int id, const struct pav_d_volume *d, const char **why);
unsigned int pav_tree_depth(u64 cells);
/* Makes the tree deep enough for @cells, requests running or not; checkpoints are kept out by the caller. -EAGAIN: one must
 * make room in the cache first. Process context.
 */
int pav_tree_deepen(struct pav_volume *vol, u64 cells);
/* Frees up to @nodes nodes of a volume that is being deleted. 1: more to do, 0: all gone. Checkpoints are kept out by the caller. */
int pav_tree_free_some(struct pav_volume *vol, unsigned int nodes);

#endif
