/* SPDX-License-Identifier: GPL-2.0 */
/*
 * I5 as a check: how many cells of each segment are alive is counted twice by the engine's own account, and here once more, from the map. A wrong count
 * loses data late, when a segment that holds some is taken for empty; here it fails at once.
 */
#ifndef PAV_SIM_COUNTS_H
#define PAV_SIM_COUNTS_H

#include "engine.h"

/* Segments of the group that @vol is in. */
u32 sim_segments(struct pav_volume *vol);
/* Cells that the garbage collector has moved. */
u64 sim_moved(struct pav_volume *vol);
/* A volume of its group was deleted, and there was no room to let go of all it had. */
bool sim_deleting(struct pav_volume *vol);
/* Counts cell @lba in @live, by segment, if it is mapped: then true. Process context. */
bool sim_count_cell(struct pav_volume *vol, u64 lba, u32 *live);
/* Compares: @live with what the engine says of segments of user data, @mapped of @vol's cells are. Returns NULL if all is well, else what is wrong. */
const char *sim_wrong_live(struct pav_volume *vol, const u32 *live, char *text, size_t room);
const char *sim_wrong_mapped(struct pav_volume *vol, u64 mapped, char *text, size_t room);

/* The cell at @block of @dev as the drive holds it now, without a command to it; NULL: zeroes. */
typedef const void *(*sim_peek)(struct pav_dev *dev, u64 block);

/*
 * I15 as a check: the row that cell @lba of @vol lies in is on its drives what it must be, parity and all, but for what the group says is missing. Where
 * that is not so, the next loss may be one too many. Returns NULL if all is well, or nothing is mapped there.
 */
const char *sim_wrong_row(struct pav_volume *vol, u64 lba, sim_peek peek, char *text, size_t room);

#endif
