// SPDX-License-Identifier: GPL-2.0
/* The garbage collector: see gc.h. */
#include "gc.h"

/* ---- moving ---- */

static void move_done(struct pav_req *req)
{
	struct pav_move *m = container_of(req, struct pav_move, req);
	struct pav_gc *gc = m->ctx;

	if (req->error)
		atomic_inc(&gc->left);
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
	/* Who is left without a claim comes late, and fills no stripe. Checkpoints bring some when a quarter is left; this may take more than that at once. */
	if (n > gc->map->claim_limit / 4 && n > pav_map_claims_left(gc->map)) {
		pav_reached("checkpoint before cells are moved");
		pav_checkpoint_run(gc->ckpt);
	}
	init_completion(&gc->all);
	atomic_set(&gc->pending, n + 1);
	pav_map_begin_moves(gc->map, n);
	for (i = 0; i < n; i++)
		pav_map_move(&gc->move[i]);
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
	if (gc->moves == gc->batch)
		send_moves(gc);
}

/*
 * Users may write as much as is won while the pool holds seven eighths of what it should, and the less the less it holds; but always something: what stops
 * them altogether is log->starved. @row: so far the victim is done.
 */
static void pace(struct pav_gc *gc, u32 row)
{
	s64 pool = pav_log_pool(gc->log), target = gc->goal;
	u64 due = gc->gain * row / gc->g->segment_blocks;

	if (pool >= target)
		pav_map_run_free(gc->map);
	else if (due > gc->given)
		pav_map_give(gc->map, (due - gc->given) * max_t(s64, pool * 8 - target * 4, target / 2) / (target * 3));
	gc->given = max_t(u64, due, gc->given);
}

static int move_stripe(void *ctx, const struct pav_d_stripe *h, const struct pav_scan_at *at)
{
	struct pav_gc *gc = ctx;
	struct pav_stripe_place place = pav_stripe_place(at->set, h);
	unsigned int i, cell = 1;

	for (i = 0; i < le16_to_cpu(h->entries); i++) {
		u64 key = le64_to_cpu(h->entry[i].key), lba = pav_key_lba(key), loc;
		u32 column = (at->c0 + cell / h->rows) % at->set->n, row = cell % h->rows, crc, birth;
		struct pav_volume *vol;
		unsigned int ticket;

		if (pav_key_type(key) == PAV_ENTRY_UNMAP)
			continue;
		loc = pav_place_loc(&place, cell++);
		vol = pav_key_type(key) == PAV_ENTRY_WRITE && pav_key_volume(key) < PAV_MAX_VOLUMES ? gc->map->volumes[pav_key_volume(key)] : NULL;
		if (!vol || vol->state != PAV_VOLUME_LIVE || lba >= vol->cells) {
			atomic_inc(&gc->left);
			continue;
		}
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
	pace(gc, at->row + h->rows);
	return READ_ONCE(gc->g->faulted) ? -EIO : 0;
}

/* What is alive in a victim: nothing, if it died and is in use again already. */
static int part_live(const struct pav_gc *gc, const struct pav_gc_part *p)
{
	const struct pav_segment *s = &gc->log->seg[p->seg];
	int live = atomic_read(&s->live);

	return READ_ONCE(s->state) == PAV_SEG_DATA && READ_ONCE(s->seq) == p->seq ? live : 0;
}

/*
 * All moves are done. Is more alive in the victims than was found and left? Then headers are rotten, and the scan passed their stripes over: they are looked
 * for the long way. Who cannot be emptied is looked at once in a run.
 */
static void look_closer(struct pav_gc *gc)
{
	unsigned int i;
	s64 alive = 0;

	for (i = 0; i < gc->parts; i++)
		if (!test_bit(gc->part[i].seg, gc->stuck))
			alive += part_live(gc, &gc->part[i]);
	if (alive <= atomic_read(&gc->left))
		return;
	gc->scan.thorough = true;
	for (i = 0; i < gc->parts; i++) {
		u32 seg = gc->part[i].seg;

		if (test_bit(seg, gc->stuck) || !part_live(gc, &gc->part[i]))
			continue;
		pav_scan_stripes(&gc->scan, seg, move_stripe, gc);
		send_moves(gc);
		if (!part_live(gc, &gc->part[i]))
			pav_reached("segment emptied past a rotten header");
	}
	gc->scan.thorough = false;
}

/* Sends what is left over and lets go of the volumes. Returns how many of the victims are empty now. */
static unsigned int finish_parts(struct pav_gc *gc)
{
	unsigned int i, won = 0;

	if (!gc->locked)
		return 0;
	send_moves(gc);
	look_closer(gc);
	for (i = 0; i < gc->parts; i++) {
		bool alive = part_live(gc, &gc->part[i]);

		/* It will be free, and filled again, before this run ends. Or it was room that was wanting: what is left is the first to be moved when there is some. */
		if (!alive || (atomic_read(&gc->refused) && !test_bit(gc->part[i].seg, gc->stuck)))
			__clear_bit(gc->part[i].seg, gc->tried);
		won += !alive;
	}
	gc->parts = 0;
	gc->locked = false;
	mutex_unlock(&gc->lock);
	return won;
}

/* Returns how many victims it has finished with that are empty now. */
static unsigned int empty_segment(struct pav_gc *gc, u32 seg)
{
	struct pav_segment *s = &gc->log->seg[seg];
	u64 room = pav_log_new_segment_holds(gc->log), was = s->seq;

	gc->gain = room - min_t(u64, room, atomic_read(&s->live));
	gc->given = 0;
	if (!gc->locked) {
		mutex_lock(&gc->lock);
		atomic_set(&gc->left, 0);
	}
	gc->locked = true;
	__set_bit(seg, gc->tried);
	pav_scan_stripes(&gc->scan, seg, move_stripe, gc);
	pav_reached("segment emptied");
	atomic64_inc(&gc->emptied);
	pace(gc, gc->g->segment_blocks);
	gc->part[gc->parts++] = (struct pav_gc_part){ .seg = seg, .seq = was };
	return gc->parts == PAV_GC_PARTS || !gc->moves || READ_ONCE(gc->log->starved) || atomic_read(&gc->waiting) ? finish_parts(gc) : 0;
}

/* ---- when ---- */

static bool checkpoint(struct pav_gc *gc)
{
	atomic_set(&gc->refused, 0);
	return !pav_checkpoint_run(gc->ckpt);
}

/* What was won is for the log to use. */
static bool bring_segments(struct pav_gc *gc)
{
	atomic_set(&gc->refused, 0);
	return !pav_checkpoint_segments(gc->ckpt);
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

/*
 * Does it help? What is moved may take as much as is won, as it can where few drives are left. Progress is when users have written a segment, or the pool
 * is larger than it has been since they had.
 */
static bool in_vain(struct pav_gc *gc)
{
	u64 written = atomic64_read(&gc->log->data_cells);
	s64 pool = pav_log_pool(gc->log);

	if (written - gc->written >= gc->g->segment_blocks || pool > gc->best) {
		gc->written = written;
		gc->best = pool;
		gc->vain = 0;
	}
	return gc->vain > max_t(u32, PAV_GC_VAIN, gc->g->segments);
}

static bool is_wanting(struct pav_gc *gc, s64 goal)
{
	return pav_log_users_wait(gc->log) || pav_log_pool(gc->log) < goal;
}

/* Empties victims, @most of them, until the pool holds @goal segments and nobody waits. True: there is nothing more to be had. */
static bool collect(struct pav_gc *gc, s64 goal, u64 most)
{
	unsigned int emptied = 0, won = 0;	/* since the last checkpoint; since all were last tried */
	bool idle = false;

	gc->goal = goal;
	try_all_again(gc);
	/* Who waits may wait for what only another attempt can tell. */
	if (READ_ONCE(gc->log->starved))
		gc->vain = 0;
	while (!READ_ONCE(gc->off) && !READ_ONCE(gc->g->faulted) && is_wanting(gc, goal) && most && !in_vain(gc)) {
		s64 seg = pav_log_gc_victim(gc->log, gc->tried);

		/* A mutex may be taken again before who waits for it wakes. */
		if (atomic_read(&gc->waiting)) {
			won += finish_parts(gc);
			pav_sleep_ns(100000);
		}
		if (seg >= 0) {
			won += empty_segment(gc, seg);
			emptied++;
			gc->vain++;
			most--;
		}
		/* What is won is brought to the log by who opens segments; here only if somebody waits for it. */
		if (seg >= 0 && !atomic_read(&gc->refused) && (emptied < PAV_GC_BATCH || !READ_ONCE(gc->log->starved)))
			continue;
		won += finish_parts(gc);
		if (atomic_read(&gc->refused) && !pav_log_gc_has_room(gc->log) && pav_log_gc_borrow(gc->log))
			pav_reached("garbage collector borrowed a segment");
		/* Drives that are to leave may be what is wanting. */
		if (pav_log_leaving_hurts(gc->log))
			pav_group_changed(gc->g);
		if (seg < 0)
			pav_log_want_meta(gc->log);
		/* Tried them all twice, with a checkpoint between, and won nothing? */
		if ((seg < 0 && !won && idle) || !(seg < 0 ? checkpoint(gc) : bring_segments(gc)))
			return true;
		emptied = 0;
		if (seg < 0) {
			try_all_again(gc);
			idle = !won;
			won = 0;
		}
	}
	finish_parts(gc);
	if (READ_ONCE(gc->g->faulted))
		pav_map_room(gc->map);
	else if (emptied && (READ_ONCE(gc->log->starved) || READ_ONCE(gc->log->full)))
		bring_segments(gc);
	return is_wanting(gc, goal) && in_vain(gc);
}

static bool may_evacuate(struct pav_gc *gc)
{
	return !READ_ONCE(gc->off) && !READ_ONCE(gc->g->faulted) && !pav_log_users_wait(gc->log) && pav_log_pool(gc->log) >= pav_log_evacuation_pool(gc->log);
}

/*
 * There is something to evacuate, and may be no room for it. Then the collector wins some, and a little more than that: where stripes are narrower now, what is moved
 * takes more than it leaves. Each victim wins a sixteenth of a segment (pav_log_gc_victim); when that has not been enough, users took it, or there is no more to be
 * had. Then not the next time either.
 */
static bool make_room(struct pav_gc *gc)
{
	s64 goal = pav_log_evacuation_pool(gc->log) + PAV_GC_BATCH;

	/* Hopeless: not even for users is there any. */
	if (may_evacuate(gc) || gc->hopeless || pav_now_ns() < gc->evacuate_ns)
		return may_evacuate(gc);
	pav_reached("garbage collector made room to evacuate");
	gc->vain = 0;
	pav_log_want_meta(gc->log);
	if (!checkpoint(gc))
		return false;
	collect(gc, goal, 16 * max_t(s64, goal - pav_log_pool(gc->log), 1));
	gc->goal = gc->log->reserve_target;
	if (may_evacuate(gc)) {
		gc->evacuate_vain = 0;
		return true;
	}
	gc->evacuate_ns = pav_now_ns() + (PAV_GC_AGAIN_NS << min(gc->evacuate_vain++, 10u));
	return false;
}

/* Moves what lies where it should not, while nobody waits for room, and a pass over all of it leaves less than there was. */
static void evacuate(struct pav_gc *gc)
{
	enum pav_segment_state state;
	u32 left = ~0U, now;
	s64 seg;

	/* What streams are at can be moved once they have left it, and the replay list has let go of it. */
	if ((pav_log_misplaced(gc->log, PAV_SEG_DATA) || pav_log_misplaced(gc->log, PAV_SEG_META)) && make_room(gc) &&
	    pav_checkpoint_leave_segments(gc->ckpt, false))
		return;
	/* Data; then metadata, which checkpoints move. */
	for (state = PAV_SEG_DATA; state <= PAV_SEG_META; state++) {
		for (left = ~0U, now = pav_log_misplaced(gc->log, state); now && now < left && make_room(gc); now = pav_log_misplaced(gc->log, state)) {
			unsigned int emptied = 0;

			left = now;
			try_all_again(gc);
			while (state == PAV_SEG_DATA && may_evacuate(gc) && (seg = pav_log_evacuee(gc->log, gc->tried)) >= 0) {
				if (atomic_read(&gc->waiting)) {
					finish_parts(gc);
					pav_sleep_ns(100000);
				}
				pav_reached("segment evacuated");
				empty_segment(gc, seg);
				if (++emptied % PAV_GC_BATCH == 0 || atomic_read(&gc->refused)) {
					finish_parts(gc);
					if (!checkpoint(gc))
						return;
				}
			}
			finish_parts(gc);
			if (!checkpoint(gc))
				return;
		}
	}
	/* A drive that is to leave may have nothing on it now. */
	if (READ_ONCE(gc->g->leaving))
		pav_group_changed(gc->g);
}

static struct pav_gc_facts facts(struct pav_gc *gc)
{
	return (struct pav_gc_facts){
		.pool = pav_log_pool(gc->log),
		.written = atomic64_read(&gc->log->data_cells),
		.mapped = atomic64_read(&gc->map->mapped),
		.gone = READ_ONCE(gc->g->gone),
		.seats = READ_ONCE(gc->g->seats),
	};
}

/* Has it given up a moment ago, and nothing has changed since? */
static bool is_hopeless(struct pav_gc *gc)
{
	struct pav_gc_facts now = facts(gc);

	if (memcmp(&now, &gc->gave_up, sizeof(now)))
		gc->hopeless = 0;
	return gc->hopeless && pav_now_ns() < gc->again_ns;
}

/* Its own checkpoints call for it again, for ever: not at once. */
static void try_later(struct pav_gc *gc)
{
	u64 wait = PAV_GC_AGAIN_NS << min(gc->hopeless, 10u);

	gc->hopeless++;
	gc->gave_up = facts(gc);
	gc->again_ns = pav_now_ns() + wait;
	if (!READ_ONCE(gc->off))
		pav_timer_arm(&gc->again, wait);
}

static void gc_work(struct pav_work *work)
{
	struct pav_gc *gc = container_of(work, struct pav_gc, work);

	if (is_hopeless(gc)) {
		give_up(gc);
	} else if (collect(gc, gc->log->reserve_target, U64_MAX)) {
		try_later(gc);
		give_up(gc);
	} else {
		gc->hopeless = 0;
	}
	evacuate(gc);
	pav_map_run_free(gc->map);
}

void pav_gc_want(void *ctx)
{
	struct pav_gc *gc = ctx;

	if (!READ_ONCE(gc->off))
		pav_work_queue(gc->worker, &gc->work);
}

static void again(struct pav_timer *t)
{
	pav_gc_want(container_of(t, struct pav_gc, again));
}

/* ---- life ---- */

void pav_gc_barrier(struct pav_gc *gc)
{
	atomic_inc(&gc->waiting);
	mutex_lock(&gc->lock);
	mutex_unlock(&gc->lock);
	atomic_dec(&gc->waiting);
}

/* Cells that fill stripes, or at least rows, and as many as a small cache has claims for. */
static unsigned int batch(const struct pav_gc *gc)
{
	unsigned int k = gc->g->data_drives, stripe = pav_log_stripe_cells(gc->log, k) - 1;
	unsigned int n = min_t(unsigned int, PAV_GC_MOVES, pav_map_write_claims(gc->map));

	return n >= stripe ? n - n % stripe : n >= k ? n - (n + 1) % k : n;
}

void pav_gc_start(struct pav_gc *gc)
{
	gc->batch = batch(gc);
	gc->ckpt->gc = gc;
	WRITE_ONCE(gc->off, false);
	WRITE_ONCE(gc->ckpt->gc_want, pav_gc_want);
	pav_gc_want(gc);
}

void pav_gc_stop(struct pav_gc *gc)
{
	WRITE_ONCE(gc->off, true);
	pav_work_flush(gc->worker);
	pav_timer_cancel(&gc->again);
	/* It may have fired before it was cancelled. */
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
	pav_timer_init(&gc->again, again);
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
