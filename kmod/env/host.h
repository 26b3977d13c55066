/* SPDX-License-Identifier: GPL-2.0 */
/*
 * host.h: what env gives to volume/ and control/, and not to the engine.
 */
#ifndef PAV_HOST_H
#define PAV_HOST_H

#include "env.h"

int pav_env_init(void);
void pav_env_exit(void);

/*
 * Opens the block device at @path for this module alone. Process context. Returns it, or ERR_PTR(): -ENODEV, -ENOTBLK, -EBUSY (in use by somebody
 * else), -EACCES (read-only), -EINVAL (zoned, or its sectors are larger than a cell), -ELOOP (it is a volume of ours). @why gets the reason in words.
 */
struct pav_dev *pav_dev_open(const char *path, const char **why);
/*
 * Each I/O holds the device from when it is submitted until its completion has returned. Who does not want to wait for what is under way, which may
 * take as long as a driver keeps a command, retires the device first, and closes it when it is idle. All of these are process context.
 */
void pav_dev_serve(struct pav_dev *dev);	/* there will be much I/O: it is counted by each CPU for itself from now on */
void pav_dev_retire(struct pav_dev *dev);	/* its users have been told to use it no more; again: nothing happens */
bool pav_dev_retired(struct pav_dev *dev);
bool pav_dev_idle(struct pav_dev *dev);		/* it is retired, nothing is under way, and nothing will be */
void pav_dev_close(struct pav_dev *dev);	/* waits until it is idle */
bool pav_dev_alive(const struct pav_dev *dev);	/* false: it was unplugged. Any context */
dev_t pav_dev_number(const struct pav_dev *dev);
unsigned int pav_dev_dma_mask(const struct pav_dev *dev);	/* buffers must be aligned to this plus one */

/*
 * A read from a drive straight into the user's memory: the engine's handle, and a bio over a part of the user's bio. volume/ embeds one in each
 * request; further ones of the same request come from a bio_set.
 */
struct pav_uio_slot {
	struct pav_uio uio;
	struct bvec_iter iter;		/* where it reads to, as submitted: the bio's own is used up at the end */
	struct pav_dev *dev;
	bool embedded;
	struct bio bio;			/* last: allocated with the rest of this as its front pad */
};

/* The major number of volumes' disks, so that env can refuse one as a drive of a group. */
int pav_disks_major(void);

#endif
