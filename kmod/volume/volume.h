/* SPDX-License-Identifier: GPL-2.0 */
/*
 * volume/: stage (1) of a block's way. A volume of the engine as a block device.
 *
 * control/ makes a disk for each volume of an open group, and takes it away in two steps: pav_disk_retire() makes sure that nobody uses it and
 * nobody will; then either the volume is deleted or its group closed, and pav_disk_destroy() follows, or that failed, and pav_disk_revive()
 * takes the first step back. All of these are process context, and control/ serialises them.
 */
#ifndef PAV_VOLUME_H
#define PAV_VOLUME_H

#include "engine.h"

struct pav_disk;

int pav_disks_init(void);
void pav_disks_exit(void);

struct pav_disk_traits {
	const char *group;
	unsigned int row_bytes;		/* user data in one full row: io_opt */
	unsigned int dma_mask;		/* the strictest of the group's drives: what a user's buffer must be aligned to, less one */
};

/* Returns the disk, visible to user space, or ERR_PTR(). @vol's host pointer is the caller's to set. */
struct pav_disk *pav_disk_create(struct pav_volume *vol, const struct pav_disk_traits *traits);

/* -EBUSY: somebody has it open. 0: no request is in flight, none is let in, nobody can open it. */
int pav_disk_retire(struct pav_disk *disk);
void pav_disk_revive(struct pav_disk *disk);
void pav_disk_cut(struct pav_disk *disk);	/* retires it whoever has it open: what they ask of it fails from now on */
void pav_disk_destroy(struct pav_disk *disk);	/* retired only; @disk is dead */

void pav_disk_resize(struct pav_disk *disk, u64 cells);
void pav_disk_rename(struct pav_disk *disk, const char *name);	/* and tells udev */
const char *pav_disk_name(const struct pav_disk *disk);		/* "pav0" */
unsigned int pav_disk_openers(const struct pav_disk *disk);

#endif
