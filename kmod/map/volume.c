// SPDX-License-Identifier: GPL-2.0
/* Volume records, and the shape of volumes' trees: growing deeper, and being freed. */
#include "map.h"

unsigned int pav_tree_depth(u64 cells)
{
	u64 leaves = DIV_ROUND_UP_ULL(cells, PAV_LEAF_ENTRIES);
	unsigned int depth = 0;

	while ((leaves - 1) >> (9 * depth))
		depth++;
	return depth;
}

struct pav_volume *pav_volume_alloc(struct pav_map *map, unsigned int id)
{
	struct pav_volume *vol = pav_alloc(sizeof(*vol));

	if (!vol)
		return NULL;
	vol->map = map;
	vol->id = id;
	spin_lock_init(&vol->tree_lock);
	return vol;
}

void pav_volume_snapshot(struct pav_volume *vol)
{
	vol->top_snap = READ_ONCE(vol->top);
	vol->cells_snap = vol->cells;
	vol->mapped_snap = atomic64_read(&vol->mapped);
	vol->state_snap = vol->state;
}

void pav_volume_encode(struct pav_volume *vol, struct pav_d_volume *d)
{
	memset(d, 0, sizeof(*d));
	d->state = vol->state_snap;
	d->depth = PAV_TOP_DEPTH(vol->top_snap);
	d->root = cpu_to_le64(PAV_TOP_ROOT(vol->top_snap));
	d->cells = cpu_to_le64(vol->cells_snap);
	d->mapped = cpu_to_le64(vol->mapped_snap);
	d->birth = cpu_to_le32(vol->birth);
	memcpy(d->uuid, vol->ident.uuid, sizeof(d->uuid));
	memcpy(d->nguid, vol->ident.nguid, sizeof(d->nguid));
	memcpy(d->name, vol->ident.name, sizeof(d->name));
	memcpy(d->serial, vol->ident.serial, PAV_SERIAL_MAX + 1);
	d->props_bytes = cpu_to_le16(vol->props_bytes);
	memcpy(d->props, vol->props, vol->props_bytes);
}

int pav_volume_decode(struct pav_map *map, unsigned int id, const struct pav_d_volume *d, const char **why)
{
	struct pav_volume *vol;

	*why = pav_volume_check(d);
	if (*why)
		return -EUCLEAN;
	vol = pav_volume_alloc(map, id);
	if (!vol)
		return -ENOMEM;
	vol->state = d->state;
	vol->top = PAV_TOP(le64_to_cpu(d->root), d->depth);
	vol->cells = le64_to_cpu(d->cells);
	pav_map_mapped(vol, le64_to_cpu(d->mapped));
	vol->birth = le32_to_cpu(d->birth);
	memcpy(vol->ident.uuid, d->uuid, sizeof(d->uuid));
	memcpy(vol->ident.nguid, d->nguid, sizeof(d->nguid));
	memcpy(vol->ident.name, d->name, sizeof(d->name));
	memcpy(vol->ident.serial, d->serial, PAV_SERIAL_MAX);
	vol->props_bytes = le16_to_cpu(d->props_bytes);
	memcpy(vol->props, d->props, vol->props_bytes);
	map->volumes[id] = vol;
	return 0;
}

int pav_tree_deepen(struct pav_volume *vol, u64 cells)
{
	struct pav_map *map = vol->map;
	unsigned int depth = pav_tree_depth(cells);
	unsigned long flags;

	while (PAV_TOP_DEPTH(READ_ONCE(vol->top)) < depth) {
		struct pav_node *n;
		u64 nr, top;
		bool ok = false;

		nr = atomic64_inc_return(&map->next_node) - 1;
		n = pav_node_new(map, nr);
		if (n) {
			spin_lock_irqsave(&n->lock, flags);
			ok = pav_node_claim_control(map, n) && pav_node_change(map, n);
			spin_unlock_irqrestore(&n->lock, flags);
		}
		if (!ok) {
			if (n)
				pav_node_put(map, n);
			return -EAGAIN;
		}
		spin_lock_irqsave(&vol->tree_lock, flags);
		top = vol->top;
		if (PAV_TOP_ROOT(top)) {
			((__le64 *)n->data)[0] = cpu_to_le64(PAV_TOP_ROOT(top));
			smp_wmb();
			WRITE_ONCE(vol->top, PAV_TOP(nr, PAV_TOP_DEPTH(top) + 1));
		} else {
			WRITE_ONCE(vol->top, PAV_TOP(0, PAV_TOP_DEPTH(top) + 1));
		}
		vol->dirty = true;
		spin_unlock_irqrestore(&vol->tree_lock, flags);
		pav_node_put(map, n);
	}
	return 0;
}

/* ---- freeing ---- */

/* Empties a node for good. False: no claim to be had. Pinned. */
static bool node_kill(struct pav_volume *vol, struct pav_node *n, bool leaf)
{
	struct pav_map *map = vol->map;
	struct pav_d_entry *e = (struct pav_d_entry *)n->data;
	unsigned long flags;
	unsigned int i;
	bool ok;

	spin_lock_irqsave(&n->lock, flags);
	ok = pav_node_claim_control(map, n) && pav_node_change(map, n);
	for (i = 0; ok && leaf && i < PAV_LEAF_ENTRIES; i++)
		if (le64_to_cpu(e[i].loc)) {
			WRITE_ONCE(map->log->unlogged, true);
			pav_log_live(map->log, le64_to_cpu(e[i].loc), -1);
			pav_map_mapped(vol, -1);
		}
	if (ok) {
		memset(n->data, 0, PAV_CELL_BYTES);
		n->dead = true;
	}
	spin_unlock_irqrestore(&n->lock, flags);
	return ok;
}

int pav_tree_free_some(struct pav_volume *vol, unsigned int nodes)
{
	struct pav_map *map = vol->map;
	unsigned long flags;

	vol->dirty = true;
	while (nodes--) {
		u64 nr = PAV_TOP_ROOT(vol->top);
		unsigned int depth = PAV_TOP_DEPTH(vol->top), idx = 0;
		struct pav_node *n, *parent = NULL;
		bool ok;

		if (!nr)
			return 0;
		/* Down to the first leaf, or to an interior node without children. */
		for (;;) {
			unsigned int i = 0;
			u64 child = 0;

			n = pav_node_get_wait(map, nr);
			for (; depth && i < PAV_INTERIOR_ENTRIES && !n->error; i++) {
				child = le64_to_cpu(((__le64 *)n->data)[i]);
				if (child)
					break;
			}
			if (!child)
				break;
			if (parent)
				pav_node_put(map, parent);
			parent = n;
			idx = i;
			nr = child;
			depth--;
		}
		/* A node that cannot be read maps nothing any more; what it mapped stays counted as alive. */
		ok = node_kill(vol, n, !depth && !n->error);
		if (ok && parent) {
			spin_lock_irqsave(&parent->lock, flags);
			ok = pav_node_claim_control(map, parent) && pav_node_change(map, parent);
			if (ok)
				((__le64 *)parent->data)[idx] = 0;
			spin_unlock_irqrestore(&parent->lock, flags);
		} else if (ok) {
			vol->top = PAV_TOP(0, PAV_TOP_DEPTH(vol->top));
		}
		if (parent)
			pav_node_put(map, parent);
		pav_node_put(map, n);
		if (!ok)
			return 1;
	}
	return 1;
}
