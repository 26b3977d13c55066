/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h: every place where Linux versions differ for this module. Written and tested for 6.1 (Debian 12) and 6.12 (Debian 12's backports);
 * `make matrix` builds and runs it on both. To carry the module to another version, add its form here, and nowhere else. The versions between
 * the two changed these things one by one, and nobody has tried them: they are refused.
 */
#ifndef PAV_COMPAT_H
#define PAV_COMPAT_H

#include <linux/blkdev.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define PAV_LINUX_6_1
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0) || LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#error "pavraid knows Linux 6.1 and 6.12 only; this header is the place to teach it another"
#endif

/*
 * pav_bdev_open(): a block device for one holder alone, or ERR_PTR(); @file is what pav_bdev_close() wants to have back.
 *
 * pav_disk_alloc(): a bio-based disk with these limits that counts its I/O, honours NOWAIT and is no source of randomness, or ERR_PTR().
 *
 * PAV_DISK_OPEN_ARGS, PAV_DISK_OPENED: what block_device_operations.open gets, and the disk in it.
 *
 * PAV_GENL_OPS, pav_dump_attrs(): what pre_doit and post_doit get; the attributes that a dump was asked with.
 */
#ifdef PAV_LINUX_6_1

#define PAV_BDEV_MODE (FMODE_READ | FMODE_WRITE | FMODE_EXCL)

static inline struct block_device *pav_bdev_open(const char *path, void *holder, struct file **file)
{
	*file = NULL;
	return blkdev_get_by_path(path, PAV_BDEV_MODE, holder);
}

static inline void pav_bdev_close(struct block_device *bdev, struct file *file)
{
	blkdev_put(bdev, PAV_BDEV_MODE);
}

static inline struct gendisk *pav_disk_alloc(const struct queue_limits *lim)
{
	struct gendisk *gd = blk_alloc_disk(NUMA_NO_NODE);
	struct request_queue *q;

	if (!gd)
		return ERR_PTR(-ENOMEM);
	q = gd->queue;
	blk_queue_logical_block_size(q, lim->logical_block_size);
	blk_queue_physical_block_size(q, lim->physical_block_size);
	blk_queue_io_min(q, lim->io_min);
	blk_queue_io_opt(q, lim->io_opt);
	blk_queue_chunk_sectors(q, lim->chunk_sectors);
	blk_queue_max_hw_sectors(q, lim->max_hw_sectors);
	blk_queue_max_segments(q, lim->max_segments);
	blk_queue_max_segment_size(q, lim->max_segment_size);
	blk_queue_dma_alignment(q, lim->dma_alignment);
	q->limits.discard_granularity = lim->discard_granularity;
	blk_queue_max_discard_sectors(q, lim->max_hw_discard_sectors);
	blk_queue_max_write_zeroes_sectors(q, lim->max_write_zeroes_sectors);
	blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, q);
	blk_queue_flag_set(QUEUE_FLAG_IO_STAT, q);
	blk_queue_flag_set(QUEUE_FLAG_NOWAIT, q);
	return gd;
}

#define PAV_DISK_OPEN_ARGS	struct block_device *bdev, fmode_t mode
#define PAV_DISK_OPENED		(bdev->bd_disk)

#define PAV_GENL_OPS		struct genl_ops
#define pav_dump_attrs(cb)	(genl_dumpit_info(cb)->attrs)

#else /* 6.12 */

static inline struct block_device *pav_bdev_open(const char *path, void *holder, struct file **file)
{
	*file = bdev_file_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE, holder, NULL);
	return IS_ERR(*file) ? ERR_CAST(*file) : file_bdev(*file);
}

/* The file itself may be closed later, by another thread; bdev_fput() gives up the holder's claim at once. */
static inline void pav_bdev_close(struct block_device *bdev, struct file *file)
{
	bdev_fput(file);
}

static inline struct gendisk *pav_disk_alloc(struct queue_limits *lim)
{
	lim->features = BLK_FEAT_IO_STAT | BLK_FEAT_NOWAIT;	/* without ROTATIONAL and ADD_RANDOM, which nobody has by default any more */
	return blk_alloc_disk(lim, NUMA_NO_NODE);
}

#define PAV_DISK_OPEN_ARGS	struct gendisk *gd, blk_mode_t mode
#define PAV_DISK_OPENED		gd

#define PAV_GENL_OPS		struct genl_split_ops
#define pav_dump_attrs(cb)	(genl_dumpit_info(cb)->info.attrs)

#endif
#endif
