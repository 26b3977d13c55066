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
void pav_dev_close(struct pav_dev *dev);
/*
 * For who wants to close a device whose users have been given another: to be called so many seconds after that as pav_dev_linger() says; waits for
 * I/O that is still under way. Process context.
 */
void pav_dev_drain(struct pav_dev *dev);
unsigned int pav_dev_linger(const struct pav_dev *dev);
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
	bool embedded;
	struct bio bio;			/* last: allocated with the rest of this as its front pad */
};

/* The major number of volumes' disks, so that env can refuse one as a drive of a group. */
int pav_disks_major(void);

#endif
