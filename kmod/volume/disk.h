/* SPDX-License-Identifier: GPL-2.0 */
/* What the two files of volume/ share: disk.c, a disk's life, and requests.c, a request's. */
#ifndef PAV_DISK_H
#define PAV_DISK_H

#include <linux/blkdev.h>
#include <linux/percpu-refcount.h>

#include "engine.h"

struct pav_disk {
	struct pav_volume *vol;
	struct percpu_ref inflight;
	struct gendisk *gd;
	unsigned int index;			/* minor number, and the N of pavN */
	bool retired;				/* gd->open_mutex */
	struct completion drained;
	char group[PAV_NAME_MAX + 1];
	spinlock_t name_lock;			/* ident.name; the rest of ident never changes */
	struct pav_volume_ident ident;
};

void pav_disk_submit(struct bio *bio);
int pav_requests_init(void);
void pav_requests_exit(void);

#endif
