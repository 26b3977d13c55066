/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h: every place where Linux versions differ for this module. Written and tested for 6.1 (Debian 12). To carry the module to another
 * version, add the other form here, and nowhere else.
 */
#ifndef PAV_COMPAT_H
#define PAV_COMPAT_H

#include <linux/blkdev.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0) || LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#error "pavraid knows Linux 6.1 only; this header is the place to teach it another"
#endif

#define PAV_BDEV_MODE (FMODE_READ | FMODE_WRITE | FMODE_EXCL)

/* A block device for one holder alone, or ERR_PTR(). From 6.9 on it is opened as a struct file, and closed by fput(). */
static inline struct block_device *pav_bdev_open(const char *path, void *holder)
{
	return blkdev_get_by_path(path, PAV_BDEV_MODE, holder);
}

static inline void pav_bdev_close(struct block_device *bdev)
{
	blkdev_put(bdev, PAV_BDEV_MODE);
}

/* A bio-based disk with no limits set. From 6.9 on blk_alloc_disk() takes the limits and returns ERR_PTR(). */
static inline struct gendisk *pav_disk_alloc(void)
{
	return blk_alloc_disk(NUMA_NO_NODE);
}

/* What block_device_operations.open gets, and the disk in it. From 6.5 on these are the gendisk and a blk_mode_t. */
#define PAV_DISK_OPEN_ARGS	struct block_device *bdev, fmode_t mode
#define PAV_DISK_OPENED		(bdev->bd_disk)

#endif
