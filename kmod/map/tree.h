/* SPDX-License-Identifier: GPL-2.0 */
/* What the walk down a tree (tree.c), reading (read.c) and writing (write.c) share; for map/ alone. */
#ifndef PAV_TREE_H
#define PAV_TREE_H

#include "map.h"

enum walk { WALK_FOUND, WALK_NONE, WALK_WAIT, WALK_CLAIM, WALK_ERROR, WALK_NO_SPACE };

static inline unsigned int child_index(u64 lba, unsigned int depth)
{
	return (lba / PAV_LEAF_ENTRIES >> (9 * (depth - 1))) % PAV_INTERIOR_ENTRIES;
}

static inline struct pav_d_entry *entries(struct pav_node *leaf)
{
	return (struct pav_d_entry *)leaf->data;
}

/* The leaf's lock held. Returns the old location. */
static inline u64 entry_write(struct pav_d_entry *e, u64 loc, u32 crc, u32 birth)
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

/* One entry, as it is or was at one moment: writers pass through PAV_BUSY_LOC. No lock. */
static inline u64 entry_read(const struct pav_d_entry *e, u32 *crc, u32 *birth)
{
	u64 loc;

	for (;;) {
		loc = le64_to_cpu(READ_ONCE(e->loc));
		smp_rmb();
		*crc = le32_to_cpu(READ_ONCE(e->crc));
		*birth = le32_to_cpu(READ_ONCE(e->birth));
		smp_rmb();
		if (loc != PAV_BUSY_LOC && loc == le64_to_cpu(READ_ONCE(e->loc)))
			return loc;
		cpu_relax();
	}
}

/* The leaf without a pin: what is read from it counts if READ_ONCE((*leaf)->ident) is *@ident still. WALK_WAIT: not all of the way is in memory, or it changed. */
enum walk pav_leaf_peek(struct pav_volume *vol, u64 lba, struct pav_node **leaf, u32 *ident);
/* The leaf, pinned. WALK_WAIT: @w will be called back, then start again. WALK_CLAIM: a claim is needed, wait for one; only with @create. */
enum walk pav_leaf_get(struct pav_volume *vol, u64 lba, bool create, struct pav_waiter *w, struct pav_node **leaf);

/* A limit on dirty nodes is reached. A checkpoint makes room; unless there is no room for checkpoints. */
enum walk pav_no_claim(struct pav_map *map);

/* Lets the next one load its way down, if @req held the turn. */
static inline void walk_over(struct pav_req *req)
{
	if (req->walking)
		pav_map_turn_over(req->vol->map);
	req->walking = false;
}

/* The pool that reads repair cells with. -ENOMEM; what was taken is for pav_repairs_free(). */
int pav_repairs_init(struct pav_map *map);
void pav_repairs_free(struct pav_map *map);

#endif
