// SPDX-License-Identifier: GPL-2.0
/* The trees of volumes: the way down to a leaf, making what is missing; and for those that can wait. */
#include "tree.h"

/* ---- walking ---- */

enum walk pav_no_claim(struct pav_map *map)
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
		return pav_no_claim(map);
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
	return ok ? WALK_FOUND : pav_no_claim(map);
}

/* Number @idx of interior node @nr, by a look without a pin. False: it is not in memory, or not sure. */
static bool child_peek(struct pav_map *map, u64 nr, unsigned int idx, u64 *child)
{
	struct pav_node *n;
	u32 ident;

	n = pav_node_peek(map, nr, &ident);
	if (!n)
		return false;
	*child = le64_to_cpu(READ_ONCE(((__le64 *)n->data)[idx]));
	smp_rmb();
	return READ_ONCE(n->ident) == ident;
}

enum walk pav_leaf_peek(struct pav_volume *vol, u64 lba, struct pav_node **leaf, u32 *ident)
{
	u64 top = READ_ONCE(vol->top), nr = PAV_TOP_ROOT(top);
	unsigned int depth;

	for (depth = PAV_TOP_DEPTH(top); nr && depth; depth--)
		if (!child_peek(vol->map, nr, child_index(lba, depth), &nr))
			return WALK_WAIT;
	if (!nr)
		return WALK_NONE;
	*leaf = pav_node_peek(vol->map, nr, ident);
	return *leaf ? WALK_FOUND : WALK_WAIT;
}

enum walk pav_leaf_get(struct pav_volume *vol, u64 lba, bool create, struct pav_waiter *w, struct pav_node **leaf)
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
		unsigned int idx = depth ? child_index(lba, depth) : 0;
		u64 child;

		if (!nr)
			return WALK_NONE;
		/* What only shows the way need not be held. */
		if (depth && child_peek(map, nr, idx, &child) && child) {
			nr = child;
			continue;
		}
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
		walk = pav_leaf_get(vol, lba, create, &wait.w, leaf);
		if (walk != WALK_WAIT)
			return walk;
		wait_for_completion(&wait.done);
	}
}

u64 pav_map_lookup(struct pav_volume *vol, u64 lba, u32 *crc, u32 *birth)
{
	struct pav_node *leaf;
	enum walk walk;
	u32 ident;
	u64 loc;

	walk = pav_leaf_peek(vol, lba, &leaf, &ident);
	if (walk == WALK_NONE)
		return 0;
	if (walk == WALK_FOUND) {
		loc = entry_read(entries(leaf) + lba % PAV_LEAF_ENTRIES, crc, birth);
		smp_rmb();
		if (READ_ONCE(leaf->ident) == ident)
			return loc;
	}
	if (leaf_get_wait(vol, lba, false, &leaf) != WALK_FOUND)
		return 0;
	loc = entry_read(entries(leaf) + lba % PAV_LEAF_ENTRIES, crc, birth);
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
		u64 old = entry_write(e, loc, crc, birth);

		/* Applied before, by a replay that was cut short: the counts hold it already. */
		if (old == loc)
			continue;
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
	for (i = 0; i < PAV_TABLE_LEVELS; i++)
		INIT_LIST_HEAD(&map->tdirty[i]);
	map->root = g->sb->root;
	atomic64_set(&map->node_room, S64_MAX / 2);
	atomic64_set(&map->next_node, max_t(u64, le64_to_cpu(g->sb->next_node), 1));
	map->worker = pav_worker_create("map");
	if (pav_repairs_init(map) || !map->worker)
		return -ENOMEM;
	return pav_cache_init(map, p->cache_nodes ? max_t(unsigned int, p->cache_nodes, 64) : 16384);
}

void pav_map_free(struct pav_map *map)
{
	unsigned long flags;
	unsigned int i;

	if (map->worker) {
		/* Nothing waits, but whoever queued the last of it may not be out of the lock yet. */
		spin_lock_irqsave(&map->lock, flags);
		spin_unlock_irqrestore(&map->lock, flags);
		pav_worker_destroy(map->worker);
	}
	for (i = 0; i < PAV_MAX_VOLUMES; i++)
		pav_free(map->volumes[i]);
	pav_repairs_free(map);
	pav_cache_free(map);
}
