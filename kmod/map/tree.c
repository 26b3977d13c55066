// SPDX-License-Identifier: GPL-2.0
/*
 * The trees of volumes, and a request's way through them.
 *
 * read:	peek down to the leaf without a lock -> runs of cells that lie side by side -> straight into the user's memory -> verify the sums ->
 *		what is wrong, or on a drive that is gone, is repaired cell by cell from a buffer of ours.
 * write:	walk to the leaf, making what is missing -> claim it, mark the range busy -> log/ -> applied(): entries change -> acknowledge.
 */
#include "map.h"

struct pav_repair {
	struct list_head link;
	struct pav_map *map;
	struct pav_req *req;
	unsigned int idx;
	struct pav_waiter wait;
	struct pav_cell_read cr;
	void *buf;
};

enum walk { WALK_FOUND, WALK_NONE, WALK_WAIT, WALK_CLAIM, WALK_ERROR, WALK_NO_SPACE };

static unsigned int child_index(u64 lba, unsigned int depth)
{
	return (lba / PAV_LEAF_ENTRIES >> (9 * (depth - 1))) % PAV_INTERIOR_ENTRIES;
}

static struct pav_d_entry *entries(struct pav_node *leaf)
{
	return (struct pav_d_entry *)leaf->data;
}

/* One entry, as it is or was at one moment: writers pass through PAV_BUSY_LOC. */
static u64 entry_read(const struct pav_d_entry *e, u32 *crc)
{
	u64 loc;

	for (;;) {
		loc = le64_to_cpu(READ_ONCE(e->loc));
		smp_rmb();
		*crc = le32_to_cpu(READ_ONCE(e->crc));
		smp_rmb();
		if (loc != PAV_BUSY_LOC && loc == le64_to_cpu(READ_ONCE(e->loc)))
			return loc;
		cpu_relax();
	}
}

/* The leaf's lock held. Returns the old location. */
static u64 entry_write(struct pav_d_entry *e, u64 loc, u32 crc, u32 birth)
{
	u64 old = le64_to_cpu(e->loc);

	WRITE_ONCE(e->loc, cpu_to_le64(PAV_BUSY_LOC));
	smp_wmb();
	WRITE_ONCE(e->crc, cpu_to_le32(crc));
	WRITE_ONCE(e->birth, cpu_to_le32(birth));
	smp_wmb();
	WRITE_ONCE(e->loc, cpu_to_le64(loc));
	return old;
}

/* ---- walking ---- */

/* A limit on dirty nodes is reached. A checkpoint makes room; unless there is no room for checkpoints. */
static enum walk no_claim(struct pav_map *map)
{
	int stuck = READ_ONCE(map->stuck);

	if (!stuck)
		return WALK_CLAIM;
	pav_reached("no space for the map");
	map->want_checkpoint(map->ctx);
	return stuck == -ENOSPC ? WALK_NO_SPACE : WALK_ERROR;
}

void pav_map_set_node_room(struct pav_map *map, u64 nodes)
{
	WRITE_ONCE(map->no_node_room, !nodes);
	atomic64_set(&map->node_room, nodes);
}

/* One node more: is there room for its images, for ever? Else a checkpoint may find some, if the last one did not say that there is none. */
static enum walk node_room(struct pav_map *map)
{
	if (atomic64_dec_return(&map->node_room) >= 0)
		return WALK_FOUND;
	atomic64_inc(&map->node_room);
	if (!READ_ONCE(map->no_node_room))
		return no_claim(map);
	pav_reached("no space for another node");
	map->want_checkpoint(map->ctx);
	return WALK_NO_SPACE;
}

/* Gives @parent (NULL: the volume) a child at @idx, unless it has one: *@child is its number. Or there is no claim to be had. Parent pinned. */
static enum walk make_child(struct pav_volume *vol, struct pav_node *parent, unsigned int idx, u64 *child)
{
	struct pav_map *map = vol->map;
	struct pav_node *n;
	unsigned long flags;
	enum walk walk;
	bool ok = true;
	u64 nr;

	walk = node_room(map);
	if (walk != WALK_FOUND)
		return walk;
	spin_lock_irqsave(&vol->tree_lock, flags);
	nr = parent ? le64_to_cpu(((__le64 *)parent->data)[idx]) : PAV_TOP_ROOT(vol->top);
	*child = nr;
	if (nr) {
		spin_unlock_irqrestore(&vol->tree_lock, flags);
		atomic64_inc(&map->node_room);
		return WALK_FOUND;
	}
	if (parent) {
		spin_lock(&parent->lock);
		ok = pav_node_claim(map, parent) && pav_node_change(map, parent);
		spin_unlock(&parent->lock);
	}
	if (ok) {
		*child = nr = atomic64_inc_return(&map->next_node) - 1;
		/* A node without an image is all zero. Having it in the cache already saves a look into the node table, no more. */
		n = pav_node_new(map, nr);
		if (n)
			pav_node_put(map, n);
		if (parent) {
			spin_lock(&parent->lock);
			smp_wmb();
			WRITE_ONCE(((__le64 *)parent->data)[idx], cpu_to_le64(nr));
			spin_unlock(&parent->lock);
		} else {
			WRITE_ONCE(vol->top, PAV_TOP(nr, PAV_TOP_DEPTH(vol->top)));
			vol->dirty = true;
		}
	}
	spin_unlock_irqrestore(&vol->tree_lock, flags);
	if (!ok)
		atomic64_inc(&map->node_room);
	return ok ? WALK_FOUND : no_claim(map);
}

/* The leaf, pinned. WALK_WAIT: @w will be called back, then start again. WALK_CLAIM: a claim is needed, wait for one; only with @create. */
static enum walk leaf_get(struct pav_volume *vol, u64 lba, bool create, struct pav_waiter *w, struct pav_node **leaf)
{
	struct pav_map *map = vol->map;
	u64 top = READ_ONCE(vol->top), nr = PAV_TOP_ROOT(top);
	unsigned int depth;
	struct pav_node *n = NULL;

	if (!nr && create) {
		enum walk walk = make_child(vol, NULL, 0, &nr);

		if (walk != WALK_FOUND)
			return walk;
		/* Root and depth belong together: a volume that grows may have made the empty tree deeper since we looked. */
		top = READ_ONCE(vol->top);
		nr = PAV_TOP_ROOT(top);
	}
	for (depth = PAV_TOP_DEPTH(top);; depth--) {
		unsigned int idx;

		if (!nr)
			return WALK_NONE;
		n = pav_node_get(map, nr, w);
		if (!n)
			return WALK_WAIT;
		if (n->error) {
			pav_node_put_look(n);
			return WALK_ERROR;
		}
		if (!depth) {
			*leaf = n;
			return WALK_FOUND;
		}
		idx = child_index(lba, depth);
		nr = le64_to_cpu(READ_ONCE(((__le64 *)n->data)[idx]));
		if (!nr && create) {
			enum walk walk = make_child(vol, n, idx, &nr);

			if (walk != WALK_FOUND) {
				pav_node_put_look(n);
				return walk;
			}
		}
		pav_node_put_look(n);
	}
}

/* The same without pins or locks. WALK_WAIT: not all of it is in memory, or it changed as we looked. */
static enum walk leaf_peek(struct pav_volume *vol, u64 lba, struct pav_node **leaf, u32 *ident)
{
	u64 top = READ_ONCE(vol->top), nr = PAV_TOP_ROOT(top);
	unsigned int depth = PAV_TOP_DEPTH(top);

	for (;; depth--) {
		struct pav_node *n;

		if (!nr)
			return WALK_NONE;
		n = pav_node_peek(vol->map, nr, ident);
		if (!n)
			return WALK_WAIT;
		if (!depth) {
			*leaf = n;
			return WALK_FOUND;
		}
		nr = le64_to_cpu(READ_ONCE(((__le64 *)n->data)[child_index(lba, depth)]));
		smp_rmb();
		if (READ_ONCE(n->ident) != *ident)
			return WALK_WAIT;
	}
}

static void walk_over(struct pav_req *req)
{
	if (req->walking)
		pav_map_turn_over(req->vol->map);
	req->walking = false;
}

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

	for (; i < req->cells; i++) {
		u64 loc = entry_read(&e[i], &req->crc[i]);

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

	switch (leaf_get(req->vol, req->lba, false, &req->wait, &leaf)) {
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
	switch (leaf_peek(vol, req->lba, &leaf, &ident)) {
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
	bool more;

	spin_lock_irqsave(&map->lock, flags);
	list_add(&r->link, &map->repair_free);
	more = !list_empty(&map->repair_reqs);
	spin_unlock_irqrestore(&map->lock, flags);
	if (more)
		pav_work_queue(map->worker, &map->repair_work);
	read_put(req);
}

static void repair_fail(struct pav_repair *r)
{
	struct pav_req *req = r->req;
	struct pav_group *g = r->map->g;

	pav_log(PAV_ERR, "%s: volume %s: block %llu is lost", g->name, req->vol->ident.name, (unsigned long long)(req->lba + r->idx));
	if (g->ops && g->ops->event)
		g->ops->event(g->host, PAV_EVENT_DATA_LOST, req->vol->ident.name, -1, req->lba + r->idx, "a block could not be rebuilt");
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
	u32 crc;

	switch (leaf_get(r->req->vol, lba, false, &r->wait, &leaf)) {
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
		loc = entry_read(entries(leaf) + lba % PAV_LEAF_ENTRIES, &crc);
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
	spin_unlock_irqrestore(&map->lock, flags);
	pav_work_queue(map->worker, &map->repair_work);
}

/* ---- write, unmap ---- */

static void write_walk(struct pav_waiter *w);
static void write_again(struct pav_waiter *w);
static void admit_again(struct pav_waiter *w);

enum enter { ENTER_IN, ENTER_HOLD, ENTER_CLAIM };

/* Counts a request that is admitted to @leaf, which may be dirty from then on; or tells what it must wait for. Leaf's lock held. */
static enum enter enter(struct pav_map *map, struct pav_node *leaf, bool move)
{
	bool hold = !move && !leaf->writers;

	if (hold && atomic_inc_return(&map->held) > (int)map->held_limit) {
		atomic_dec(&map->held);
		return ENTER_HOLD;
	}
	if (!pav_node_claim(map, leaf)) {
		if (hold)
			atomic_dec(&map->held);
		return ENTER_CLAIM;
	}
	*(move ? &leaf->movers : &leaf->writers) += 1;
	return ENTER_IN;
}

/* Takes it back. True: there is a claim to be had, tell by pav_map_room(). Leaf's lock held. */
static bool leave(struct pav_map *map, struct pav_node *leaf, bool move)
{
	bool let_go = false;

	if (move)
		leaf->movers--;
	else if (!--leaf->writers)
		let_go = atomic_dec_return(&map->held) >= (int)map->held_limit - 1;
	return pav_node_unclaim_if_idle(map, leaf) || let_go;
}

/* @req is out of the log: lets go of all it holds. */
static void write_let_go(struct pav_req *req)
{
	struct pav_node *leaf = req->leaf;
	struct pav_map *map = req->vol->map;
	struct list_head blocked;
	struct pav_waiter *w, *next;
	unsigned long flags;
	bool room;

	INIT_LIST_HEAD(&blocked);
	spin_lock_irqsave(&leaf->lock, flags);
	bitmap_clear(leaf->busy, req->lba % PAV_LEAF_ENTRIES, req->cells);
	atomic64_sub(req->promised, &map->promised);
	list_splice_init(&leaf->blocked, &blocked);
	room = leave(map, leaf, (unsigned int)req->op == PAV_REQ_MOVE);
	spin_unlock_irqrestore(&leaf->lock, flags);
	if (room)
		pav_map_room(map);
	list_for_each_entry_safe(w, next, &blocked, link) {
		list_del(&w->link);
		pav_map_call_back(map, w);
	}
	pav_node_put(map, leaf);
}

static void write_end(struct pav_req *req)
{
	write_let_go(req);
	req->done(req);
}

static void deferred(struct pav_req *req)
{
	write_let_go(req);
	req->promised = 0;
	req->wait.fn = write_again;
	pav_map_wait_segment(req->vol->map, &req->wait);
}

static bool overlaps(const struct pav_req *a, const struct pav_req *b)
{
	return a->lba < b->lba + b->cells && b->lba < a->lba + a->cells;
}

/*
 * Holds the cells of @req that are not mapped yet against the group's capacity. What is mapped can be written anew even in a full group. Leaf's lock
 * held, the range is the request's.
 */
static bool promise(struct pav_req *req, struct pav_node *leaf)
{
	struct pav_map *map = req->vol->map;
	const struct pav_d_entry *e = entries(leaf) + req->lba % PAV_LEAF_ENTRIES;
	unsigned int i;

	for (i = 0; i < req->cells; i++)
		req->promised += !e[i].loc;
	if (!req->promised || atomic64_add_return(req->promised, &map->promised) + atomic64_read(&map->mapped) <= (s64)READ_ONCE(map->capacity))
		return true;
	pav_reached("capacity reached");
	atomic64_sub(req->promised, &map->promised);
	req->promised = 0;
	return false;
}

/* It is not to be moved after all. Leaf's lock held. */
static bool moved_already(const struct pav_req *req, const struct pav_node *leaf)
{
	const struct pav_move *m = container_of(req, const struct pav_move, req);
	const struct pav_d_entry *e = (const struct pav_d_entry *)leaf->data + req->lba % PAV_LEAF_ENTRIES;

	/* Since it was looked at its segment may have been freed and used again, and the same cell written anew to the same place: under a later checkpoint. */
	return le64_to_cpu(e->loc) != m->loc || le32_to_cpu(e->birth) != m->birth;
}

/* Ends a request that is not in the log; it holds the leaf but for a look. */
static void refuse(struct pav_req *req, struct pav_node *leaf, int error)
{
	pav_node_put_look(leaf);
	req->error = error;
	req->done(req);
}

/* The leaf is in memory and pinned. Lets the request into the log, or has it wait its turn. */
static void admit(struct pav_req *req, struct pav_node *leaf)
{
	struct pav_map *map = req->vol->map;
	unsigned int first = req->lba % PAV_LEAF_ENTRIES;
	struct pav_waiter *w;
	unsigned long flags;
	enum walk walk;
	enum enter in;
	bool blocked, move = (unsigned int)req->op == PAV_REQ_MOVE;

	req->leaf = leaf;
	spin_lock_irqsave(&leaf->lock, flags);
	blocked = find_next_bit(leaf->busy, first + req->cells, first) < first + req->cells;
	/* Nor past one that waits already: or a stream of small writes would starve a large one. */
	list_for_each_entry(w, &leaf->blocked, link)
		blocked |= overlaps(req, container_of(w, struct pav_req, wait));
	if (move && (blocked || moved_already(req, leaf))) {
		/* Who waits for a write in flight may wait for room, and that for us. What is in flight will be the newer one anyhow. */
		pav_reached("cell not moved: written meanwhile");
		spin_unlock_irqrestore(&leaf->lock, flags);
		refuse(req, leaf, -ESTALE);
		return;
	}
	if (!move && pav_log_users_wait(map->log)) {
		spin_unlock_irqrestore(&leaf->lock, flags);
		pav_node_put_look(leaf);
		req->wait.fn = write_again;
		pav_map_wait_segment(map, &req->wait);
		return;
	}
	if (blocked) {
		pav_reached("overlapping write waited");
		req->wait.fn = admit_again;
		list_add_tail(&req->wait.link, &leaf->blocked);
		spin_unlock_irqrestore(&leaf->lock, flags);
		return;
	}
	in = enter(map, leaf, move);
	if (in != ENTER_IN) {
		spin_unlock_irqrestore(&leaf->lock, flags);
		walk = no_claim(map);
		if (walk != WALK_CLAIM) {
			refuse(req, leaf, walk == WALK_NO_SPACE ? -ENOSPC : -EIO);
			return;
		}
		pav_node_put_look(leaf);
		req->wait.fn = write_again;
		if (in == ENTER_HOLD)
			pav_map_wait_hold(map, &req->wait);
		else
			pav_map_wait_claim(map, &req->wait);
		return;
	}
	if (req->op == PAV_WRITE && !promise(req, leaf)) {
		leave(map, leaf, false);
		spin_unlock_irqrestore(&leaf->lock, flags);
		refuse(req, leaf, -ENOSPC);
		return;
	}
	bitmap_set(leaf->busy, first, req->cells);
	spin_unlock_irqrestore(&leaf->lock, flags);
	atomic_set(&req->pending, req->op == PAV_UNMAP ? 1 : req->cells);
	pav_log_submit(map->log, req, req->hint);
}

static void admit_again(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);

	admit(req, req->leaf);
}

static void write_walk(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);
	struct pav_node *leaf;
	enum walk walk = leaf_get(req->vol, req->lba, req->op == PAV_WRITE, &req->wait, &leaf);

	/* If it waits it is not ours any more. */
	if (walk != WALK_WAIT)
		walk_over(req);
	switch (walk) {
	case WALK_WAIT:
		return;
	case WALK_CLAIM:
		req->wait.fn = write_again;
		pav_map_wait_claim(req->vol->map, &req->wait);
		return;
	case WALK_ERROR:
	case WALK_NO_SPACE:
		req->error = walk == WALK_ERROR ? -EIO : -ENOSPC;
		req->done(req);
		return;
	case WALK_NONE:
		/* Nothing to unmap; or, of what was to be moved, nothing is left. */
		req->error = req->op == PAV_UNMAP ? 0 : -ESTALE;
		req->done(req);
		return;
	case WALK_FOUND:
		admit(req, leaf);
		return;
	}
}

static void write_turn(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);

	req->walking = true;
	req->wait.fn = write_walk;
	write_walk(w);
}

static void write_again(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);

	req->wait.fn = write_turn;
	if (pav_map_turn(req->vol->map, w))
		write_turn(w);
}

static void write_begin(struct pav_req *req)
{
	req->error = 0;
	req->vol_id = req->vol->id;
	req->hint = pav_cpu();
	req->walking = false;
	req->promised = 0;
	req->wait.fn = write_again;
}

void pav_map_write(struct pav_req *req)
{
	struct pav_volume *vol = req->vol;

	if (req->op == PAV_UNMAP) {
		atomic64_inc(&vol->unmaps);
	} else {
		atomic64_inc(&vol->writes);
		atomic64_add(req->cells, &vol->write_cells);
	}
	write_begin(req);
	if (req->op == PAV_WRITE && unlikely(READ_ONCE(vol->map->paced)) && !pav_map_pace(vol->map, req))
		return;
	write_walk(&req->wait);
}

void pav_map_move(struct pav_move *m)
{
	m->req.op = (enum pav_req_op)PAV_REQ_MOVE;
	m->req.cells = 1;
	write_begin(&m->req);
	write_walk(&m->req.wait);
}

/*
 * Changes @n entries from @lba on: to the cells of @st from @cell on, or to nothing. The leaf's lock held, claimed and changeable. Returns how many more
 * of them are mapped than before.
 */
static int apply_entries(struct pav_volume *vol, struct pav_node *leaf, const struct pav_stripe *st, u64 lba, unsigned int cell, unsigned int n,
			 u32 birth)
{
	struct pav_log *log = vol->map->log;
	struct pav_d_entry *e = entries(leaf) + lba % PAV_LEAF_ENTRIES;
	unsigned int i;
	int gained = 0;

	for (i = 0; i < n; i++) {
		u64 old = st ? entry_write(&e[i], pav_stripe_loc(st, cell + i), st->crc[cell + i], birth) : entry_write(&e[i], 0, 0, 0);

		if (old)
			pav_log_live(log, old, -1);
		gained += !!st - !!old;
	}
	if (st)
		pav_log_live(log, pav_stripe_loc(st, cell), n);
	if (gained) {
		pav_map_mapped(vol, gained);
		vol->dirty = true;
	}
	return gained;
}

static bool applied(struct pav_req *req, const struct pav_stripe *st, u64 lba, unsigned int cell, unsigned int n)
{
	struct pav_node *leaf = req->leaf;
	unsigned long flags;
	int gained = 0;
	bool ok;

	if ((unsigned int)req->op == PAV_REQ_NODE) {
		struct pav_node_write *w = container_of(req, struct pav_node_write, req);

		w->loc = pav_stripe_loc(st, cell);
		w->crc = st->crc[cell];
		req->done(req);
		return true;
	}
	spin_lock_irqsave(&leaf->lock, flags);
	ok = pav_node_change(req->vol->map, leaf);
	if (ok)
		gained = apply_entries(req->vol, leaf, req->op == PAV_UNMAP ? NULL : st, lba, cell, n,
				       (unsigned int)req->op == PAV_REQ_MOVE ? container_of(req, struct pav_move, req)->birth : req->vol->map->log->birth);
	/* A promise kept: not to be counted twice, or the last that fits would be refused. */
	if (req->op == PAV_WRITE && gained > 0) {
		req->promised -= gained;
		atomic64_sub(gained, &req->vol->map->promised);
	}
	spin_unlock_irqrestore(&leaf->lock, flags);
	if (ok && atomic_sub_and_test(req->op == PAV_UNMAP ? 1 : n, &req->pending))
		write_end(req);
	return ok;
}

static void failed(struct pav_req *req, unsigned int n, int error)
{
	req->error = error;
	if ((unsigned int)req->op == PAV_REQ_NODE)
		req->done(req);
	else if (atomic_sub_and_test(req->op == PAV_UNMAP ? 1 : n, &req->pending))
		write_end(req);
}

static void unmap_direct(struct pav_req *req)
{
	struct pav_map *map = req->vol->map;
	unsigned long flags;

	pav_reached("unmap without room in the log");
	spin_lock_irqsave(&map->lock, flags);
	list_add_tail(&req->link, &map->unmaps);
	spin_unlock_irqrestore(&map->lock, flags);
	smp_mb();
	map->want_checkpoint(map->ctx);
}

bool pav_map_unmaps_wait(struct pav_map *map)
{
	unsigned long flags;
	bool any;

	spin_lock_irqsave(&map->lock, flags);
	any = !list_empty(&map->unmaps);
	spin_unlock_irqrestore(&map->lock, flags);
	return any;
}

void pav_map_take_unmaps(struct pav_map *map, struct list_head *list)
{
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	list_splice_init(&map->unmaps, list);
	spin_unlock_irqrestore(&map->lock, flags);
}

void pav_map_apply_unmaps(struct pav_map *map, struct list_head *done)
{
	unsigned long flags;
	struct pav_req *req;

	pav_map_take_unmaps(map, done);
	list_for_each_entry(req, done, link) {
		struct pav_node *leaf = req->leaf;
		bool ok;

		spin_lock_irqsave(&leaf->lock, flags);
		/* No checkpoint is under way: it is about to begin. */
		ok = pav_node_change(map, leaf);
		WARN_ON_ONCE(!ok);
		apply_entries(req->vol, leaf, NULL, req->lba, 0, req->cells, 0);
		spin_unlock_irqrestore(&leaf->lock, flags);
	}
}

void pav_map_unmaps_done(struct list_head *done, int error)
{
	struct pav_req *req, *next;

	list_for_each_entry_safe(req, next, done, link) {
		list_del(&req->link);
		req->error = error;
		write_end(req);
	}
}

const struct pav_log_ops pav_map_log_ops = {
	.applied = applied,
	.failed = failed,
	.deferred = deferred,
	.unmap_direct = unmap_direct,
};

/* ---- for who can wait: replay, the garbage collector ---- */

struct wait_leaf {
	struct pav_waiter w;
	struct completion done;
};

static void wake_leaf(struct pav_waiter *w)
{
	complete(&container_of(w, struct wait_leaf, w)->done);
}

static enum walk leaf_get_wait(struct pav_volume *vol, u64 lba, bool create, struct pav_node **leaf)
{
	struct wait_leaf wait;
	enum walk walk;

	wait.w.fn = wake_leaf;
	for (;;) {
		init_completion(&wait.done);
		walk = leaf_get(vol, lba, create, &wait.w, leaf);
		if (walk != WALK_WAIT)
			return walk;
		wait_for_completion(&wait.done);
	}
}

u64 pav_map_lookup(struct pav_volume *vol, u64 lba, u32 *crc, u32 *birth)
{
	struct pav_node *leaf;
	const struct pav_d_entry *e;
	unsigned long flags;
	u64 loc;

	if (leaf_get_wait(vol, lba, false, &leaf) != WALK_FOUND)
		return 0;
	e = entries(leaf) + lba % PAV_LEAF_ENTRIES;
	spin_lock_irqsave(&leaf->lock, flags);
	loc = le64_to_cpu(e->loc);
	*crc = le32_to_cpu(e->crc);
	*birth = le32_to_cpu(e->birth);
	spin_unlock_irqrestore(&leaf->lock, flags);
	pav_node_put(vol->map, leaf);
	return loc;
}

int pav_tree_set(struct pav_volume *vol, u64 lba, unsigned int n, u64 loc, u32 crc, u32 birth)
{
	struct pav_map *map = vol->map;
	struct pav_node *leaf = NULL;
	unsigned long flags;
	enum walk walk;
	unsigned int i;
	bool ok;

	/* A walk may claim every node on its way. */
	if (atomic_read(&map->claimed) + 5 > (int)map->claim_limit)
		return -ENOSPC;
	walk = leaf_get_wait(vol, lba, loc != 0, &leaf);
	if (walk != WALK_FOUND)
		return walk == WALK_NONE ? 0 : walk == WALK_ERROR ? -EIO : -ENOSPC;
	spin_lock_irqsave(&leaf->lock, flags);
	ok = pav_node_claim(map, leaf) && pav_node_change(map, leaf);
	for (i = 0; ok && i < n; i++) {
		struct pav_d_entry *e = entries(leaf) + (lba + i) % PAV_LEAF_ENTRIES;
		u64 old = le64_to_cpu(e->loc);

		/* Applied before, by a replay that was cut short: the counts hold it already. */
		if (old == loc)
			continue;
		entry_write(e, loc, crc, birth);
		if (old)
			pav_log_live(map->log, old, -1);
		if (loc)
			pav_log_live(map->log, loc, 1);
		pav_map_mapped(vol, !!loc - !!old);
		vol->dirty = true;
	}
	spin_unlock_irqrestore(&leaf->lock, flags);
	pav_node_put(map, leaf);
	return ok ? 0 : -ENOSPC;
}

/* ---- life ---- */

int pav_map_init(struct pav_map *map, struct pav_group *g, struct pav_log *log, const struct pav_open_params *p)
{
	unsigned int i;

	map->g = g;
	map->log = log;
	spin_lock_init(&map->lock);
	spin_lock_init(&map->dirty_lock);
	INIT_LIST_HEAD(&map->ready);
	INIT_LIST_HEAD(&map->room);
	INIT_LIST_HEAD(&map->claims);
	INIT_LIST_HEAD(&map->turn_waiters);
	INIT_LIST_HEAD(&map->dirty);
	INIT_LIST_HEAD(&map->ckpt);
	INIT_LIST_HEAD(&map->unmaps);
	INIT_LIST_HEAD(&map->deferred);
	INIT_LIST_HEAD(&map->slow);
	INIT_LIST_HEAD(&map->repair_free);
	INIT_LIST_HEAD(&map->repair_reqs);
	for (i = 0; i < PAV_TABLE_LEVELS; i++)
		INIT_LIST_HEAD(&map->tdirty[i]);
	pav_work_init(&map->repair_work, repair_work);
	map->root = g->sb->root;
	atomic64_set(&map->node_room, S64_MAX / 2);
	atomic64_set(&map->next_node, max_t(u64, le64_to_cpu(g->sb->next_node), 1));
	map->worker = pav_worker_create("map");
	map->repairs = pav_alloc(sizeof(*map->repairs) * PAV_REPAIRS);
	if (!map->worker || !map->repairs)
		return -ENOMEM;
	for (i = 0; i < PAV_REPAIRS; i++) {
		map->repairs[i].map = map;
		map->repairs[i].buf = pav_alloc_cells(1);
		if (!map->repairs[i].buf)
			return -ENOMEM;
		list_add_tail(&map->repairs[i].link, &map->repair_free);
	}
	return pav_cache_init(map, p->cache_nodes ? max_t(unsigned int, p->cache_nodes, 64) : 16384);
}

void pav_map_free(struct pav_map *map)
{
	unsigned int i;

	if (map->worker)
		pav_worker_destroy(map->worker);
	for (i = 0; i < PAV_MAX_VOLUMES; i++)
		pav_free(map->volumes[i]);
	for (i = 0; map->repairs && i < PAV_REPAIRS; i++)
		if (map->repairs[i].buf)
			pav_free_cells(map->repairs[i].buf, 1);
	pav_free(map->repairs);
	pav_cache_free(map);
}
