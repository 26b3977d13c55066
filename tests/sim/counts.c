// SPDX-License-Identifier: GPL-2.0
/* See counts.h. The one file of the simulator that looks inside the engine. */
#include "counts.h"

#include "log/log.h"
#include "map/map.h"

u32 sim_segments(struct pav_volume *vol)
{
	return vol->map->log->g->segments;
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
