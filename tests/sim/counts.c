// SPDX-License-Identifier: GPL-2.0
/* See counts.h. The one file of the simulator that looks inside the engine. */
#include "counts.h"

#include "log/log.h"
#include "map/map.h"
#include "../../raid6/raid6.h"

u32 sim_segments(struct pav_volume *vol)
{
	return vol->map->log->g->segments;
}

u64 sim_moved(struct pav_volume *vol)
{
	return atomic64_read(&vol->map->log->moved_cells);
}

bool sim_deleting(struct pav_volume *vol)
{
	unsigned int id;

	for (id = 0; id < PAV_MAX_VOLUMES; id++)
		if (vol->map->volumes[id] && vol->map->volumes[id]->state == PAV_VOLUME_DELETING)
			return true;
	return false;
}

bool sim_count_cell(struct pav_volume *vol, u64 lba, u32 *live)
{
	u32 crc, birth;
	u64 loc = pav_map_lookup(vol, lba, &crc, &birth);

	if (loc)
		live[pav_loc_seg(loc)]++;
	return loc;
}

const char *sim_wrong_live(struct pav_volume *vol, const u32 *live, char *text, size_t room)
{
	struct pav_log *log = vol->map->log;
	u32 i;

	for (i = 0; i < log->g->segments; i++) {
		const struct pav_segment *s = &log->seg[i];

		if (s->state != PAV_SEG_META && (int)live[i] != atomic_read(&s->live)) {
			snprintf(text, room, "segment %u (state %u%s) counts %d cells alive, the map has %u there", i, s->state, s->open ? ", open" : "",
				 atomic_read(&s->live), live[i]);
			return text;
		}
	}
	return NULL;
}

const char *sim_wrong_mapped(struct pav_volume *vol, u64 mapped, char *text, size_t room)
{
	if (mapped == (u64)atomic64_read(&vol->mapped))
		return NULL;
	snprintf(text, room, "it counts %lld cells mapped, the map has %llu", (long long)atomic64_read(&vol->mapped), (unsigned long long)mapped);
	return text;
}

/* Is the row of @loc on the drives what it must be, but for @missing? One look, at one moment. */
static bool row_is_right(struct pav_group *g, u64 loc, u32 crc, u64 missing, sim_peek peek)
{
	static u8 there[PAV_MAX_DRIVES][PAV_CELL_BYTES], parity[2][PAV_CELL_BYTES];
	const struct pav_set *set = g->sets[pav_loc_set(loc)];
	unsigned int i, k = pav_loc_width(loc) - 2, nbad = 0;
	unsigned int target = (pav_loc_col(loc) + set->n - pav_loc_c0(loc)) % set->n;
	int bad[2] = { -1, -1 };
	void *cells[PAV_MAX_DRIVES];

	for (i = 0; i < k + 2; i++) {
		unsigned int slot = set->slot[(pav_loc_c0(loc) + i) % set->n];
		const void *cell;

		cells[i] = there[i];
		if (missing & BIT_ULL(slot)) {
			if (nbad == 2)
				return false;
			bad[nbad++] = i;
			continue;
		}
		cell = peek(g->drives[slot].dev, pav_group_cell(g, pav_loc_seg(loc), pav_loc_row(loc)));
		if (cell)
			memcpy(there[i], cell, PAV_CELL_BYTES);
		else
			memset(there[i], 0, PAV_CELL_BYTES);
	}
	if (nbad)
		pav_raid6_recover(g->impl, k, PAV_CELL_BYTES, cells, bad[0], bad[1]);
	pav_raid6_encode(g->impl, k, PAV_CELL_BYTES, (const void *const *)cells, parity[0], parity[1]);
	return pav_crc32c(0, there[target], PAV_CELL_BYTES) == crc && !memcmp(parity[0], there[k], PAV_CELL_BYTES) && !memcmp(parity[1], there[k + 1], PAV_CELL_BYTES);
}

const char *sim_wrong_row(struct pav_volume *vol, u64 lba, sim_peek peek, char *text, size_t room)
{
	struct pav_group *g = vol->map->log->g;
	u32 crc, birth;
	u64 loc = pav_map_lookup(vol, lba, &crc, &birth), seen, missing, since;

	/* The garbage collector and drives that come and go may be at work: it is wrong only if the map and the group say the same of it afterwards. */
	do {
		if (!loc)
			return NULL;
		seen = loc;
		missing = pav_group_missing(g, pav_loc_seg(seen));
		if (row_is_right(g, seen, crc, missing, peek))
			return NULL;
		since = pav_group_missing(g, pav_loc_seg(seen));
		loc = pav_map_lookup(vol, lba, &crc, &birth);
	} while (loc != seen || since != missing);

	snprintf(text, room, "cell %llu: its row (segment %u, row %u, %u cells from column %u on) is not what it should be on the drives, and nobody knows: missing %llx",
		 (unsigned long long)lba, (u32)pav_loc_seg(loc), (u32)pav_loc_row(loc), (u32)pav_loc_width(loc), (u32)pav_loc_c0(loc), (unsigned long long)missing);
	return text;
}
