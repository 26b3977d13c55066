// SPDX-License-Identifier: GPL-2.0
/*
 * A read's way through the map: peek down to the leaf without a lock -> runs of cells that lie side by side -> straight into the user's memory ->
 * verify the sums -> what is wrong, or on a drive that is gone, is repaired cell by cell from a buffer of ours.
 */
#include "tree.h"

struct pav_repair {
	struct list_head link;
	struct pav_map *map;
	struct pav_req *req;
	unsigned int idx;
	struct pav_waiter wait;
	struct pav_cell_read cr;
	void *buf;
};

/* ---- read ---- */

unsigned int pav_map_enter(struct pav_map *map)
{
	unsigned int lane = pav_cpu() % PAV_READER_LANES, e = READ_ONCE(map->epoch) & 1;

	atomic_inc(&map->readers[lane].n[e]);
	smp_mb();
	return lane * 2 + e;
}

void pav_map_leave(struct pav_map *map, unsigned int ticket)
{
	smp_mb();
	atomic_dec(&map->readers[ticket / 2].n[ticket & 1]);
}

/* Twice: a reader may have chosen its count before a change and entered after it. */
void pav_map_wait_readers(struct pav_map *map)
{
	unsigned int round, lane, sum;

	for (round = 0; round < 2; round++) {
		unsigned int old = map->epoch & 1;

		WRITE_ONCE(map->epoch, map->epoch + 1);
		smp_mb();
		for (;;) {
			for (lane = 0, sum = 0; lane < PAV_READER_LANES; lane++)
				sum += atomic_read(&map->readers[lane].n[old]);
			if (!sum)
				break;
			pav_reached("waited for readers");
			pav_sleep_ns(50000);
		}
	}
}

static void repair_queue(struct pav_map *map, struct pav_req *req);

static void read_put(struct pav_req *req)
{
	struct pav_map *map = req->vol->map;

	if (!atomic_dec_and_test(&req->pending))
		return;
	if (find_next_bit(req->repair, PAV_REQ_MAX_CELLS, 0) < PAV_REQ_MAX_CELLS) {
		repair_queue(map, req);
		return;
	}
	pav_map_leave(map, req->hint);
	req->done(req);
}

static void repair_mark(struct pav_req *req, unsigned int idx, unsigned int n)
{
	struct pav_map *map = req->vol->map;
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	bitmap_set(req->repair, idx, n);
	spin_unlock_irqrestore(&map->lock, flags);
}

static void run_read(struct pav_uio *uio)
{
	struct pav_req *req = uio->req;
	struct pav_drive *d = uio->ctx;
	unsigned int bad;

	if (uio->error) {
		atomic64_inc(&d->errors);
		repair_mark(req, uio->idx, uio->n);
	} else {
		for (bad = pav_uio_verify(uio, req->crc + uio->idx, 0); bad < uio->n;
		     bad = pav_uio_verify(uio, req->crc + uio->idx, bad + 1)) {
			pav_reached("a read's sum was wrong");
			atomic64_inc(&req->vol->map->mismatches);
			repair_mark(req, uio->idx + bad, 1);
		}
	}
	read_put(req);
}

/* Cells [@idx, @idx + @n) of @req lie side by side from @loc on; @loc 0: they are unmapped. */
static void run_issue(struct pav_req *req, unsigned int idx, unsigned int n, u64 loc)
{
	struct pav_map *map = req->vol->map;
	struct pav_group *g = map->g;
	u32 seg = pav_loc_seg(loc);
	unsigned int slot;

	if (!loc) {
		pav_req_zero(req, idx, n);
		return;
	}
	slot = pav_loc_slot(g, loc);
	if (pav_group_missing(g, seg) & BIT_ULL(slot)) {
		pav_reached("read from a drive that is gone");
		repair_mark(req, idx, n);
		return;
	}
	atomic_inc(&req->pending);
	pav_drive_count_read(&g->drives[slot], n);
	pav_uio_read(req, idx, n, g->drives[slot].dev, pav_group_cell(g, seg, pav_loc_row(loc)), run_read, &g->drives[slot]);
}

/* Issues from cell @req->next on. @ident: of an unpinned @leaf. False: the slot is another node now; ->next tells how far we came. */
static bool read_issue(struct pav_req *req, struct pav_node *leaf, const u32 *ident)
{
	const struct pav_d_entry *e = entries(leaf) + req->lba % PAV_LEAF_ENTRIES;
	unsigned int i = req->next, start = i;
	u64 first = 0;
	u32 birth;

	for (; i < req->cells; i++) {
		u64 loc = entry_read(&e[i], &req->crc[i], &birth);

		if (ident) {
			smp_rmb();
			if (READ_ONCE(leaf->ident) != *ident)
				break;
		}
		/* The row is the lowest field of a location: the next cell of a column is the next number. */
		if (i > start && (first ? loc != first + (i - start) : loc != 0)) {
			run_issue(req, start, i - start, first);
			start = i;
		}
		if (i == start)
			first = loc;
	}
	if (i > start)
		run_issue(req, start, i - start, first);
	req->next = i;
	return i == req->cells;
}

static void read_slow(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);
	struct pav_node *leaf;

	switch (pav_leaf_get(req->vol, req->lba, false, &req->wait, &leaf)) {
	case WALK_WAIT:
		return;
	case WALK_NONE:
		pav_req_zero(req, req->next, req->cells - req->next);
		break;
	case WALK_ERROR:
	case WALK_CLAIM:
	case WALK_NO_SPACE:
		req->error = -EIO;
		break;
	case WALK_FOUND:
		read_issue(req, leaf, NULL);
		pav_node_put_look(leaf);
		break;
	}
	walk_over(req);
	read_put(req);
}

static void read_turn(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);

	req->walking = true;
	req->wait.fn = read_slow;
	read_slow(w);
}

/* The first load is on the house; who needs more waits for a turn. */
static void read_again(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);

	req->wait.fn = read_turn;
	if (pav_map_turn(req->vol->map, w))
		read_turn(w);
}

void pav_map_read(struct pav_req *req)
{
	struct pav_volume *vol = req->vol;
	struct pav_node *leaf;
	u32 ident;

	atomic64_inc(&vol->reads);
	atomic64_add(req->cells, &vol->read_cells);
	req->error = 0;
	req->next = 0;
	bitmap_zero(req->repair, PAV_REQ_MAX_CELLS);
	atomic_set(&req->pending, 1);
	req->hint = pav_map_enter(vol->map);
	switch (pav_leaf_peek(vol, req->lba, &leaf, &ident)) {
	case WALK_FOUND:
		if (read_issue(req, leaf, &ident)) {
			read_put(req);
			return;
		}
		atomic64_inc(&vol->map->retries);
		break;
	case WALK_NONE:
		pav_req_zero(req, 0, req->cells);
		read_put(req);
		return;
	default:
		break;
	}
	req->walking = false;
	req->wait.fn = read_again;
	read_slow(&req->wait);
}

/* ---- repair: cells that the direct way did not deliver ---- */

static void repair_end(struct pav_repair *r)
{
	struct pav_map *map = r->map;
	struct pav_req *req = r->req;
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	list_add(&r->link, &map->repair_free);
	if (!list_empty(&map->repair_reqs))
		pav_work_queue(map->worker, &map->repair_work);
	spin_unlock_irqrestore(&map->lock, flags);
	read_put(req);
}

static void repair_fail(struct pav_repair *r)
{
	struct pav_req *req = r->req;
	struct pav_group *g = r->map->g;

	if (pav_group_is_ours(g)) {
		pav_log(PAV_ERR, "%s: volume %s: block %llu is lost", g->name, req->vol->ident.name, (unsigned long long)(req->lba + r->idx));
		if (g->ops && g->ops->event)
			g->ops->event(g->host, PAV_EVENT_DATA_LOST, req->vol->ident.name, -1, req->lba + r->idx, "a block could not be rebuilt");
	}
	req->error = -EIO;
	repair_end(r);
}

static void repair_read(struct pav_cell_read *cr)
{
	struct pav_repair *r = container_of(cr, struct pav_repair, cr);

	if (cr->error) {
		repair_fail(r);
		return;
	}
	pav_req_put(r->req, r->idx, r->buf);
	repair_end(r);
}

/* Looks the cell up again: it may have been written anew since, and then that is the one to read. */
static void repair_start(struct pav_waiter *w)
{
	struct pav_repair *r = container_of(w, struct pav_repair, wait);
	struct pav_map *map = r->map;
	u64 lba = r->req->lba + r->idx, loc = 0;
	struct pav_node *leaf;
	u32 crc, birth;

	switch (pav_leaf_get(r->req->vol, lba, false, &r->wait, &leaf)) {
	case WALK_WAIT:
		return;
	case WALK_ERROR:
	case WALK_CLAIM:
	case WALK_NO_SPACE:
		repair_fail(r);
		return;
	case WALK_NONE:
		break;
	case WALK_FOUND:
		loc = entry_read(entries(leaf) + lba % PAV_LEAF_ENTRIES, &crc, &birth);
		pav_node_put_look(leaf);
		break;
	}
	if (!loc) {
		pav_req_zero(r->req, r->idx, 1);
		repair_end(r);
		return;
	}
	r->cr.g = map->g;
	r->cr.loc = loc;
	r->cr.crc = crc;
	r->cr.buf = r->buf;
	r->cr.direct_failed = false;
	r->cr.done = repair_read;
	pav_cell_read(&r->cr);
}

static void repair_work(struct pav_work *work)
{
	struct pav_map *map = container_of(work, struct pav_map, repair_work);

	for (;;) {
		struct pav_repair *r = NULL;
		unsigned long flags;

		spin_lock_irqsave(&map->lock, flags);
		if (!list_empty(&map->repair_reqs) && !list_empty(&map->repair_free)) {
			struct pav_req *req = list_first_entry(&map->repair_reqs, struct pav_req, link);

			r = list_first_entry(&map->repair_free, struct pav_repair, link);
			list_del(&r->link);
			r->req = req;
			r->idx = find_next_bit(req->repair, PAV_REQ_MAX_CELLS, 0);
			__clear_bit(r->idx, req->repair);
			if (find_next_bit(req->repair, PAV_REQ_MAX_CELLS, 0) >= PAV_REQ_MAX_CELLS)
				list_del(&req->link);
			else
				atomic_inc(&req->pending);
		}
		spin_unlock_irqrestore(&map->lock, flags);
		if (!r)
			return;
		r->wait.fn = repair_start;
		repair_start(&r->wait);
	}
}

static void repair_queue(struct pav_map *map, struct pav_req *req)
{
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	/* Held by the repair of its last cell. */
	atomic_set(&req->pending, 1);
	list_add_tail(&req->link, &map->repair_reqs);
	pav_work_queue(map->worker, &map->repair_work);
	spin_unlock_irqrestore(&map->lock, flags);
}

int pav_repairs_init(struct pav_map *map)
{
	unsigned int i;

	INIT_LIST_HEAD(&map->repair_free);
	INIT_LIST_HEAD(&map->repair_reqs);
	pav_work_init(&map->repair_work, repair_work);
	map->repairs = pav_alloc(sizeof(*map->repairs) * PAV_REPAIRS);
	if (!map->repairs)
		return -ENOMEM;
	for (i = 0; i < PAV_REPAIRS; i++) {
		map->repairs[i].map = map;
		map->repairs[i].buf = pav_alloc_cells(1);
		if (!map->repairs[i].buf)
			return -ENOMEM;
		list_add_tail(&map->repairs[i].link, &map->repair_free);
	}
	return 0;
}

void pav_repairs_free(struct pav_map *map)
{
	unsigned int i;

	for (i = 0; map->repairs && i < PAV_REPAIRS; i++)
		if (map->repairs[i].buf)
			pav_free_cells(map->repairs[i].buf, 1);
	pav_free(map->repairs);
}
