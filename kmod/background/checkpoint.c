// SPDX-License-Identifier: GPL-2.0
/* The checkpoint. What it promises: see checkpoint.h, and I5, I6 in DESIGN.md. */
#include "checkpoint.h"

static void node_written(struct pav_req *req)
{
	struct pav_node_write *w = container_of(req, struct pav_node_write, req);
	struct pav_checkpoint *c = w->ctx;

	if (atomic_dec_and_test(&c->pending))
		complete(&c->all);
}

/* Returns the old location. */
static u64 entry_set(struct pav_d_entry *e, u64 loc, u32 crc, u32 birth)
{
	u64 old = le64_to_cpu(e->loc);

	e->loc = cpu_to_le64(loc);
	e->crc = cpu_to_le32(crc);
	e->birth = cpu_to_le32(birth);
	return old;
}

/* Puts a block of the node table on the list of its level. Its lock held. */
static void table_dirty(struct pav_map *map, struct pav_node *t)
{
	lockdep_assert_held(&t->lock);
	if (t->dirty)
		return;
	t->dirty = true;
	spin_lock(&map->dirty_lock);
	list_add_tail(&t->dirty_link, &map->tdirty[PAV_KEY_LEVEL(t->key)]);
	map->tdirty_count++;
	spin_unlock(&map->dirty_lock);
}

/* Must this block of the segment table be in the checkpoint? */
static bool segments_changed(const struct pav_checkpoint *c, u32 node)
{
	return c->seg_snap[node] || READ_ONCE(c->log->seg_dirty[node]);
}

/* Sets the entry of @key (a node, or a block of the node table) in the block above it. */
static int table_set(struct pav_checkpoint *c, u64 key, u64 loc, u32 crc)
{
	struct pav_map *map = c->map;
	int level = PAV_KEY_LEVEL(key);
	u64 index = PAV_KEY_INDEX(key), old;
	struct pav_d_entry *e;
	struct pav_node *t = NULL;
	unsigned long flags;

	if (level == PAV_TABLE_LEVELS - 1) {
		e = &map->root;
	} else {
		t = pav_node_get_wait(map, PAV_TABLE_KEY(level + 1, index >> PAV_TABLE_BITS));
		if (t->error) {
			pav_node_put(map, t);
			return t->error;
		}
		e = (struct pav_d_entry *)t->data + (index & ((1u << PAV_TABLE_BITS) - 1));
	}
	if (t) {
		spin_lock_irqsave(&t->lock, flags);
		old = entry_set(e, loc, crc, c->log->birth);
		table_dirty(map, t);
		spin_unlock_irqrestore(&t->lock, flags);
	} else {
		old = entry_set(e, loc, crc, c->log->birth);
	}
	if (loc)
		pav_log_live(c->log, loc, 1);
	if (old)
		pav_log_live(c->log, old, -1);
	if (t)
		pav_node_put(map, t);
	return 0;
}

/* A node of the tree is on its way to disk, or need not go: it is clean, unless it changed meanwhile. @again: it must stay dirty. */
static void node_cleaned(struct pav_map *map, struct pav_node *n, bool again)
{
	unsigned long flags;

	spin_lock_irqsave(&n->lock, flags);
	spin_lock(&map->dirty_lock);
	if (n->shadow) {
		map->shadow[map->shadows++] = n->shadow;
		n->shadow = NULL;
	}
	n->ckpt = false;
	n->dirty |= again;
	if (n->dirty)
		list_add_tail(&n->dirty_link, &map->dirty);
	spin_unlock(&map->dirty_lock);
	pav_node_unclaim_if_idle(map, n);
	spin_unlock_irqrestore(&n->lock, flags);
}

/* The image of @n is on its way to the table or has failed to get there; until now a pin kept @n in the cache. */
static void image_written(struct pav_checkpoint *c, struct pav_node *n, int error)
{
	struct pav_map *map = c->map;
	int level = PAV_KEY_LEVEL(n->key);
	unsigned long flags;

	spin_lock_irqsave(&n->lock, flags);
	spin_lock(&map->dirty_lock);
	if (level >= 0) {
		/* Only the checkpoint changes these, and not since: it changes a level before it writes it. */
		n->dirty = error != 0;
		if (error) {
			list_add_tail(&n->dirty_link, &map->tdirty[level]);
			map->tdirty_count++;
		}
	} else {
		n->staged = false;
		if (error && !n->dirty) {
			n->dirty = true;
			list_add_tail(&n->dirty_link, &map->dirty);
		}
	}
	spin_unlock(&map->dirty_lock);
	pav_node_unclaim_if_idle(map, n);
	spin_unlock_irqrestore(&n->lock, flags);
	pav_node_put(map, n);
}

/* Writes what is staged and enters where it went. */
static int flush(struct pav_checkpoint *c)
{
	struct pav_stream *s = &c->log->streams[c->log->nstreams];
	unsigned int i, n = c->staged;
	int error = 0;

	if (!n)
		return 0;
	c->staged = 0;
	init_completion(&c->all);
	atomic_set(&c->pending, n);
	pav_log_begin_batch(s);
	for (i = 0; i < n; i++)
		pav_log_submit_node(c->log, &c->write[i]);
	pav_log_end_batch(s);
	wait_for_completion(&c->all);
	for (i = 0; i < n; i++) {
		int e = c->write[i].req.error;

		if (!e)
			e = table_set(c, c->write[i].req.lba, c->write[i].loc, c->write[i].crc);
		if (c->node[i])
			image_written(c, c->node[i], e);
		error = error ? error : e;
	}
	atomic64_add(n, &c->nodes);
	pav_log_unpark(c->log);
	pav_map_room(c->map);
	return error;
}

/*
 * Room for the image of @key. @n: the node it is of, which is kept in the cache until the table tells its new place: a load from the old one must
 * not come in between. NULL: it is of no node.
 */
static u8 *stage(struct pav_checkpoint *c, u64 key, struct pav_node *n, int *error)
{
	struct pav_node_write *w;
	int e = c->staged == c->batch ? flush(c) : 0;

	*error = *error ? *error : e;
	if (n)
		atomic_inc(&n->pins);
	c->node[c->staged] = n;
	w = &c->write[c->staged];
	memset(w, 0, sizeof(*w));
	w->ctx = c;
	w->req.op = (enum pav_req_op)PAV_REQ_NODE;
	w->req.lba = key;
	w->req.cells = 1;
	w->req.done = node_written;
	w->buf = c->stage[c->staged];
	return c->stage[c->staged++];
}

static struct pav_node *take_first(struct pav_map *map, struct list_head *list)
{
	struct pav_node *n = NULL;
	unsigned long flags;

	spin_lock_irqsave(&map->dirty_lock, flags);
	if (!list_empty(list)) {
		n = list_first_entry(list, struct pav_node, dirty_link);
		list_del(&n->dirty_link);
	}
	spin_unlock_irqrestore(&map->dirty_lock, flags);
	return n;
}

static int flush_level(struct pav_checkpoint *c, int level)
{
	struct pav_node *n;
	int error = flush(c), e;

	while (!error) {
		n = take_first(c->map, &c->map->tdirty[level]);
		if (!n)
			break;
		c->map->tdirty_count--;
		memcpy(stage(c, n->key, n, &error), n->data, PAV_CELL_BYTES);
	}
	e = flush(c);
	return error ? error : e;
}

static int flush_table(struct pav_checkpoint *c)
{
	int level, error = 0;

	for (level = 0; level < PAV_TABLE_LEVELS && !error; level++)
		error = flush_level(c, level);
	return error;
}

/* Images of the nodes that were dirty at the snapshot. With @error they all stay dirty. */
static int write_nodes(struct pav_checkpoint *c, int error)
{
	struct pav_map *map = c->map;
	struct pav_node *n;
	int e;

	while ((n = take_first(map, &map->ckpt))) {
		unsigned long flags;
		u8 *image;

		if (error) {
			node_cleaned(map, n, true);
			continue;
		}
		if (n->dead) {
			/* Nobody is there to change it again. */
			error = table_set(c, n->key, 0, 0);
			n->dead = error != 0;
			node_cleaned(map, n, error != 0);
			continue;
		}
		image = stage(c, n->key, n, &error);
		spin_lock_irqsave(&n->lock, flags);
		memcpy(image, n->shadow ? n->shadow : n->data, PAV_CELL_BYTES);
		/* Until its image is written it keeps its claim: it takes a slot that loads cannot have. */
		n->staged = true;
		spin_unlock_irqrestore(&n->lock, flags);
		node_cleaned(map, n, false);
		/* Blocks of the node table take slots too: not too many of them. */
		if (!error && map->tdirty_count > map->nslots / 8)
			error = flush_table(c);
	}
	e = flush(c);
	return error ? error : e;
}

static int write_volumes(struct pav_checkpoint *c)
{
	unsigned int id;
	int error = 0;

	for (id = 0; id < PAV_MAX_VOLUMES && !error; id++) {
		struct pav_volume *vol = c->map->volumes[id];
		u8 *image;

		if (!vol || !vol->snapped)
			continue;
		if (vol->state_snap == PAV_VOLUME_NONE) {
			error = table_set(c, PAV_NR_VOLUME + id, 0, 0);
		} else {
			image = stage(c, PAV_NR_VOLUME + id, NULL, &error);
			pav_volume_encode(vol, (struct pav_d_volume *)image);
		}
	}
	return error;
}

static void encode_segments(struct pav_checkpoint *c, u32 node, u8 *image)
{
	struct pav_d_segment *d = (struct pav_d_segment *)image;
	u32 i, first = node * PAV_SEGS_PER_NODE;

	memset(image, 0, PAV_CELL_BYTES);
	for (i = 0; i < PAV_SEGS_PER_NODE && first + i < c->g->segments; i++) {
		pav_log_encode_segment(c->log, first + i, &d[i]);
		/* In the middle of replay, also of what was renewed and is not in use yet. */
		d[i].live = cpu_to_le32(c->live_snap[first + i]);
	}
}

/* Nodes that may be made between two checkpoints: so the next one is not much larger than what there is. */
static u64 new_nodes(const struct pav_checkpoint *c)
{
	return max_t(u64, min_t(u64, c->map->claim_limit, pav_log_meta_when_full(c->log)) / 8, 256);
}

/* @n nodes, and the blocks of the node table above them, as far as that can be told; but no more blocks than the table has. */
static unsigned int with_table(struct pav_checkpoint *c, unsigned int n)
{
	u64 all = 4 * PAV_TABLE_LEVELS + PAV_MAX_VOLUMES / 128 + c->log->seg_nodes / 128;
	u64 nodes = max_t(u64, atomic64_read(&c->map->next_node), pav_log_meta_when_full(c->log)) + new_nodes(c);
	unsigned int level;

	for (level = 0; level < PAV_TABLE_LEVELS; level++)
		all += nodes >> PAV_TABLE_BITS * (level + 1);
	return n + min_t(u64, n / 2 + 3 * PAV_TABLE_LEVELS, all);
}

/* How many nodes the checkpoint will write: dirty ones and records. */
static unsigned int image_count(struct pav_checkpoint *c)
{
	unsigned int n = atomic_read(&c->map->claimed) + c->map->tdirty_count, id;
	u32 i;

	for (i = 0; i < c->log->seg_nodes; i++)
		n += segments_changed(c, i);
	for (id = 0; id < PAV_MAX_VOLUMES; id++)
		n += c->map->volumes[id] && (c->map->volumes[id]->snapped || c->map->volumes[id]->dirty);
	return with_table(c, n);
}

/* The largest checkpoint there can be while the group fills: every claim taken, or every node changed, and every record. */
static u32 largest_rows(struct pav_checkpoint *c)
{
	u64 nodes = pav_log_meta_when_full(c->log) + 2 * new_nodes(c);	/* made before this checkpoint, and before the next */
	unsigned int n = min_t(u64, c->map->claim_limit, nodes) + c->log->seg_nodes, id;

	for (id = 0; id < PAV_MAX_VOLUMES; id++)
		n += c->map->volumes[id] != NULL;
	return pav_log_meta_rows(c->log, with_table(c, n));
}

/* Last of all that needs room: no segment may change its state between the images made here and the commit, but ones in the replay list. */
static int write_segments(struct pav_checkpoint *c)
{
	unsigned int n = 0, tables;
	u32 i;
	int error;

	pav_log_lack_meta(c->log);
	for (i = 0; i < c->log->seg_nodes; i++)
		n += segments_changed(c, i);
	/* Every dirty block of the table, those the segments' images will dirty, all the way up. */
	tables = c->map->tdirty_count + 2 * n + 2 * PAV_TABLE_LEVELS;
	tables += tables / 2;
	error = flush(c);
	if (!error)
		error = pav_log_reserve_meta(c->log, n + tables);
	/* Setting segments aside may have dirtied more of them; look again. */
	for (i = 0; i < c->log->seg_nodes && !error; i++) {
		u8 *image;

		if (!segments_changed(c, i))
			continue;
		image = stage(c, PAV_NR_SEGMENTS + i, NULL, &error);
		encode_segments(c, i, image);
		c->seg_snap[i] = 1;
	}
	return error ? error : flush(c);
}

struct commit {
	struct pav_checkpoint *c;
	u64 seq, log_id;
};

static void change_superblock(void *ctx, struct pav_d_superblock *sb)
{
	struct commit *m = ctx;
	unsigned int i;

	/* In the middle of replay the list stays; but the table knows now what became of its segments. */
	for (i = 0; i < le16_to_cpu(sb->replays); i++)
		sb->replay[i].renewed = 0;
	sb->root = m->c->map->root;
	sb->seq = cpu_to_le64(m->seq);
	if (m->log_id)
		sb->log_id = cpu_to_le64(m->log_id);
	sb->next_node = cpu_to_le64(atomic64_read(&m->c->map->next_node));
	sb->checkpoint = cpu_to_le32(m->c->log->birth);
}

void pav_checkpoint_loaded(struct pav_checkpoint *c)
{
	u32 i;

	/* An image may be made of a block that was clean at the snapshot and is not any more: it tells what these say. */
	for (i = 0; i < c->g->segments; i++)
		c->live_snap[i] = atomic_read(&c->log->seg[i].live);
}

static void snapshot(struct pav_checkpoint *c)
{
	struct pav_map *map = c->map;
	struct pav_node *n;
	unsigned int id;
	unsigned long flags;
	u32 i, j;

	pav_log_snapshot(c->log);
	bitmap_zero(c->dead, c->g->segments);
	pav_log_find_dead(c->log, PAV_SEG_DATA, c->dead);
	for (i = 0; i < c->log->seg_nodes; i++) {
		if (!READ_ONCE(c->log->seg_dirty[i]))
			continue;
		WRITE_ONCE(c->log->seg_dirty[i], 0);
		c->seg_snap[i] = 1;
		for (j = i * PAV_SEGS_PER_NODE; j < min_t(u32, (i + 1) * PAV_SEGS_PER_NODE, c->g->segments); j++)
			c->live_snap[j] = atomic_read(&c->log->seg[j].live);
	}
	for (id = 0; id < PAV_MAX_VOLUMES; id++) {
		struct pav_volume *vol = map->volumes[id];

		if (!vol || !(vol->dirty || vol->snapped))
			continue;
		vol->dirty = false;
		vol->snapped = true;
		pav_volume_snapshot(vol);
	}
	/* Nobody changes nodes now but walks that make children; each of those is either before this or after it. */
	spin_lock_irqsave(&map->dirty_lock, flags);
	list_splice_init(&map->dirty, &map->ckpt);
	spin_unlock_irqrestore(&map->dirty_lock, flags);
	list_for_each_entry(n, &map->ckpt, dirty_link) {
		spin_lock_irqsave(&n->lock, flags);
		n->dirty = false;
		n->ckpt = true;
		spin_unlock_irqrestore(&n->lock, flags);
	}
}

/* ---- metadata segments that are mostly dead ---- */

/* Does the node table say that the image of @key lies at @loc? */
static bool lies_at(struct pav_checkpoint *c, u64 key, u64 loc, u32 *crc)
{
	struct pav_map *map = c->map;
	int level = PAV_KEY_LEVEL(key);
	u64 index = PAV_KEY_INDEX(key);
	struct pav_d_entry e = map->root;

	if (level < PAV_TABLE_LEVELS - 1) {
		struct pav_node *t = pav_node_get_wait(map, PAV_TABLE_KEY(level + 1, index >> PAV_TABLE_BITS));

		e = ((struct pav_d_entry *)t->data)[index & ((1u << PAV_TABLE_BITS) - 1)];
		if (t->error)
			memset(&e, 0, sizeof(e));
		pav_node_put(map, t);
	}
	*crc = le32_to_cpu(e.crc);
	return le64_to_cpu(e.loc) == loc;
}

bool pav_checkpoint_lies_at(struct pav_checkpoint *c, u64 key, u64 loc)
{
	bool is;
	u32 crc;

	mutex_lock(&c->lock);
	is = lies_at(c, key, loc, &crc);
	mutex_unlock(&c->lock);
	return is;
}

/* The image of @key, which lies at @loc, is written anew as it is; what is newer in memory is the next checkpoint's. @cell: it was read there. */
static int move_image(struct pav_checkpoint *c, u64 key, u64 loc, u32 crc, u8 *cell)
{
	int error = 0;

	/* What cannot be read by anybody leaves its segment as it is. */
	if (pav_cell_make_right(&c->asleep, c->g, loc, crc, cell))
		memcpy(stage(c, key, NULL, &error), cell, PAV_CELL_BYTES);
	return error;
}

static int move_stripe(void *ctx, const struct pav_d_stripe *h, const struct pav_scan_at *at)
{
	struct pav_checkpoint *c = ctx;
	struct pav_stripe_place place = pav_stripe_place(at->set, h);
	unsigned int i, cell = 1;
	int error = 0;
	u32 crc;

	for (i = 0; i < le16_to_cpu(h->entries) && !error; i++) {
		u64 k = le64_to_cpu(h->entry[i].key), key = (u64)pav_key_volume(k) << 56 | pav_key_lba(k), loc;
		u32 column = (at->c0 + cell / h->rows) % at->set->n, row = cell % h->rows;

		if (pav_key_type(k) == PAV_ENTRY_UNMAP)
			continue;
		loc = pav_place_loc(&place, cell++);
		if (pav_key_type(k) != PAV_ENTRY_NODE || !lies_at(c, key, loc, &crc))
			continue;
		c->found++;
		if (PAV_KEY_LEVEL(key) < 0) {
			error = move_image(c, key, loc, crc, pav_scan_cell(&c->scan, column, at->i + row));
		} else {
			struct pav_node *t = pav_node_get_wait(c->map, key);
			unsigned long flags;

			spin_lock_irqsave(&t->lock, flags);
			if (!t->error)
				table_dirty(c->map, t);
			spin_unlock_irqrestore(&t->lock, flags);
			pav_node_put(c->map, t);
		}
		if (!error && c->map->tdirty_count > c->map->nslots / 8)
			error = flush_table(c);
	}
	return error;
}

static int empty_segment(struct pav_checkpoint *c, u32 seg)
{
	unsigned int alive = atomic_read(&c->log->seg[seg].live);
	int error;

	c->found = 0;
	error = pav_scan_stripes(&c->scan, seg, move_stripe, c);
	if (error || c->found >= alive)
		return error;
	/* Headers may be rotten: their stripes are looked for the long way. What was found, the table is to tell of first. */
	error = flush(c);
	if (error)
		return error;
	c->found = 0;
	c->scan.thorough = true;
	error = pav_scan_stripes(&c->scan, seg, move_stripe, c);
	c->scan.thorough = false;
	if (c->found)
		pav_reached("metadata found past a rotten header");
	return error;
}

/*
 * Checkpoints write nodes anew and leave holes where they were. When segments become few, what still lies in the emptiest metadata segments is
 * written anew too, so that they die.
 */
static int move_metadata(struct pav_checkpoint *c)
{
	/* The table must tell of every newer image before it is asked where one lies. */
	int error = flush(c);
	u32 seg;

	for (seg = find_next_bit(c->victims, c->g->segments, 0); seg < c->g->segments && !error;
	     seg = find_next_bit(c->victims, c->g->segments, seg + 1)) {
		pav_reached("metadata segment emptied");
		error = empty_segment(c, seg);
	}
	return error;
}

/* There is no room to finish a checkpoint: whoever hoped for one is told. */
static int no_room(struct pav_checkpoint *c)
{
	struct list_head unmaps;

	pav_reached("no room for a checkpoint");
	WRITE_ONCE(c->map->stuck, -ENOSPC);
	INIT_LIST_HEAD(&unmaps);
	pav_map_take_unmaps(c->map, &unmaps);
	pav_map_unmaps_done(&unmaps, -ENOSPC);
	pav_log_check_starved(c->log, true);
	if (c->gc_want)
		c->gc_want(c->gc);
	pav_map_room(c->map);
	pav_log_kick(c->log);
	return -ENOSPC;
}

/* The segments in @c->dead are free, once readers have let go of them. @early: before a checkpoint tells so. */
static void free_dead(struct pav_checkpoint *c, bool early)
{
	void (*freed)(void *discard) = smp_load_acquire(&c->freed);
	bool any = find_next_bit(c->dead, c->g->segments, 0) < c->g->segments;

	if (any) {
		pav_map_wait_readers(c->map);
		pav_group_wait_heals(c->g);
		pav_log_free_segments(c->log, c->dead, early);
	}
	/* What was free before a checkpoint told so is not discarded until then: it is the first to be used again. */
	if (!early && (pav_log_settle(c->log) || any) && freed)
		freed(c->discard);
}

static int write_checkpoint(struct pav_checkpoint *c, u64 seq, u64 log_id, bool *moved)
{
	struct pav_map *map = c->map;
	struct list_head unmaps;
	struct commit m = { .c = c, .log_id = log_id };
	u64 start = pav_now_ns();
	unsigned int id;
	bool again = false;
	int error;
	u32 i;

	INIT_LIST_HEAD(&unmaps);
	pav_log_set_margin(c->log, largest_rows(c));
	bitmap_zero(c->victims, c->g->segments);
	*moved = !READ_ONCE(c->g->faulted) && pav_log_sparse_meta(c->log, image_count(c), c->victims);
	/* Asked before anything is touched: then nothing need be undone. */
	if (!READ_ONCE(c->g->faulted) && !pav_log_room_for_checkpoint(c->log, image_count(c), c->g->fill && !log_id))
		return no_room(c);
	WRITE_ONCE(c->running, true);
	c->undone = true;
	m.seq = pav_log_freeze(c->log);
	pav_map_apply_unmaps(map, &unmaps);
	if (seq)
		m.seq = seq;
	snapshot(c);
	WRITE_ONCE(c->log->unlogged, false);
	pav_log_thaw(c->log);
	c->freeze_ns = pav_now_ns() - start;

	error = write_nodes(c, READ_ONCE(c->g->faulted) ? -EIO : 0);
	if (!error)
		error = write_volumes(c);
	if (!error)
		error = move_metadata(c);
	if (!error)
		error = write_segments(c);
	if (!error)
		error = flush_table(c);
	c->staged = 0;
	/* Only checkpoints let go of metadata: what this one leaves empty is not needed once it is committed. */
	pav_log_find_dead(c->log, PAV_SEG_META, c->dead);
	pav_log_set_dying(c->log, c->dead);
	if (!error)
		error = pav_group_commit(c->g, PAV_COMMIT_CHECKPOINT, change_superblock, &m);
	if (!error) {
		c->undone = false;
		for (i = 0; i < c->log->seg_nodes; i++)
			c->seg_snap[i] = 0;
		for (id = 0; id < PAV_MAX_VOLUMES; id++)
			if (map->volumes[id])
				map->volumes[id]->snapped = false;
		c->log->birth++;
		free_dead(c, false);
		WRITE_ONCE(map->capacity, pav_log_capacity(c->log));
		again = pav_log_check_starved(c->log, c->hoped);
		c->hoped = again && !c->log->reserved;
		if (c->gc_want && pav_log_gc_wanted(c->log))
			c->gc_want(c->gc);
		atomic64_inc(&c->count);
		WRITE_ONCE(map->stuck, 0);
		/* In the middle of replay nothing is refused: what is replayed was acknowledged. */
		if (!seq)
			pav_map_set_node_room(map, min_t(u64, pav_log_node_room(c->log), new_nodes(c)));
	} else {
		pav_reached("checkpoint failed");
		WRITE_ONCE(map->stuck, error);
		pav_log(PAV_ERR, "%s: checkpoint failed: error %d; the one before it stands", c->g->name, error);
	}
	c->last_ns = pav_now_ns() - start;
	WRITE_ONCE(c->running, false);
	smp_mb();
	pav_log_unpark(c->log);
	pav_map_unmaps_done(&unmaps, error);
	pav_map_room(map);
	pav_log_kick(c->log);
	if (again || pav_map_unmaps_wait(map))
		pav_checkpoint_want(c);
	return error;
}

int pav_checkpoint_locked(struct pav_checkpoint *c, u64 seq, u64 log_id)
{
	unsigned int round = 0;
	bool moved;
	int error = write_checkpoint(c, seq, log_id, &moved);

	/* Left with too little room for the next ones: empties sparse metadata segments until there is enough, as long as that gains anything. */
	moved = true;
	while (!error && moved && pav_log_meta_short(c->log) && round++ < PAV_CKPT_ROUNDS) {
		pav_reached("checkpoint to gain room");
		/* Whatever becomes of it, the caller's is durable. */
		if (write_checkpoint(c, seq, 0, &moved))
			break;
	}
	return error;
}

int pav_checkpoint_run(struct pav_checkpoint *c)
{
	int error;

	mutex_lock(&c->lock);
	error = pav_checkpoint_locked(c, 0, 0);
	mutex_unlock(&c->lock);
	return error;
}

int pav_checkpoint_leave_segments(struct pav_checkpoint *c, bool all)
{
	int error;

	mutex_lock(&c->lock);
	pav_log_leave_segments(c->log, all);
	error = pav_checkpoint_locked(c, 0, 0);
	mutex_unlock(&c->lock);
	return error;
}

/*
 * Segments for the log without a checkpoint: those that have died since the last one, and free ones, are listed for replay, and that is all. The checkpoint's
 * map may still point to what was in them; but replay, in order, comes past all that died there before it comes to what is written there next. Lock held. False: a
 * checkpoint is needed.
 */
static bool renew(struct pav_checkpoint *c)
{
	lockdep_assert_held(&c->lock);
	/* One that failed may have changed in memory what no replay would. */
	if (!c->g->fill || c->undone || READ_ONCE(c->g->faulted) || !pav_log_may_renew(c->log))
		return false;
	bitmap_zero(c->dead, c->g->segments);
	pav_log_find_renewable(c->log, c->dead);
	free_dead(c, true);
	if (pav_group_commit(c->g, PAV_COMMIT_SEGMENTS, NULL, NULL) || !c->log->reserved)
		return false;
	pav_reached("segments renewed");
	atomic64_inc(&c->renewals);
	if (READ_ONCE(c->log->starved))
		pav_log_check_starved(c->log, true);
	pav_map_room(c->map);
	return true;
}

int pav_checkpoint_segments(struct pav_checkpoint *c)
{
	int error = 0;

	mutex_lock(&c->lock);
	if (!renew(c))
		error = pav_checkpoint_locked(c, 0, 0);
	mutex_unlock(&c->lock);
	return error;
}

static void checkpoint_work(struct pav_work *work)
{
	struct pav_checkpoint *c = container_of(work, struct pav_checkpoint, work);
	bool whole, needed;

	if (READ_ONCE(c->off))
		return;
	mutex_lock(&c->lock);
	whole = atomic_xchg(&c->wanted, 0);
	needed = atomic_xchg(&c->needed, 0);
	if (whole || ((needed || pav_log_short(c->log)) && !renew(c)))
		pav_checkpoint_locked(c, 0, 0);
	mutex_unlock(&c->lock);
}

void pav_checkpoint_want(void *ctx)
{
	struct pav_checkpoint *c = ctx;

	if (READ_ONCE(c->off) || READ_ONCE(c->running))
		return;
	atomic_set(&c->wanted, 1);
	pav_work_queue(c->worker, &c->work);
}

void pav_checkpoint_want_segments(void *ctx, bool needed)
{
	struct pav_checkpoint *c = ctx;

	if (READ_ONCE(c->off) || READ_ONCE(c->running))
		return;
	if (needed)
		atomic_set(&c->needed, 1);
	pav_work_queue(c->worker, &c->work);
}

void pav_checkpoint_want_space(void *ctx)
{
	struct pav_checkpoint *c = ctx;
	void (*want)(void *gc) = READ_ONCE(c->gc_want);

	if (want)
		want(c->gc);
}

int pav_checkpoint_init(struct pav_checkpoint *c, struct pav_group *g, struct pav_log *log, struct pav_map *map)
{
	unsigned int i;

	c->g = g;
	c->log = log;
	c->map = map;
	c->off = true;
	mutex_init(&c->lock);
	pav_work_init(&c->work, checkpoint_work);
	c->worker = pav_worker_create("checkpoint");
	c->seg_snap = pav_alloc(log->seg_nodes);
	c->live_snap = pav_alloc(sizeof(*c->live_snap) * g->segments);
	c->dead = pav_alloc(DIV_ROUND_UP(g->segments, 64) * 8);
	c->write = pav_alloc(sizeof(*c->write) * PAV_CKPT_BATCH);
	c->node = pav_alloc(sizeof(*c->node) * PAV_CKPT_BATCH);
	c->victims = pav_alloc(DIV_ROUND_UP(g->segments, 64) * 8);
	if (pav_scan_init(&c->scan, log))
		return -ENOMEM;
	if (!c->victims || !c->worker || !c->seg_snap || !c->live_snap || !c->dead || !c->write || !c->node)
		return -ENOMEM;
	c->batch = clamp_t(unsigned int, g->data_drives * log->max_rows, 2, PAV_CKPT_BATCH);
	c->batch = max_t(unsigned int, c->batch - c->batch % g->data_drives, 2) - 1;
	for (i = 0; i < PAV_CKPT_BATCH; i++) {
		c->stage[i] = pav_alloc_cells(1);
		if (!c->stage[i])
			return -ENOMEM;
	}
	return 0;
}

void pav_checkpoint_free(struct pav_checkpoint *c)
{
	unsigned int i;

	if (c->worker)
		pav_worker_destroy(c->worker);
	for (i = 0; i < PAV_CKPT_BATCH; i++)
		if (c->stage[i])
			pav_free_cells(c->stage[i], 1);
	pav_free(c->node);
	pav_free(c->write);
	pav_scan_free(&c->scan);
	pav_free(c->victims);
	pav_free(c->dead);
	pav_free(c->live_snap);
	pav_free(c->seg_snap);
}
