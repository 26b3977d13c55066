// SPDX-License-Identifier: GPL-2.0
/*
 * The way of writes, unmaps and moves through the map: walk to the leaf, making what is missing -> claim it, mark the range busy -> log/ -> applied():
 * entries change -> acknowledge.
 */
#include "tree.h"

/* ---- write, unmap ---- */

static void write_walk(struct pav_waiter *w);
static void write_again(struct pav_waiter *w);
static void admit_again(struct pav_waiter *w);

static bool is_move(const struct pav_req *req)
{
	return (unsigned int)req->op == PAV_REQ_MOVE;
}

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
	room = leave(map, leaf, is_move(req));
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

/* ---- moves that are on their way to the log ---- */

/* @req is not on its way to the log any more. True: it was the last that the stream waits for. */
static bool last_coming(struct pav_req *req)
{
	struct pav_move *m = container_of(req, struct pav_move, req);

	if (!is_move(req) || !m->coming)
		return false;
	m->coming = false;
	return atomic_dec_and_test(&req->vol->map->coming);
}

/* It will not be in the log, or not soon. */
static void turned_away(struct pav_req *req)
{
	if (last_coming(req))
		pav_log_end_batch(pav_log_gc_stream(req->vol->map->log));
}

static void end_unlogged(struct pav_req *req, int error)
{
	turned_away(req);
	req->error = error;
	req->done(req);
}

/* Ends a request that is not in the log; it holds the leaf but for a look. */
static void refuse(struct pav_req *req, struct pav_node *leaf, int error)
{
	pav_node_put_look(leaf);
	end_unlogged(req, error);
}

static void wait_claim(struct pav_req *req)
{
	turned_away(req);
	req->wait.fn = write_again;
	pav_map_wait_claim(req->vol->map, &req->wait);
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
	bool blocked, last, move = is_move(req);

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
		walk = pav_no_claim(map);
		if (walk != WALK_CLAIM) {
			refuse(req, leaf, walk == WALK_NO_SPACE ? -ENOSPC : -EIO);
			return;
		}
		pav_node_put_look(leaf);
		if (in == ENTER_CLAIM) {
			wait_claim(req);
		} else {
			req->wait.fn = write_again;
			pav_map_wait_hold(map, &req->wait);
		}
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
	/* Once it is in the log it may be over, and be gone. */
	last = last_coming(req);
	pav_log_submit(map->log, req, req->hint);
	if (last)
		pav_log_end_batch(pav_log_gc_stream(map->log));
}

static void admit_again(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);

	admit(req, req->leaf);
}

/* There was nothing to unmap. As good as done; but of a group that is ours no more another host may have written there since. */
static void nothing_unmapped(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);

	req->error = READ_ONCE(req->vol->map->g->owner.lost) ? -EIO : 0;
	req->done(req);
}

static void write_walk(struct pav_waiter *w)
{
	struct pav_req *req = container_of(w, struct pav_req, wait);
	struct pav_node *leaf;
	enum walk walk = pav_leaf_get(req->vol, req->lba, req->op == PAV_WRITE, &req->wait, &leaf);

	/* If it waits it is not ours any more. */
	if (walk != WALK_WAIT)
		walk_over(req);
	switch (walk) {
	case WALK_WAIT:
		return;
	case WALK_CLAIM:
		wait_claim(req);
		return;
	case WALK_ERROR:
	case WALK_NO_SPACE:
		end_unlogged(req, walk == WALK_ERROR ? -EIO : -ENOSPC);
		return;
	case WALK_NONE:
		if (req->op == PAV_UNMAP) {
			req->wait.fn = nothing_unmapped;
			if (pav_owner_sure(req->vol->map->g, &req->wait))
				nothing_unmapped(&req->wait);
			return;
		}
		/* Of what was to be moved nothing is left. */
		end_unlogged(req, -ESTALE);
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

void pav_map_begin_moves(struct pav_map *map, unsigned int n)
{
	atomic_set(&map->coming, n);
	pav_log_begin_batch(pav_log_gc_stream(map->log));
}

void pav_map_move(struct pav_move *m)
{
	m->coming = true;
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
				       is_move(req) ? container_of(req, struct pav_move, req)->birth : req->vol->map->log->birth);
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
