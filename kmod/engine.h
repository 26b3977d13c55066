/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The engine as its hosts see it: volume/ (block devices), control/ (netlink) and the simulator use this and nothing below it.
 *
 * One struct pav_engine is one open media group. Control calls (create, open, close, pav_volume_*) run in process context and are serialised by
 * the engine; each returns when its effect is durable. Requests (pav_submit) may come from any number of CPUs at once.
 */
#ifndef PAV_ENGINE_H
#define PAV_ENGINE_H

#include "env/env.h"
#include "uapi/pav_netlink.h"

struct pav_engine;
struct pav_volume;

/* Settings, of all groups; they may be changed at any time. */
extern bool pav_repair;				/* spares take over by themselves */
extern unsigned int pav_rebuild_rate_min;	/* MiB/s read from each drive by rebuilds and scrubs while others use the group; 0: no limit */
extern unsigned int pav_rebuild_rate_max;	/* … while nobody does */
extern unsigned int pav_evacuate_delay;		/* seconds that a drive is gone, with no spare for it, before what lies on it is moved to the others */
extern unsigned int pav_error_limit;		/* a drive of which more cells than this had to be healed for readers within a minute is failed; 0: never */
extern unsigned int pav_stall_limit;		/* beats of the owner stamp, seconds, that a drive alone may leave out before it is failed, at least 3; 0: never */

/* Why a call was refused, for a person: names the object, the reason and the remedy. Filled whenever a call that takes one fails. */
struct pav_err {
	char text[200];
};

/* Upcalls; any context; must not sleep. @slot -1: no drive meant. @volume NULL: none meant. */
struct pav_host_ops {
	void (*event)(void *host, enum pav_event type, const char *volume, int slot, u64 value, const char *text);
	/* The engine uses @dev no more, though the group stays open. Process context; may be NULL. */
	void (*release)(void *host, struct pav_dev *dev);
};

/* Somebody who waits for something and is called back, from a worker, when it may be there. */
struct pav_waiter {
	struct list_head link;
	void (*fn)(struct pav_waiter *w);
};

/* ---- requests ---- */

enum pav_req_op { PAV_READ, PAV_WRITE, PAV_UNMAP };	/* UNMAP serves discard and write-zeroes: what was unmapped reads back zero */

#define PAV_REQ_MAX_CELLS	256u	/* a request never crosses a multiple of this LBA: one leaf of the map serves it */

/*
 * One request. The host fills the first part, and keeps it until @done. A request lies within its volume and does not cross a 1 MiB boundary
 * (PAV_REQ_MAX_CELLS). A write is acknowledged when it is durable and redundant.
 */
struct pav_req {
	struct pav_volume *vol;
	u64 lba;				/* in cells */
	unsigned int cells;			/* 1…PAV_REQ_MAX_CELLS */
	enum pav_req_op op;
	void (*done)(struct pav_req *req);	/* any context */
	int error;				/* 0, -ENOSPC, -EIO (data lost or group faulted), valid in @done */
	struct pav_req_env env;			/* the host's part: its bio, its buffer */

	/* the engine's part */
	struct pav_waiter wait;			/* map: for a node, room, its range of LBAs, or the lease */
	bool walking;				/* map: holds one of the turns to load nodes */
	u16 promised;				/* map: cells that were not mapped, held against the group's capacity */
	struct list_head link;			/* log: the stream's queue */
	struct llist_node llink;		/* log: on its way to a stream */
	struct pav_node *leaf;			/* write, unmap: pinned from admission to completion */
	unsigned int vol_id;
	unsigned int hint;			/* log: which stream; read: which reader count */
	unsigned long repair[256 / 64];	/* read: cells that the direct way did not deliver */
	atomic_t pending;			/* cells (unmap: 1) or reads not yet done */
	unsigned int next;			/* log: the next cell to put into a stripe */
	u32 *crc;				/* read: room for @cells sums, given by the host; may be NULL for other ops */
};

void pav_submit(struct pav_req *req);		/* any context but hard interrupt; never fails, @done tells */

/* ---- groups ---- */

struct pav_create_params {
	char name[PAV_NAME_MAX + 1];
	unsigned int data_drives;		/* k; 0: all drives that are no spares, less two */
	u64 segment_blocks;			/* of one segment on one drive, in cells; 0: the default (1,024) */
	unsigned int reserve_percent;		/* 0: the default (15) */
};

struct pav_drive_arg {
	struct pav_dev *dev;
	bool spare;				/* create only */
};

struct pav_open_params {
	unsigned int streams;			/* log streams for user data, 1…8; 0: 2 */
	unsigned int cache_nodes;		/* nodes of the map held in memory (4 KiB each); 0: 16,384; at least 64 */
	const char *expect_name;		/* refuse another group; may be NULL */
	bool no_discard;			/* segments that are free again are not discarded on the drives */
	u8 host_id[16];				/* of this machine, over its reboots; 0: not known, after a crash the group is watched before it is opened */
	u8 boot_id[16];				/* of its present life: another at each boot */
	const char *host_name;			/* for people; may be NULL */
	bool takeover;				/* another host that has the group open is cut off, rather than this one refused */
	unsigned int heartbeat_ms;		/* of the owner stamp; 0: 1,000 */
	const struct pav_host_ops *ops;
	void *host;
};

/* What a drive's superblock says. */
struct pav_probe {
	char group[PAV_NAME_MAX + 1];
	u8 group_uuid[16], drive_uuid[16];
	unsigned int slot, data_drives, drives;	/* @drives: slots in use */
	unsigned int expected;			/* drives, spares too, that had not failed when this superblock was written */
	enum pav_drive_state state;		/* by its own newest superblock */
	u64 generation;
	bool owned;				/* by its owner stamp, a host has the group open, or had and died; the rest tells of it */
	char owner[PAV_NAME_MAX + 1];
	u8 owner_id[16];
	u64 owner_since, owner_seen;		/* by that host's clock, seconds since 1970: opened; this stamp written */
};

/* Process context, all of them. -EBUSY: another host has the group open. -EINVAL: bad input, -ENOENT: no superblock, -EUCLEAN: corrupt, -EOPNOTSUPP: a feature this code does not know,
 * -ENOMEDIUM: too few drives, -ENOMEM, -EIO. The caller keeps the drives open until pav_engine_close().
 */
int pav_probe(struct pav_dev *dev, struct pav_probe *out, struct pav_err *err);
int pav_engine_create(const struct pav_drive_arg *drives, unsigned int n, const struct pav_create_params *p, struct pav_err *err);
int pav_engine_open(const struct pav_drive_arg *drives, unsigned int n, const struct pav_open_params *p, struct pav_engine **out, struct pav_err *err);
int pav_engine_close(struct pav_engine *e, struct pav_err *err);	/* no request may be in flight. Always closes; an error says the checkpoint failed */
/*
 * Destroys the superblocks of drives that are in no open group. A drive that is gone keeps its own: the log says so, it is no error. The others are
 * wiped even if one of them refuses; then its error is returned.
 */
int pav_engine_wipe(const struct pav_drive_arg *drives, unsigned int n, struct pav_err *err);
int pav_engine_checkpoint(struct pav_engine *e);
int pav_engine_fail_drive(struct pav_engine *e, unsigned int slot, struct pav_err *err);
/*
 * Blank drives join: as spares, or to make the group wider, one data drive for each. -EBUSY: one holds a superblock. The host keeps them open from now on.
 */
int pav_engine_add(struct pav_engine *e, const struct pav_drive_arg *drives, unsigned int n, struct pav_err *err);
/*
 * The drive in @slot is to leave: what lies on it is moved, then its slot is empty, and the host is told (release, and an event). A spare, or a failed
 * drive that nothing lies on, goes at once. -ENOSPC: the others could not hold what is written.
 */
int pav_engine_remove(struct pav_engine *e, unsigned int slot, struct pav_err *err);
/*
 * A spare takes the place of the drive in @slot, which is failed if it still works; rebuilding goes on in the background. @spare: its slot, or -1.
 * @dev: what the caller found in @slot. -EBUSY: another drive has that place by now, a spare by itself, perhaps.
 */
int pav_engine_replace(struct pav_engine *e, unsigned int slot, const struct pav_dev *dev, int spare, struct pav_err *err);
/* A member that had vanished is back: what it missed is rebuilt in the background. The host keeps @dev open from now on. */
int pav_engine_return(struct pav_engine *e, struct pav_dev *dev, struct pav_err *err);
/* The host saw the drive vanish (hot-unplug): as if it had failed an I/O. Any context. */
void pav_engine_drive_gone(struct pav_engine *e, struct pav_dev *dev);

struct pav_group_info {
	char name[PAV_NAME_MAX + 1];
	u8 uuid[16];
	enum pav_group_state state;
	unsigned int data_drives, drives, failed, reserve_percent;
	unsigned int missing;			/* so many drives that segment does without which does without most: two, and it bears no further loss */
	u64 segment_blocks, capacity_cells, used_cells, free_cells, provisioned_cells, generation, stripe_seq;
};

struct pav_drive_info {
	u8 uuid[16];
	enum pav_drive_state state;
	struct pav_dev *dev;			/* NULL: not there */
	char path[64];				/* where it was last seen */
	u64 blocks, reads, writes, read_cells, write_cells, errors, healed;
};

/* What goes on in the background, or did last. */
struct pav_task_info {
	bool running;
	u64 done, total;			/* segments */
	u64 rebuilt, healed, lost;		/* cells written that a drive lacked; that were wrong; stripes beyond repair */
	u64 started, finished;			/* seconds since 1970; @finished < @started: it has not come to its end */
	u64 seconds, rate;			/* how long it has been at work; bytes a second read and verified */
};

void pav_engine_tasks(struct pav_engine *e, struct pav_task_info *rebuild, struct pav_task_info *scrub);
/* Reads and verifies everything in use, in the background, healing what is wrong; goes on where an interrupted one was. @on false: stops it for good. */
int pav_engine_scrub(struct pav_engine *e, bool on, struct pav_err *err);
void pav_engine_info(struct pav_engine *e, struct pav_group_info *out);
int pav_engine_drive_info(struct pav_engine *e, unsigned int slot, struct pav_drive_info *out);	/* -ENOENT: empty slot */

/* Counters by name, for control/ and the simulator's report: calls @fn for each. */
void pav_engine_counters(struct pav_engine *e, void (*fn)(void *ctx, const char *name, u64 value), void *ctx);

/* ---- volumes ---- */

struct pav_volume_ident {
	char name[PAV_NAME_MAX + 1];
	char serial[PAV_SERIAL_MAX + 1];
	u8 uuid[16], nguid[16];
};

struct pav_volume_info {
	struct pav_volume_ident ident;
	unsigned int id;			/* 0…PAV_MAX_VOLUMES - 1 */
	u64 cells, mapped_cells;
	u64 reads, writes, unmaps, read_cells, write_cells;
};

int pav_volume_create(struct pav_engine *e, const struct pav_volume_ident *ident, u64 cells, struct pav_volume **out, struct pav_err *err);
/* No request may be in flight and none may follow. @vol is dead on success. */
int pav_volume_delete(struct pav_engine *e, struct pav_volume *vol, struct pav_err *err);
int pav_volume_grow(struct pav_engine *e, struct pav_volume *vol, u64 cells, struct pav_err *err);
int pav_volume_rename(struct pav_engine *e, struct pav_volume *vol, const char *name, struct pav_err *err);
/* @value NULL or "": remove */
int pav_volume_set_prop(struct pav_engine *e, struct pav_volume *vol, const char *key, const char *value, struct pav_err *err);
/* Calls @fn for each property, under the engine's control lock. */
void pav_volume_props(struct pav_engine *e, struct pav_volume *vol, void (*fn)(void *ctx, const char *key, const char *value), void *ctx);
void pav_volume_info(struct pav_volume *vol, struct pav_volume_info *out);
struct pav_volume *pav_volume_by_id(struct pav_engine *e, unsigned int id);	/* NULL: none. Process context; stable while nobody deletes it */
void *pav_volume_host(struct pav_volume *vol);					/* the host's own pointer, NULL at first */
void pav_volume_set_host(struct pav_volume *vol, void *host);

#endif
