/* SPDX-License-Identifier: GPL-2.0 */
/* drive (5): one member: its identity, its counters, and I/O on it. The last stage before env. */
#ifndef PAV_DRIVE_H
#define PAV_DRIVE_H

#include "../format/format.h"

struct pav_drive {
	struct pav_dev *dev;		/* NULL: not there */
	u8 uuid[16];
	enum pav_drive_state state;	/* under the group's lock */
	struct pav_dev *back;		/* at open: it is here, but FAILED; it may come home */
	bool leave;			/* its slot is to be empty as soon as nothing lies there */
	bool away, by_hand;		/* FAILED because it vanished; because somebody said so. Under the group's lock */
	u64 failed_ns;			/* when; under the group's lock */
	u64 bad_since_ns;		/* a minute begins in which what is healed is counted; under the group's lock */
	u32 bad;			/* … that count */
	u64 generation;			/* the newest superblock it is known to hold; of a FAILED drive, when it left. Under the group's commit_lock */
	u8 sb_slot;			/* where that lies: the next one goes to the other. Under the group's commit_lock */
	char path[24];			/* where it was last seen; the end of a long one */
	atomic64_t reads, writes, read_cells, write_cells, errors, healed;
};

/* Remembers where the drive was seen, for messages about it when it is gone. */
void pav_drive_set_path(struct pav_drive *d, const char *path);

/* Fills @io for @d, counts it and submits it. Writes are durable when they complete. Any context but hard interrupt. */
void pav_drive_io(struct pav_drive *d, struct pav_io *io, enum pav_io_op op, u64 block, unsigned int cells, void *buf);

/* Counts a read that goes straight into a user's memory. */
static inline void pav_drive_count_read(struct pav_drive *d, unsigned int cells)
{
	atomic64_inc(&d->reads);
	atomic64_add(cells, &d->read_cells);
}

#endif
