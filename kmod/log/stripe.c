// SPDX-License-Identifier: GPL-2.0
/*
 * Streams and stripes: from waiting requests to durable cells. Written out as if it were synchronous, a stripe's life is
 *
 *	gather:	take requests from the queue until the stripe is full or the queue empty		(with the turn)
 *	place:	choose height and width that waste the least; a rectangle in the open segment		(with the turn)
 *	encode:	copy every cell once, summing and encoding as it passes; header; header into P and Q	(with the turn)
 *	write:	one I/O for each column, durable when it completes
 *	wait:	if a column was not written, until superblocks say which drive failed			(I4)
 *	apply:	the map learns the new places; requests complete
 *
 * The turn is the stream's worker's, who finds the requests of many together. Or it is the submitter's, whose request has been alone for a while
 * and would not get company: that saves two changes of thread, which cost as much as all the arithmetic.
 *
 * A segment is left early when one of its drives has gone: what follows is written fully redundant to others (D6).
 */
#include "log.h"
#include "../../raid6/raid6.h"

u64 pav_stripe_loc(const struct pav_stripe *st, unsigned int cell)
{
	u32 column = cell / st->rows, row = cell % st->rows;

	return pav_loc(st->set->index, st->seg, st->row + row, (st->c0 + column) % st->set->n, st->c0, st->width);
}

/* ---- end of a stripe ---- */

static void stripe_put(struct pav_stripe *st)
{
	struct pav_stream *s = st->stream;
	unsigned long flags;

	/* Under the lock to the end: whoever closes the group waits for the last flight, then for the lock, and frees the stream (pav_stream_free). */
	spin_lock_irqsave(&s->lock, flags);
	list_move_tail(&st->link, &s->free);
	s->flights--;
	if (s->drain && !s->flights) {
		s->drain = false;
		complete(&s->drained);
	}
	if (READ_ONCE(s->wants))
		pav_work_queue(s->worker, &s->work);
	spin_unlock_irqrestore(&s->lock, flags);
}

static void stripe_finish(struct pav_stripe *st)
{
	struct pav_log *log = st->stream->log;
	/* Without one or two columns it is whole by its parity; but only if the superblocks say whose columns those are. */
	bool bad = hweight64(st->erased) > 2 || (st->erased && READ_ONCE(log->g->faulted)) || READ_ONCE(log->g->owner.lost);
	unsigned long flags;

	for (; st->next_ref < st->refs; st->next_ref++) {
		struct pav_stripe_ref *r = &st->ref[st->next_ref];

		if (bad) {
			log->ops->failed(r->req, r->count, -EIO);
		} else if (!log->ops->applied(r->req, st, r->lba, r->cell, r->count)) {
			pav_reached("stripe parked behind a checkpoint");
			spin_lock_irqsave(&log->lock, flags);
			list_add_tail(&st->wait.link, &log->parked);
			spin_unlock_irqrestore(&log->lock, flags);
			return;
		}
	}
	stripe_put(st);
}

void pav_log_unpark(struct pav_log *log)
{
	struct list_head again;
	struct pav_stripe *st, *next;
	unsigned long flags;

	INIT_LIST_HEAD(&again);
	spin_lock_irqsave(&log->lock, flags);
	list_splice_init(&log->parked, &again);
	spin_unlock_irqrestore(&log->lock, flags);
	list_for_each_entry_safe(st, next, &again, wait.link) {
		list_del(&st->wait.link);
		stripe_finish(st);
	}
}

static void stripe_failure_durable(struct pav_waiter *w)
{
	stripe_finish(container_of(w, struct pav_stripe, wait));
}

/* The group was still ours when the last column was down; or is not any more. */
static void stripe_owned(struct pav_waiter *w)
{
	struct pav_stripe *st = container_of(w, struct pav_stripe, wait);

	if (st->erased) {
		pav_reached("stripe written without a drive");
		st->wait.fn = stripe_failure_durable;
		if (!pav_group_failure_wait(st->stream->log->g, st->erased_slots, &st->wait))
			return;
	}
	stripe_finish(st);
}

static void stripe_column_down(struct pav_stripe *st)
{
	if (!atomic_dec_and_test(&st->pending))
		return;
	st->wait.fn = stripe_owned;
	if (pav_owner_sure(st->stream->log->g, &st->wait))
		stripe_owned(&st->wait);
}

static void stripe_erase(struct pav_stripe *st, unsigned int column, unsigned int slot)
{
	unsigned long flags;

	spin_lock_irqsave(&st->stream->lock, flags);
	st->erased |= BIT_ULL(column);
	st->erased_slots |= BIT_ULL(slot);
	spin_unlock_irqrestore(&st->stream->lock, flags);
	pav_log_lack(st->stream->log, st->seg, 0, BIT_ULL(slot));
}

static unsigned int stripe_slot(const struct pav_stripe *st, unsigned int column)
{
	return st->set->slot[(st->c0 + column) % st->set->n];
}

static void stripe_written(struct pav_io *io)
{
	struct pav_stripe *st = io->ctx;

	if (io->error) {
		unsigned int column = io - st->io, slot = stripe_slot(st, column);

		stripe_erase(st, column, slot);
		pav_group_io_failed(st->stream->log->g, slot, io, "a write failed");
	}
	stripe_column_down(st);
}

/* ---- gather ---- */

static unsigned int req_cells(const struct pav_req *req)
{
	return req->op == PAV_UNMAP ? 0 : req->cells - req->next;
}

/*
 * Gives back from the end what makes the stripe begin a row it cannot fill: that is written with the next, and by then it has company. Only whole requests:
 * a large one is not to wait for its last cells.
 */
static void stripe_trim(struct pav_stripe *st)
{
	struct pav_stream *s = st->stream;
	unsigned int k = s->set->n - 2, excess = st->cells % k;

	while (st->cells > k && excess) {
		struct pav_stripe_ref *ref = &st->ref[st->refs - 1];
		struct pav_req *req = ref->req;

		if (req->op == PAV_UNMAP || ref->count > excess || ref->count != req->cells)
			return;
		pav_reached("request left for the next stripe");
		req->next = 0;
		list_add(&req->link, &s->queue);
		s->queued_cells += ref->count;
		st->cells -= ref->count;
		st->entries -= ref->count;
		excess -= ref->count;
		st->refs--;
	}
}

/* Takes what fits into @st: at most @room data cells, the header included. */
static void stripe_gather(struct pav_stripe *st, unsigned int room)
{
	struct pav_stream *s = st->stream;

	st->cells = 1;
	st->refs = st->next_ref = 0;
	st->entries = 0;
	while (!list_empty(&s->queue) && st->entries < PAV_STRIPE_ENTRIES && st->refs < PAV_STRIPE_ENTRIES) {
		struct pav_req *req = list_first_entry(&s->queue, struct pav_req, link);
		struct pav_stripe_ref *ref = &st->ref[st->refs];
		unsigned int n = req_cells(req);

		if (req->op == PAV_UNMAP) {
			*ref = (struct pav_stripe_ref){ .req = req, .lba = req->lba, .count = req->cells };
			st->entries++;
			st->refs++;
			s->queued_cells--;
			list_del(&req->link);
			continue;
		}
		n = min_t(unsigned int, n, min_t(unsigned int, room - st->cells, PAV_STRIPE_ENTRIES - st->entries));
		if (!n)
			break;
		*ref = (struct pav_stripe_ref){ .req = req, .lba = req->lba + req->next, .cell = st->cells, .count = n };
		st->entries += n;
		st->cells += n;
		st->refs++;
		s->queued_cells -= n;
		/* Off the queue before its last cells are issued: after that it may complete, and be gone. */
		if (n == req_cells(req))
			list_del(&req->link);
		req->next += n;
	}
	/* The garbage collector sends what fills a stripe, and then waits for all of it: a few cells that were not to be moved after all are no reason for another. */
	if (!s->gc)
		stripe_trim(st);
}

/* ---- place ---- */

/* Height and width for @cells data cells that write the fewest cells, within @max_k data columns and @max_rows rows. False: they do not fit. */
static bool best_shape(unsigned int cells, unsigned int max_k, unsigned int max_rows, u32 *rows, u32 *width)
{
	unsigned int h, best = ~0u;

	for (h = DIV_ROUND_UP(cells, max_k); h <= max_rows; h++) {
		unsigned int k = DIV_ROUND_UP(cells, h), cost = h * (k + 2);

		if (cost >= best)
			continue;
		best = cost;
		*rows = h;
		*width = k + 2;
		/* One data column high already: higher can only cost more. */
		if (k == 1)
			break;
	}
	return best != ~0u;
}

static void stripe_place(struct pav_stripe *st)
{
	struct pav_stream *s = st->stream;
	struct pav_log *log = s->log;
	unsigned int n = s->set->n, rows_left = log->g->segment_blocks - s->row, left;
	u32 rows = 0, width = 0, band_rows, band_width;

	best_shape(st->cells, n - 2, min_t(u32, log->max_rows, rows_left), &rows, &width);
	left = s->band_rows ? n - s->band_used : 0;
	if (left >= PAV_MIN_WIDTH && best_shape(st->cells, left - 2, s->band_rows, &band_rows, &band_width) &&
	    (!rows || band_rows * band_width <= rows * width)) {
		/* Beside the stripe before it. */
		pav_reached("stripe beside another in one row");
		rows = band_rows;
		width = band_width;
		atomic64_add((s->band_rows - rows) * width, &log->lost_cells);
	} else {
		if (left)
			atomic64_add(left * s->band_rows, &log->lost_cells);
		s->band_row = s->row;
		s->band_rows = rows;
		/* Turn parity and headers over the drives. */
		s->band_c0 = (s->row + s->seg) % n;
		s->band_used = 0;
		s->row += rows;
	}
	st->seg = s->seg;
	st->set = s->set;
	st->row = s->band_row;
	st->rows = rows;
	st->width = width;
	st->c0 = (s->band_c0 + s->band_used) % n;
	s->band_used += width;
}

/* ---- encode ---- */

static void *stripe_cell(const struct pav_stripe *st, unsigned int cell)
{
	return st->col[cell / st->rows] + (size_t)(cell % st->rows) * PAV_CELL_BYTES;
}

/* P (@which 0) or Q of a row. */
static void *stripe_parity(const struct pav_stripe *st, unsigned int which, unsigned int row)
{
	return st->col[st->width - 2 + which] + (size_t)row * PAV_CELL_BYTES;
}

static void stripe_header(struct pav_stripe *st)
{
	struct pav_log *log = st->stream->log;
	struct pav_d_stripe *h = stripe_cell(st, 0);
	unsigned int i, j, e = 0;

	memset(h, 0, sizeof(*h));
	h->magic = cpu_to_le32(PAV_STRIPE_MAGIC);
	memcpy(h->group_uuid, log->g->uuid, sizeof(h->group_uuid));
	h->log_id = cpu_to_le64(log->log_id);
	h->seq = cpu_to_le64(st->seq);
	h->members = cpu_to_le64(st->set->members);
	h->segment = cpu_to_le32(st->seg);
	h->row = cpu_to_le16(st->row);
	h->c0 = st->c0;
	h->width = st->width;
	h->rows = st->rows;
	h->entries = cpu_to_le16(st->entries);
	for (i = 0; i < st->refs; i++) {
		const struct pav_stripe_ref *r = &st->ref[i];
		const struct pav_req *req = r->req;
		unsigned int op = req->op;
		u32 birth = op == PAV_REQ_MOVE ? container_of(req, struct pav_move, req)->birth : log->birth;

		if (op == PAV_UNMAP) {
			h->entry[e].key = cpu_to_le64(pav_key(PAV_ENTRY_UNMAP, req->vol_id, r->lba));
			h->entry[e].crc = cpu_to_le32(r->count);
			h->entry[e++].birth = cpu_to_le32(log->birth);
			continue;
		}
		for (j = 0; j < r->count; j++, e++) {
			h->entry[e].key = cpu_to_le64(op == PAV_REQ_NODE ?
						      pav_key(PAV_ENTRY_NODE, r->lba >> 56, r->lba & PAV_NODE_INDEX_MASK) :
						      pav_key(PAV_ENTRY_WRITE, req->vol_id, r->lba + j));
			h->entry[e].crc = cpu_to_le32(st->crc[r->cell + j]);
			h->entry[e].birth = cpu_to_le32(birth);
		}
	}
	pav_seal(h, offsetof(struct pav_d_stripe, crc));
}

static void stripe_encode(struct pav_stripe *st)
{
	const struct pav_raid6_impl *impl = st->stream->log->g->impl;
	unsigned int k = st->width - 2, room = k * st->rows, i, j, r;
	const void *src[PAV_MAX_DRIVES];
	void *dst[PAV_MAX_DRIVES];
	u32 crc[PAV_MAX_DRIVES];

	/* In rising order: the host walks the user's memory once. */
	for (i = 0; i < st->refs; i++) {
		struct pav_stripe_ref *ref = &st->ref[i];
		struct pav_req *req = ref->req;

		if (req->op == PAV_UNMAP)
			continue;
		if ((unsigned int)req->op == PAV_REQ_NODE) {
			st->src[ref->cell] = container_of(req, struct pav_node_write, req)->buf;
			continue;
		}
		if ((unsigned int)req->op == PAV_REQ_MOVE) {
			st->src[ref->cell] = container_of(req, struct pav_move, req)->buf;
			continue;
		}
		for (j = 0; j < ref->count; j++)
			st->src[ref->cell + j] = pav_req_cell(req, ref->lba - req->lba + j, stripe_cell(st, ref->cell + j));
	}
	for (i = st->cells; i < room; i++)
		st->src[i] = NULL;

	pav_vector_begin();
	for (r = 1; r < st->rows; r++) {
		for (j = 0; j < k; j++) {
			src[j] = st->src[j * st->rows + r];
			dst[j] = stripe_cell(st, j * st->rows + r);
		}
		pav_raid6_encode_fused(impl, k, PAV_CELL_BYTES, src, dst, stripe_parity(st, 0, r), stripe_parity(st, 1, r), crc);
		for (j = 0; j < k; j++)
			st->crc[j * st->rows + r] = crc[j];
	}
	/* The header holds the sums of its own row: here the cells come first, then the header, then parity. */
	for (j = 1; j < k; j++) {
		u8 *cell = stripe_cell(st, j * st->rows);
		const void *from = st->src[j * st->rows];

		if (!from)
			memset(cell, 0, PAV_CELL_BYTES);
		else if (from != cell)
			memcpy(cell, from, PAV_CELL_BYTES);
		st->crc[j * st->rows] = pav_crc32c(0, cell, PAV_CELL_BYTES);
	}
	stripe_header(st);
	for (j = 0; j < k; j++)
		src[j] = stripe_cell(st, j * st->rows);
	pav_raid6_encode(impl, k, PAV_CELL_BYTES, src, stripe_parity(st, 0, 0), stripe_parity(st, 1, 0));
	pav_vector_end();
}

/* ---- write ---- */

static void stripe_write(struct pav_stripe *st)
{
	struct pav_log *log = st->stream->log;
	struct pav_group *g = log->g;
	u64 block = pav_group_cell(g, st->seg, st->row);
	unsigned int c;

	atomic64_inc(&log->stripes);
	atomic64_add(st->cells - 1, st->stream->meta ? &log->node_cells : st->stream->gc ? &log->moved_cells : &log->data_cells);
	atomic64_inc(&log->header_cells);
	atomic64_add(2 * st->rows, &log->parity_cells);
	atomic64_add((st->width - 2) * st->rows - st->cells, &log->pad_cells);
	if (st->width < st->set->n)
		atomic64_inc(&log->narrow);
	atomic_set(&st->pending, 1);
	for (c = 0; c < st->width; c++) {
		unsigned int slot = stripe_slot(st, c);

		if (READ_ONCE(g->gone) & BIT_ULL(slot)) {
			stripe_erase(st, c, slot);
			continue;
		}
		st->io[c].done = stripe_written;
		st->io[c].ctx = st;
		atomic_inc(&st->pending);
		pav_group_write(g, slot, &st->io[c], block, st->rows, st->col[c]);
	}
	stripe_column_down(st);
}

/* ---- the stream's turn ---- */

static void stream_collect(struct pav_stream *s)
{
	struct llist_node *n = llist_reverse_order(llist_del_all(&s->incoming));

	while (n) {
		struct pav_req *req = container_of(n, struct pav_req, llink);

		n = n->next;
		list_add_tail(&req->link, &s->queue);
		s->queued_cells += max_t(unsigned int, 1, req_cells(req));
	}
}

/* The group has no room, or no longer works: whatever waits gets an answer. */
static void stream_refuse(struct pav_stream *s, int error)
{
	while (!list_empty(&s->queue)) {
		struct pav_req *req = list_first_entry(&s->queue, struct pav_req, link);
		unsigned int left = req->op == PAV_UNMAP ? req->cells : req->cells - req->next;

		list_del(&req->link);
		s->queued_cells -= max_t(unsigned int, 1, req_cells(req));
		if (req->op == PAV_UNMAP && error == -ENOSPC)
			s->log->ops->unmap_direct(req);
		else
			s->log->ops->failed(req, left, error);
	}
}

/*
 * Users wait for the garbage collector, and it for cells they are about to write: so what is not begun yet is given back, with its place in the map.
 */
static void stream_defer(struct pav_stream *s)
{
	struct pav_req *req, *next;

	list_for_each_entry_safe(req, next, &s->queue, link) {
		if (req->next)
			continue;
		pav_reached("request deferred");
		list_del(&req->link);
		s->queued_cells -= max_t(unsigned int, 1, req_cells(req));
		s->log->ops->deferred(req);
	}
}

/* May a stripe be issued now without leaving replay's window? */
static bool window_open(struct pav_stream *s)
{
	struct pav_stripe *oldest = NULL;
	unsigned long flags;
	bool open = true;

	spin_lock_irqsave(&s->lock, flags);
	if (!list_empty(&s->flight))
		oldest = list_first_entry(&s->flight, struct pav_stripe, link);
	if (oldest) {
		u32 ahead = s->row + s->log->max_rows;

		open = oldest->seg == s->seg ? ahead - oldest->row <= PAV_REPLAY_WINDOW : ahead <= PAV_REPLAY_WINDOW;
	}
	spin_unlock_irqrestore(&s->lock, flags);
	return open;
}

/* Will users' writes that are let go on soon (pav_map_give) come to this stream? They all go to the first one, and who lets them go wakes it. */
static bool expects_more(const struct pav_stream *s)
{
	return s == s->log->streams && READ_ONCE(s->log->more_wait);
}

/*
 * Data cells of a stripe that fills what is left of the band, if it would be left for ever: more is queued than fits there, and that still fills a row. 0: no such
 * stripe.
 */
static unsigned int band_room(const struct pav_stream *s)
{
	unsigned int left = s->band_rows ? s->set->n - s->band_used : 0, room = left > 2 ? (left - 2) * s->band_rows : 0;

	if (left < 2 * PAV_MIN_WIDTH || room > PAV_STRIPE_MAX_CELLS || s->queued_cells + 2 < room + s->set->n - 2)
		return 0;
	pav_reached("stripe to fill a band");
	return room;
}

static struct pav_stripe *stripe_get(struct pav_stream *s, unsigned int *flights)
{
	struct pav_stripe *st = NULL;
	unsigned long flags;

	spin_lock_irqsave(&s->lock, flags);
	*flights = s->flights;
	if (!list_empty(&s->free)) {
		st = list_first_entry(&s->free, struct pav_stripe, link);
		list_move_tail(&st->link, &s->flight);
		s->flights++;
		st->erased = st->erased_slots = 0;
		/* Until it is placed, count it where the stream is: window_open() may look at it. */
		st->seg = s->seg;
		st->row = s->row;
	}
	spin_unlock_irqrestore(&s->lock, flags);
	return st;
}

/* Sees to it that the stream has a row to write to, on drives that all work. False: not now. */
static bool stream_has_room(struct pav_stream *s)
{
	struct pav_log *log = s->log;

	if (s->has_seg && !pav_log_seg_usable(s)) {
		pav_reached("segment left early, a drive is gone");
		pav_log_close_segment(s);
	}
	/* Room for a header and a cell at least. */
	if (s->has_seg && (log->g->segment_blocks - s->row) * (s->set->n - 2) < 2)
		pav_log_close_segment(s);
	return s->has_seg || pav_log_open_segment(s);
}

/*
 * Issues what waits, in at most @max stripes. True: @max it was that ended it. Has the turn; of a stream for user data nothing here sleeps but
 * in the drives' queues.
 */
static bool stream_run(struct pav_stream *s, unsigned int max)
{
	struct pav_log *log = s->log;

	for (;;) {
		unsigned int flights, room;
		struct pav_stripe *st;

		/* Said before looking: whoever changes what we find will kick us again. */
		WRITE_ONCE(s->wants, true);
		smp_mb();
		stream_collect(s);
		if (list_empty(&s->queue)) {
			WRITE_ONCE(s->wants, false);
			smp_mb();
			if (llist_empty(&s->incoming))
				return false;
			continue;
		}
		if (!max)
			return true;
		if (READ_ONCE(log->g->faulted)) {
			stream_refuse(s, -EIO);
			continue;
		}
		if (!s->meta && READ_ONCE(log->frozen))
			return false;
		if (!stream_has_room(s)) {
			if (s->meta || (s->gc ? !pav_log_gc_has_room(log) : READ_ONCE(log->full))) {
				pav_reached("no space");
				stream_refuse(s, -ENOSPC);
				continue;
			}
			pav_reached("stream waited for a segment");
			if (s->gc || !READ_ONCE(log->starved))
				log->ops->want_segments(log->ops->ctx, true);
			else
				stream_defer(s);
			return false;
		}
		if (READ_ONCE(s->more) && s->queued_cells < PAV_STRIPE_ENTRIES)
			return false;
		if (!window_open(s)) {
			pav_reached("stream waited for its window");
			return false;
		}
		st = stripe_get(s, &flights);
		if (!st)
			return false;
		/* Group commit. */
		if ((flights || expects_more(s)) && s->queued_cells < min_t(unsigned int, max_t(unsigned int, flights, 1), PAV_FULL_ROWS) * (s->set->n - 2) - 1) {
			unsigned long flags;
			bool wait;

			/* Nothing in flight any more by now? Then nobody would wake us. */
			spin_lock_irqsave(&s->lock, flags);
			wait = s->flights > 1 || expects_more(s);
			if (wait) {
				list_move(&st->link, &s->free);
				s->flights--;
			}
			spin_unlock_irqrestore(&s->lock, flags);
			if (wait)
				return false;
		}
		room = band_room(s);
		if (!room)
			room = min_t(u32, (s->set->n - 2) * min_t(u32, log->max_rows, log->g->segment_blocks - s->row), PAV_STRIPE_MAX_CELLS);
		stripe_gather(st, room);
		if (list_empty(&s->queue)) {
			/* Nobody waits for this one to come back. */
			WRITE_ONCE(s->wants, false);
			WRITE_ONCE(s->alone, st->refs == 1 && !flights ? s->alone + 1 : 0);
		} else {
			WRITE_ONCE(s->alone, 0);
		}
		st->seq = atomic64_inc_return(&log->seq);
		stripe_place(st);
		stripe_encode(st);
		stripe_write(st);
		max--;
	}
}

static void stream_work(struct pav_work *work)
{
	struct pav_stream *s = container_of(work, struct pav_stream, work);

	mutex_lock(&s->turn);
	stream_run(s, ~0u);
	mutex_unlock(&s->turn);
}

/*
 * True: the request just pushed, the first that waits, is taken care of by us. Now and then one is left to the worker all the same: where drives answer
 * at once only a worker, who comes later, can see that requests have company again.
 */
static bool stream_run_here(struct pav_stream *s)
{
	unsigned int alone = READ_ONCE(s->alone);
	bool more;

	if (s->meta || s->gc || alone < PAV_ALONE_MIN || alone % PAV_ALONE_PROBE == 0 || READ_ONCE(s->flights) || !pav_in_process() ||
	    !mutex_trylock(&s->turn))
		return false;
	pav_reached("stripe made by its submitter");
	more = stream_run(s, 1);
	mutex_unlock(&s->turn);
	if (more)
		pav_work_queue(s->worker, &s->work);
	return true;
}

static void push(struct pav_stream *s, struct pav_req *req)
{
	req->next = 0;
	if (llist_add(&req->llink, &s->incoming) && !stream_run_here(s))
		pav_work_queue(s->worker, &s->work);
}

void pav_log_submit(struct pav_log *log, struct pav_req *req, unsigned int hint)
{
	push((unsigned int)req->op == PAV_REQ_MOVE ? pav_log_gc_stream(log) : &log->streams[hint % (log->nstreams - 1)], req);
}

void pav_log_submit_node(struct pav_log *log, struct pav_node_write *w)
{
	push(&log->streams[log->nstreams], &w->req);
}

void pav_log_kick(struct pav_log *log)
{
	unsigned int i;

	for (i = 0; i <= log->nstreams; i++)
		if (READ_ONCE(log->streams[i].wants))
			pav_work_queue(log->streams[i].worker, &log->streams[i].work);
}

void pav_log_begin_batch(struct pav_stream *s)
{
	WRITE_ONCE(s->more, true);
}

void pav_log_end_batch(struct pav_stream *s)
{
	WRITE_ONCE(s->more, false);
	smp_mb();
	if (READ_ONCE(s->wants))
		pav_work_queue(s->worker, &s->work);
}

/* ---- life ---- */

static int stream_widen(struct pav_stream *s, unsigned int width)
{
	unsigned int i, c;

	for (i = 0; i < PAV_STRIPES_PER_STREAM; i++)
		for (c = 0; c < width; c++) {
			struct pav_stripe *st = &s->stripes[i];

			if (!st->col[c])
				st->col[c] = pav_alloc_cells(s->log->max_rows);
			if (!st->col[c])
				return -ENOMEM;
		}
	return 0;
}

int pav_log_widen(struct pav_log *log, unsigned int width)
{
	unsigned int i;
	int error = 0;

	for (i = 0; i <= log->nstreams && !error; i++)
		error = stream_widen(&log->streams[i], width);
	return error;
}

int pav_stream_init(struct pav_stream *s, struct pav_log *log, bool meta)
{
	unsigned int i;

	s->log = log;
	s->meta = meta;
	mutex_init(&s->turn);
	spin_lock_init(&s->lock);
	INIT_LIST_HEAD(&s->queue);
	INIT_LIST_HEAD(&s->free);
	INIT_LIST_HEAD(&s->flight);
	init_llist_head(&s->incoming);
	pav_work_init(&s->work, stream_work);
	s->worker = pav_worker_create(meta ? "meta" : "log");
	s->stripes = pav_alloc(sizeof(*s->stripes) * PAV_STRIPES_PER_STREAM);
	if (!s->worker || !s->stripes || stream_widen(s, log->g->data_drives + 2))
		return -ENOMEM;
	for (i = 0; i < PAV_STRIPES_PER_STREAM; i++) {
		s->stripes[i].stream = s;
		list_add_tail(&s->stripes[i].link, &s->free);
	}
	return 0;
}

void pav_stream_free(struct pav_stream *s)
{
	unsigned long flags;
	unsigned int i, c;

	if (s->worker) {
		/* Nothing is in flight, but the last one's stripe_put() may be in there still. */
		spin_lock_irqsave(&s->lock, flags);
		spin_unlock_irqrestore(&s->lock, flags);
		pav_worker_destroy(s->worker);
	}
	for (i = 0; s->stripes && i < PAV_STRIPES_PER_STREAM; i++)
		for (c = 0; c < PAV_MAX_DRIVES; c++)
			if (s->stripes[i].col[c])
				pav_free_cells(s->stripes[i].col[c], s->log->max_rows);
	pav_free(s->stripes);
}
