// SPDX-License-Identifier: GPL-2.0
/* The garbage collector: see gc.h. */
#include "gc.h"

/* ---- moving ---- */

static void move_done(struct pav_req *req)
{
	struct pav_move *m = container_of(req, struct pav_move, req);
	struct pav_gc *gc = m->ctx;

	if (req->error == -ENOSPC)
		atomic_inc(&gc->refused);
	if (atomic_dec_and_test(&gc->pending))
		complete(&gc->all);
}

/* Sends what was gathered, and waits until it is there. */
static void send_moves(struct pav_gc *gc)
{
	unsigned int i, n = gc->moves;

	if (!n)
		return;
	gc->moves = 0;
	init_completion(&gc->all);
	atomic_set(&gc->pending, n + 1);
	/* One stripe, not many: the stream is to wait for the last of them. */
	WRITE_ONCE(gc->log->gathering, true);
	for (i = 0; i < n; i++)
		pav_map_move(&gc->move[i]);
	WRITE_ONCE(gc->log->gathering, false);
	pav_log_kick(gc->log);
	if (!atomic_dec_and_test(&gc->pending))
		wait_for_completion(&gc->all);
}

static void gather(struct pav_gc *gc, struct pav_volume *vol, u64 lba, u64 loc, u32 birth)
{
	unsigned int i = gc->moves++;
	struct pav_move *m = &gc->move[i];

	memset(m, 0, sizeof(*m));
	m->req.vol = vol;
	m->req.lba = lba;
	m->req.done = move_done;
	m->buf = gc->cell[i];
	m->loc = loc;
	m->birth = birth;
	m->ctx = gc;
	if (gc->moves == PAV_GC_MOVES)
		send_moves(gc);
}

static int move_stripe(void *ctx, const struct pav_d_stripe *h, const struct pav_scan_at *at)
{
	struct pav_gc *gc = ctx;
	unsigned int i, cell = 1;

	for (i = 0; i < le16_to_cpu(h->entries); i++) {
		u64 key = le64_to_cpu(h->entry[i].key), lba = pav_key_lba(key), loc;
		u32 column = (at->c0 + cell / h->rows) % at->set->n, row = cell % h->rows, crc, birth;
		struct pav_volume *vol;
		unsigned int ticket;

		if (pav_key_type(key) == PAV_ENTRY_UNMAP)
			continue;
		cell++;
		vol = pav_key_type(key) == PAV_ENTRY_WRITE && pav_key_volume(key) < PAV_MAX_VOLUMES ? gc->map->volumes[pav_key_volume(key)] : NULL;
		if (!vol || vol->state != PAV_VOLUME_LIVE || lba >= vol->cells)
			continue;
		loc = pav_loc(at->set->index, at->seg, at->row + row, column, at->c0, h->width);
		/* From the look at the map to the last read: what lies there stays there. */
		ticket = pav_map_enter(gc->map);
		if (pav_map_lookup(vol, lba, &crc, &birth) == loc) {
			memcpy(gc->cell[gc->moves], pav_scan_cell(&gc->scan, column, at->i + row), PAV_CELL_BYTES);
			if (pav_cell_make_right(&gc->asleep, gc->g, loc, crc, gc->cell[gc->moves])) {
				pav_map_leave(gc->map, ticket);
				gather(gc, vol, lba, loc, birth);
				continue;
			}
			/* It cannot be read by anybody. Its segment stays as it is. */
			__set_bit(at->seg, gc->stuck);
		}
		pav_map_leave(gc->map, ticket);
	}
	return READ_ONCE(gc->g->faulted) ? -EIO : 0;
}

/* True: nothing is alive in it any more. */
static bool empty_segment(struct pav_gc *gc, u32 seg)
{
	mutex_lock(&gc->lock);
	__set_bit(seg, gc->tried);
	pav_scan_stripes(&gc->scan, seg, move_stripe, gc);
	/* Before the volumes are let go of. */
	send_moves(gc);
	mutex_unlock(&gc->lock);
	pav_reached("segment emptied");
	atomic64_inc(&gc->emptied);
	if (atomic_read(&gc->log->seg[seg].live))
		return false;
	/* It will be free, and filled again, before this run ends. */
	__clear_bit(seg, gc->tried);
	return true;
}

/* ---- when ---- */

static bool checkpoint(struct pav_gc *gc)
{
	atomic_set(&gc->refused, 0);
	return !pav_checkpoint_run(gc->ckpt);
}

/* There is nothing to be had: whoever waits for a segment is told. */
static void give_up(struct pav_gc *gc)
{
	if (!READ_ONCE(gc->log->starved))
		return;
	pav_reached("garbage collector gave up");
	WRITE_ONCE(gc->log->full, true);
	pav_map_room(gc->map);
	pav_log_kick(gc->log);
}

static void try_all_again(struct pav_gc *gc)
{
	memcpy(gc->tried, gc->stuck, DIV_ROUND_UP(gc->g->segments, 64) * 8);
}

static void gc_work(struct pav_work *work)
{
	struct pav_gc *gc = container_of(work, struct pav_gc, work);
	unsigned int emptied = 0, won = 0;	/* since the last checkpoint; since all were last tried */
	unsigned int vain = 0;			/* since somebody got a segment */
	bool idle = false;

	try_all_again(gc);
	while (!READ_ONCE(gc->off) && !READ_ONCE(gc->g->faulted) && pav_log_gc_wanted(gc->log)) {
		s64 seg = pav_log_gc_victim(gc->log, gc->tried);

		if (seg >= 0) {
			won += empty_segment(gc, seg);
			emptied++;
			vain = READ_ONCE(gc->log->starved) ? vain + 1 : 0;
		}
		if (seg >= 0 && emptied < PAV_GC_BATCH && !READ_ONCE(gc->log->starved) && !atomic_read(&gc->refused))
			continue;
		/*
		 * Tried them all twice, with a checkpoint between, and won nothing? Or won, but what is moved takes as much, as it can where few drives are
		 * left?
		 */
		if ((seg < 0 && !won && idle) || vain > gc->g->segments || !checkpoint(gc)) {
			give_up(gc);
			return;
		}
		emptied = 0;
		if (seg < 0) {
			try_all_again(gc);
			idle = !won;
			won = 0;
		}
	}
	if (READ_ONCE(gc->g->faulted))
		pav_map_room(gc->map);
	else if (emptied)
		checkpoint(gc);
}

static void gc_want(void *ctx)
{
	struct pav_gc *gc = ctx;

	if (!READ_ONCE(gc->off))
		pav_work_queue(gc->worker, &gc->work);
}

/* ---- life ---- */

void pav_gc_barrier(struct pav_gc *gc)
{
	mutex_lock(&gc->lock);
	mutex_unlock(&gc->lock);
}

void pav_gc_start(struct pav_gc *gc)
{
	gc->ckpt->gc = gc;
	WRITE_ONCE(gc->off, false);
	WRITE_ONCE(gc->ckpt->gc_want, gc_want);
	gc_want(gc);
}

void pav_gc_stop(struct pav_gc *gc)
{
	WRITE_ONCE(gc->off, true);
	pav_work_flush(gc->worker);
}

int pav_gc_init(struct pav_gc *gc, struct pav_checkpoint *ckpt)
{
	unsigned int i;

	gc->ckpt = ckpt;
	gc->g = ckpt->g;
	gc->log = ckpt->log;
	gc->map = ckpt->map;
	gc->off = true;
	mutex_init(&gc->lock);
	pav_work_init(&gc->work, gc_work);
	gc->worker = pav_worker_create("gc");
	gc->tried = pav_alloc(DIV_ROUND_UP(gc->g->segments, 64) * 8);
	gc->stuck = pav_alloc(DIV_ROUND_UP(gc->g->segments, 64) * 8);
	gc->move = pav_alloc(sizeof(*gc->move) * PAV_GC_MOVES);
	gc->cell = pav_alloc(sizeof(*gc->cell) * PAV_GC_MOVES);
	if (!gc->worker || !gc->tried || !gc->stuck || !gc->move || !gc->cell || pav_scan_init(&gc->scan, gc->log))
		return -ENOMEM;
	for (i = 0; i < PAV_GC_MOVES; i++) {
		gc->cell[i] = pav_alloc_cells(1);
		if (!gc->cell[i])
			return -ENOMEM;
	}
	return 0;
}

void pav_gc_free(struct pav_gc *gc)
{
	unsigned int i;

	if (gc->worker)
		pav_worker_destroy(gc->worker);
	pav_scan_free(&gc->scan);
	for (i = 0; gc->cell && i < PAV_GC_MOVES; i++)
		if (gc->cell[i])
			pav_free_cells(gc->cell[i], 1);
	pav_free(gc->cell);
	pav_free(gc->move);
	pav_free(gc->stuck);
	pav_free(gc->tried);
}
