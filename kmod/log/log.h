/* SPDX-License-Identifier: GPL-2.0 */
/*
 * log (3): segments, and the stripes appended to them.
 *
 * User data goes through one of a few streams, each with a worker, an open segment and a pool of stripes; metadata through a stream of its own.
 * A request is pushed to a stream without a lock. The worker (or, of lone requests, the submitter) gathers what waits into a stripe (group commit),
 * encodes it, and writes every column with one I/O. When all columns are durable the map is told (ops->applied), cell by cell, then the requests complete.
 *
 * Group commit: with nothing in flight whatever waits is written at once; otherwise a stripe waits until it fills rows, as many as stripes are in flight,
 * or a stripe has come back.
 */
#ifndef PAV_LOG_H
#define PAV_LOG_H

#include "../group/group.h"

#define PAV_MAX_STREAMS		8u		/* for user data; one more for metadata */
#define PAV_STRIPES_PER_STREAM	6u
#define PAV_FULL_ROWS		4u		/* the more stripes are in flight, the more rows the next one waits to fill, up to so many */
#define PAV_GC_SEGMENTS		1u		/* of those reserved, left to the garbage collector */
#define PAV_RESERVE_MAX		12u		/* segments reserved at a time, at most */
#define PAV_META_SPREAD		3u		/* metadata may spread over so many times what is alive of it */
#define PAV_ALONE_MIN		4u		/* requests that came alone, before they are issued by who brings them */
#define PAV_ALONE_PROBE		64u		/* … of which each so-manieth goes to the worker */
#define PAV_SEQ_JUMP		(1 << 20)	/* at open: more stripes than a log can have written past the last one that replay takes */
#define PAV_REPLAY_WINDOW	128u		/* rows a stream may be ahead of its oldest stripe in flight: how far replay must look past a hole */

/* In memory only: FREE, and in the replay list; FREE, and being discarded. */
enum { PAV_SEG_RESERVED = PAV_SEG_META + 1, PAV_SEG_DISCARDING };

struct pav_segment {
	struct pav_set *set;		/* of DATA and META segments */
	atomic_t live;			/* cells the map points to */
	atomic_t dead;			/* closed data segment, and nothing is alive in it any more: counted in log->dead */
	u8 state;			/* enum pav_segment_state, under log->lock */
	bool open;			/* a stream writes to it */
	bool stale;			/* FREE, and the drives still carry what it held */
	bool early;			/* FREE, and the last checkpoint does not know it */
	bool replaying;			/* replay may need what is in it: not to be used again before the checkpoint that ends replay */
	bool held;			/* somebody works on it: not to be freed */
	bool prepared;			/* META, set aside for the checkpoint under way, nothing in it yet */
	u64 seq;			/* when it was opened */
};

/* A request of the checkpoint: one node, written by the metadata stream. */
struct pav_node_write {
	struct pav_req req;		/* op PAV_REQ_NODE, lba: node number, cells 1 */
	const void *buf;		/* stable until done */
	void *ctx;
	u64 loc;			/* where it went */
	u32 crc;
};
#define PAV_REQ_NODE	(PAV_UNMAP + 1)

/* A request of the garbage collector: a cell of user data goes elsewhere, as it is. */
struct pav_move {
	struct pav_req req;		/* op PAV_REQ_MOVE, cells 1 */
	const void *buf;		/* stable until done */
	u64 loc;			/* where it lies: is that not so any more when its turn comes, then it is not moved, -ESTALE */
	u32 birth;			/* remains what it was */
	bool coming;			/* the stream waits for it; the map's own */
	void *ctx;
};
#define PAV_REQ_MOVE	(PAV_UNMAP + 2)

struct pav_stream;

struct pav_stripe {
	struct list_head link;		/* stream->free, or stream->flight in order of issue */
	struct pav_stream *stream;
	struct pav_set *set;
	u64 seq;
	u32 seg, row, c0, width, rows, cells;
	atomic_t pending;
	u64 erased;			/* columns (by position in the stripe) that were not written; set with the stream's lock */
	u64 erased_slots;
	struct pav_waiter wait;
	unsigned int entries;
	u8 *col[PAV_MAX_DRIVES];	/* data columns, then P, Q; max_rows cells each */
	struct pav_io io[PAV_MAX_DRIVES];
	const void *src[PAV_STRIPE_MAX_CELLS + PAV_STRIPE_MAX_ROWS];
	u32 crc[PAV_STRIPE_MAX_CELLS + PAV_STRIPE_MAX_ROWS];
	struct pav_stripe_ref {
		struct pav_req *req;
		u64 lba;
		u16 cell;		/* first cell of the run; 0: an unmap */
		u16 count;
	} ref[PAV_STRIPE_ENTRIES];	/* one for each run of cells of one request */
	unsigned int refs, next_ref;	/* next_ref: the first that is not applied yet */
};

struct pav_log;

struct pav_stream {
	struct pav_log *log;
	bool meta, gc;
	struct pav_worker *worker;
	struct pav_work work;
	struct llist_head incoming;

	struct mutex turn;		/* to issue stripes: what follows, up to @lock, and @alone to change */
	struct list_head queue;
	u64 queued_cells;
	bool has_seg;
	u32 seg, row;			/* next row to use */
	u32 band_row, band_rows, band_c0, band_used;	/* the row band narrow stripes share; band_used columns taken */
	struct pav_set *set;
	unsigned int alone;		/* stripes in a row that had one request, and nothing was in flight; a hint to who has no turn */

	spinlock_t lock;		/* free, flight, flights, drain */
	struct list_head free, flight;
	unsigned int flights;
	bool drain;
	struct completion drained;
	bool wants;			/* something is queued that waits for a stripe to come back; hint */
	bool more;			/* whoever fills it, the checkpoint or the garbage collector, is about to send more: wait for a whole stripe */
	struct pav_stripe *stripes;
};

/* A segment that may hold stripes newer than the last checkpoint. See format.h, struct pav_d_replay. */
struct pav_replay_seg {
	u32 seg;
	u32 row, row_new;		/* from where, as of the last and of the next checkpoint */
	struct pav_set *set, *next_set;	/* @next_set: the commit's under way */
	bool opened, closed;
	bool drop, fresh;		/* leaves the list with the checkpoint under way; enters it with the commit under way */
	bool renewed;			/* the last checkpoint knows of an earlier use of it, if of any */
	bool ready;			/* the superblocks list it, with this set: stripes may be written to it */
};

struct pav_log_ops {
	/*
	 * Cells of @st from @cell on became durable: @n of them for @req, first LBA @lba. Or an unmap (@cell 0, @n cells). Any context.
	 * False: not now (the checkpoint has not copied the node yet): again after pav_log_unpark().
	 */
	bool (*applied)(struct pav_req *req, const struct pav_stripe *st, u64 lba, unsigned int cell, unsigned int n);
	/* The same portion of @req failed: nothing was applied. Any context. */
	void (*failed)(struct pav_req *req, unsigned int n, int error);
	/* No segment for @req now, nothing of it is issued: let go of what it holds, and send it again when users are not starved any more. As above. */
	void (*deferred)(struct pav_req *req);
	/* No room for @req, an unmap: do it without the log. With the stream's turn. */
	void (*unmap_direct)(struct pav_req *req);
	void (*want_segments)(void *ctx, bool needed);	/* more for the replay list; @needed: there is none left. Any context */
	void (*want_space)(void *ctx);		/* segments become few: the garbage collector is to work. Any context */
	void *ctx;
};

struct pav_log {
	struct pav_group *g;
	const struct pav_log_ops *ops;
	struct pav_segment *seg;
	u8 *seg_dirty;			/* by node of the segment table: must be in the next checkpoint */
	u32 seg_nodes;
	u64 log_id;
	u32 birth;			/* number of the checkpoint that will hold what is written now */
	atomic64_t seq;			/* of the newest stripe */
	unsigned int max_rows;		/* of a stripe */
	unsigned int nstreams;		/* for data, the last of them for what is moved; streams[nstreams] is the metadata stream */
	struct pav_stream streams[PAV_MAX_STREAMS + 2];
	bool frozen;
	bool starved;			/* no segment is left for users, and none is free: only the garbage collector can help */
	bool full;			/* … and it cannot */
	bool more_wait;			/* users' writes are let go on as the garbage collector wins room for them, and some are not let go yet */

	spinlock_t lock;		/* seg[].state, free, cursor, replay list, parked */
	u32 free, cursor;
	u32 early;			/* of the free ones: the last checkpoint does not know it. Whoever opens the group finds so many less */
	u32 dying;			/* segments that are free once the commit under way is made */
	atomic_t dead;			/* data segments nothing is alive in, free with the next checkpoint; about */
	u32 meta_segs, meta_ready;	/* metadata segments; those of them that are prepared */
	atomic64_t meta_live;		/* cells of metadata that are alive */
	bool meta_wanted;		/* the garbage collector wants what metadata lies on beyond its share (pav_log_want_meta) */
	bool gc_borrows;		/* the garbage collector may have one segment that is left to metadata (pav_log_gc_borrow) */
	u32 meta_margin, meta_worst;	/* rows the largest checkpoint may take; and were as many more drives lost as may be (pav_log_set_margin) */
	struct pav_replay_seg replay[2 * PAV_REPLAY_MAX];	/* those that the checkpoint under way drops are among them */
	unsigned int replays, replay_most;	/* how many of them, and how many there are before a checkpoint shortens the list */
	bool listed;			/* the superblocks have the list of this opening: the checkpoint that ended replay is committed */
	unsigned int reserve_target, reserved;	/* how many of them are to be unopened; how many the last commit that was to add some did add */
	bool unlogged;			/* cells have died since the last snapshot that no replay would find dead */

	struct list_head parked;	/* stripes that wait for pav_log_unpark() */

	atomic64_t stripes, data_cells, moved_cells, parity_cells, pad_cells, header_cells, node_cells, narrow, lost_cells;
};

/* ---- life (log.c) ---- */
int pav_log_init(struct pav_log *log, struct pav_group *g, const struct pav_log_ops *ops, unsigned int streams);	/* process; -ENOMEM */
void pav_log_free(struct pav_log *log);		/* nothing in flight */
int pav_log_widen(struct pav_log *log, unsigned int width);	/* room for stripes of @width columns, while they are written or not; -ENOMEM */
/* From here on stripes may be written: the segment table is loaded, replay is done. */
void pav_log_start(struct pav_log *log);

/* ---- writing (stripe.c) ---- */
/* @req: WRITE or UNMAP, admitted by the map. Any context but hard interrupt. */
void pav_log_submit(struct pav_log *log, struct pav_req *req, unsigned int hint);
void pav_log_submit_node(struct pav_log *log, struct pav_node_write *w);
void pav_log_unpark(struct pav_log *log);	/* process: tries parked stripes again */
/* To the only user of a stream: more is about to be sent (what is queued waits for it); no more. */
void pav_log_begin_batch(struct pav_stream *s);
void pav_log_end_batch(struct pav_stream *s);
void pav_log_kick(struct pav_log *log);		/* any context: something streams waited for has changed */
int pav_stream_init(struct pav_stream *s, struct pav_log *log, bool meta);
void pav_stream_free(struct pav_stream *s);

/* Location of data cell @cell (header is 0) of @st. */
u64 pav_stripe_loc(const struct pav_stripe *st, unsigned int cell);

/* ---- checkpoints (log.c); process context, one at a time ---- */
/* Stops data streams from issuing and waits until all they issued is applied. Returns the sequence number the state now includes. */
u64 pav_log_freeze(struct pav_log *log);
void pav_log_snapshot(struct pav_log *log);	/* while frozen: marks what the replay list will drop */
void pav_log_thaw(struct pav_log *log);
/* Makes sure that the metadata stream can take @cells more without opening a segment that is not in state META yet. -ENOSPC */
int pav_log_reserve_meta(struct pav_log *log, unsigned int cells);

/* ---- segments (log.c) ---- */
bool pav_log_open_segment(struct pav_stream *s);	/* with the stream's turn; sleeps for metadata only. False: none to be had now */
void pav_log_close_segment(struct pav_stream *s);
void pav_log_leave_segments(struct pav_log *log, bool all);	/* every stream its segment, if it may not write to it any more, or @all. Process; no checkpoint runs */
void pav_log_seg_free(struct pav_log *log, u32 seg);		/* log->lock held */
void pav_log_live(struct pav_log *log, u64 loc, int delta);	/* any context */
void pav_log_lack(struct pav_log *log, u32 seg, u64 clear, u64 add);	/* as pav_group_lack(), remembered by the next checkpoint. Any context */
/*
 * What a checkpoint writes after its image of the table must not be news to that. So before: metadata segments that will be written to lack what is gone.
 * By the checkpoint. What fails later is FAILED in its commit; what is FAILED at open all metadata lacks.
 */
void pav_log_lack_meta(struct pav_log *log);
void pav_log_rebuilt(struct pav_log *log, u32 seg, u64 slots, u32 losses);	/* as pav_group_rebuilt() */
void pav_log_lack_in_use(struct pav_log *log, u32 seg, u64 slots);	/* the same, if the segment is in use and has these slots */
/*
 * Holds segment @seg, if it is in use and nothing more will be written to it: it will not be freed before pav_log_let_go(). One at a time for each who
 * does; whoever it is, at most one holds it. Any context.
 */
bool pav_log_hold(struct pav_log *log, u32 seg);
void pav_log_let_go(struct pav_log *log, u32 seg);
/* May the stream write on to its segment? Not if a drive has gone, nor if a drive that is there lacks some of it. With the turn. */
bool pav_log_seg_usable(const struct pav_stream *s);
void pav_log_encode_segment(struct pav_log *log, u32 seg, struct pav_d_segment *d);

/* ---- space (space.c) ---- */
u32 pav_log_meta_keep(const struct pav_log *log);	/* free segments that are left to metadata; log->lock held */
u32 pav_log_gc_keep(const struct pav_log *log);		/* … by the garbage collector, which may borrow one; log->lock held */
u32 pav_log_data_keep(const struct pav_log *log);	/* … that user data leaves alone, which is more: whatever is lost, the next import finds room; log->lock held */
/*
 * For a garbage collector that has nothing left to write to: one segment of those that are left to metadata, if what is alive in two others fits in it, so that it comes
 * back; and if the largest checkpoint still finds room. The next commit reserves it. Any context.
 */
bool pav_log_gc_borrow(struct pav_log *log);
void pav_log_set_margin(struct pav_log *log, u32 rows);	/* the checkpoint's own */
unsigned int pav_log_ready(const struct pav_log *log);	/* reserved segments that may be opened; log->lock held */
/* Nodes the map may still make before the next checkpoint. */
u64 pav_log_node_room(struct pav_log *log);
/* Rows that @nodes nodes may take: full rows, some narrow stripes for every batch, and a segment's end. */
u32 pav_log_meta_rows(const struct pav_log *log, unsigned int nodes);
/*
 * Can a checkpoint that writes @nodes nodes be finished? One that cannot must not begin: what it wrote would stay in the way. @margin: and leave room for
 * the checkpoint that ends the next replay, when what is left of open segments is lost.
 */
bool pav_log_room_for_checkpoint(struct pav_log *log, unsigned int nodes, bool margin);
bool pav_log_meta_short(struct pav_log *log);	/* less room than for two of the largest checkpoints */
/*
 * Where space is short: marks the emptiest metadata segments, as many as a checkpoint can empty that writes @own nodes anyhow: with no more
 * alive than there is room to write anew. Returns how many; 0 also if nothing would be gained.
 */
u32 pav_log_sparse_meta(struct pav_log *log, unsigned int own, unsigned long *victims);
/*
 * The log needs more segments, or soon will. False: only a checkpoint could bring any, and that can wait. Process context.
 */
bool pav_log_short(struct pav_log *log);
bool pav_log_short_locked(const struct pav_log *log);	/* the same, log->lock held */
/* May the replay list grow without a checkpoint? Process context, checkpoints kept out. */
bool pav_log_may_renew(struct pav_log *log);
/*
 * Marks data segments that may be used again before a checkpoint is made that knows them to be dead: replay will find them dead before it finds what is
 * written to them next. As above.
 */
void pav_log_find_renewable(struct pav_log *log, unsigned long *dead);
/* Marks closed segments of @state that nothing is alive in, and that no replay will look into once the checkpoint under way is committed. */
void pav_log_find_dead(struct pav_log *log, enum pav_segment_state state, unsigned long *dead);
void pav_log_set_dying(struct pav_log *log, const unsigned long *dead);	/* before the commit */
/* Frees those. Readers have let go of them. @early: before a checkpoint tells so. */
void pav_log_free_segments(struct pav_log *log, const unsigned long *dead, bool early);
/* A checkpoint has been committed: it knows all that are free. True: there were some that none had known. */
bool pav_log_settle(struct pav_log *log);
/*
 * After a checkpoint: are users starved of segments? Sets log->starved. True: another checkpoint may reserve something. @give_up: one was made in that
 * hope already. Process context.
 */
bool pav_log_check_starved(struct pav_log *log, bool give_up);
u64 pav_log_capacity(struct pav_log *log);	/* cells of user data that may be alive */
/* Cells of metadata, alive, once the group is full: what there is, or what it takes to map all of the capacity without gaps, if that is more. */
u64 pav_log_meta_when_full(const struct pav_log *log);
/* With so many drives less, is there room for @mapped cells, and for checkpoints at once? Process context, checkpoints kept out. */
bool pav_log_room_without(struct pav_log *log, unsigned int drives, u64 mapped);

/* Must users wait until the garbage collector has won a segment? Any context. */
static inline bool pav_log_users_wait(const struct pav_log *log)
{
	return READ_ONCE(log->starved) && !READ_ONCE(log->full) && !READ_ONCE(log->g->faulted);
}

/*
 * Takes a stale segment out of the free ones, to be discarded, or returns -1: there is none, or too few would be left. It is not opened before
 * pav_log_end_discard().
 */
s64 pav_log_begin_discard(struct pav_log *log);
void pav_log_end_discard(struct pav_log *log, u32 seg);

/* ---- for the garbage collector (space.c) ---- */
/* Where moves go. */
static inline struct pav_stream *pav_log_gc_stream(struct pav_log *log)
{
	return &log->streams[log->nstreams - 1];
}
/* Segments users may still open, and those that are as good as free. Below zero: what they must leave to others is not there. Any context. */
s64 pav_log_pool(struct pav_log *log);
s64 pav_log_pool_locked(const struct pav_log *log);	/* the same, log->lock held */
bool pav_log_gc_wanted(struct pav_log *log);	/* that is few, or users wait */
/* Cells of the largest stripe of @k data columns, its header among them. */
static inline u32 pav_log_stripe_cells(const struct pav_log *log, unsigned int k)
{
	return min_t(u32, k * log->max_rows, PAV_STRIPE_MAX_CELLS);
}
/* Data cells, beside headers, that a segment opened now will hold. Any context. */
u32 pav_log_new_segment_holds(const struct pav_log *log);
/* The closed data segment it pays most to empty, none of @but; -1: none is worth it. */
s64 pav_log_gc_victim(struct pav_log *log, const unsigned long *but);
/* The closed data segment of which most lies on drives that are gone or about to leave, none of @but; -1: none does. */
s64 pav_log_evacuee(struct pav_log *log, const unsigned long *but);
/* What the pool is to hold for that, so that nobody is kept waiting, and room for checkpoints is left when all has been moved. Any context. */
s64 pav_log_evacuation_pool(struct pav_log *log);
/* Segments in @state that lie there. Of metadata, checkpoints empty them. */
u32 pav_log_misplaced(struct pav_log *log, enum pav_segment_state state);
bool pav_log_gc_has_room(struct pav_log *log);	/* a checkpoint may reserve a segment for it */
/* Room is wanted that data segments do not give, or not as cheaply: the next checkpoint is to empty metadata segments of which little is alive, if there are more than its share. Any context. */
void pav_log_want_meta(struct pav_log *log);
bool pav_log_leaving_hurts(struct pav_log *log);	/* users wait, it has no room, and drives are to leave. Any context */

/* ---- replay (replay.c) ---- */
int pav_log_load_segment(struct pav_log *log, u32 seg, const struct pav_d_segment *d);	/* from the table; -ENOMEM, -EUCLEAN */
void pav_log_found_meta(struct pav_log *log, u64 loc);	/* the node table points there: the segment is in use, whatever the segment table says */
int pav_log_load_replay_list(struct pav_log *log);	/* after the table: sets apart what stripes may lie in; -ENOMEM */
/* Once all is counted: what the checkpoint calls in use, but nothing is alive in, is free. No readers yet, and replay does not need it. */
void pav_log_free_dead_at_open(struct pav_log *log);
void pav_log_replayed_segment(struct pav_log *log, u32 seg);	/* a stripe in it was taken */
/* After the checkpoint that ends replay: what was set apart and turned out empty is free again. Returns whether any was. */
bool pav_log_end_replay(struct pav_log *log);
struct pav_replay_ops {
	int (*cell)(void *ctx, u32 volume, u64 lba, u64 loc, u32 crc, u32 birth);
	int (*unmap)(void *ctx, u32 volume, u64 lba, u32 cells);
	/* Between two stripes, all up to @seq applied: the map may write a checkpoint to make room. */
	int (*between)(void *ctx, u64 seq);
	void *ctx;
};

/* Finds every stripe newer than the checkpoint, takes the whole and the repairable ones in order, heals them. Process context; no streams run. */
int pav_log_replay(struct pav_log *log, const struct pav_replay_ops *ops, struct pav_err *err);

#endif
