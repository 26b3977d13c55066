// SPDX-License-Identifier: GPL-2.0
/*
 * A disk's life: from the volume the engine knows to a block device in /dev, and back.
 *
 * Who keeps what alive
 *   A request holds a reference on disk->inflight from submit to completion. Freezing the queue would not do: for a disk that takes bios it waits
 *   for submit_bio() to return, not for the bio to end.
 *   pav_disk_retire() kills inflight and waits for it; only after that may the engine's volume die.
 *   The disk's memory goes with the last reference on the gendisk (free_disk), which somebody who reads its sysfs files may hold longest.
 */
#include <linux/blkdev.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "disk.h"
#include "volume.h"
#include "env/compat.h"
#include "env/host.h"

#define PAV_DISK_MAX		(1 << 16)	/* disks at one time, all groups together */

static int pav_major;
static DEFINE_IDA(pav_disk_ida);
static atomic_t pav_disks_alive;	/* their memory; somebody may hold on to it longer than to the module */

int pav_disks_major(void)
{
	return pav_major;
}

/* ---- sysfs: /sys/block/pavN/pav/…, there before udev hears of the disk ---- */

static struct pav_disk *disk_of(struct device *dev)
{
	return dev_to_disk(dev)->private_data;
}

static ssize_t group_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", disk_of(dev)->group);
}
static DEVICE_ATTR_RO(group);

static ssize_t volume_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct pav_disk *disk = disk_of(dev);
	ssize_t n;

	spin_lock(&disk->name_lock);
	n = sysfs_emit(buf, "%s\n", disk->ident.name);
	spin_unlock(&disk->name_lock);
	return n;
}
static DEVICE_ATTR_RO(volume);

static ssize_t serial_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", disk_of(dev)->ident.serial);
}
static DEVICE_ATTR_RO(serial);

static ssize_t uuid_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%pUb\n", disk_of(dev)->ident.uuid);
}
static DEVICE_ATTR_RO(uuid);

static struct attribute *pav_disk_attrs[] = {
	&dev_attr_group.attr,
	&dev_attr_volume.attr,
	&dev_attr_serial.attr,
	&dev_attr_uuid.attr,
	NULL
};

static const struct attribute_group pav_disk_attr_group = {
	.name = "pav",
	.attrs = pav_disk_attrs,
};

static const struct attribute_group *pav_disk_attr_groups[] = {
	&pav_disk_attr_group,
	NULL
};

/* ---- the block device ---- */

static int pav_disk_open(PAV_DISK_OPEN_ARGS)
{
	const struct pav_disk *disk = PAV_DISK_OPENED->private_data;

	/* Under open_mutex, as is pav_disk_retire(): one of the two sees the other. */
	return disk->retired ? -ENXIO : 0;
}

static void pav_disk_free(struct gendisk *gd)
{
	struct pav_disk *disk = gd->private_data;

	percpu_ref_exit(&disk->inflight);
	ida_free(&pav_disk_ida, disk->index);
	kfree(disk);
	if (atomic_dec_and_test(&pav_disks_alive))
		wake_up_var(&pav_disks_alive);
}

static const struct block_device_operations pav_disk_ops = {
	.owner = THIS_MODULE,
	.submit_bio = pav_disk_submit,
	.open = pav_disk_open,
	.free_disk = pav_disk_free,
};

static void pav_disk_drained(struct percpu_ref *ref)
{
	complete(&container_of(ref, struct pav_disk, inflight)->drained);
}

/*
 * What the queue promises.
 *  - 4 KiB sectors, logical and physical: nvmet tells initiators that a physical block is never torn, so the stripe is io_opt and nothing more.
 *  - No write cache: an acknowledged write is on the drives, and the core drops FLUSH and FUA.
 *  - A bio that is split is split where a request must not cross (chunk_sectors), whatever its number of segments.
 *  - Discards and zeroes of any length: requests.c cuts them up, so the limits are what a bio can say.
 *  - NOWAIT: without memory at hand for it such a bio is sent back. It may still wait for a drive that has no tag free, which the engine's I/O does.
 */
static struct queue_limits pav_disk_limits(const struct pav_disk_traits *traits)
{
	const unsigned int bio_max_sectors = round_down(UINT_MAX, PAV_CELL_BYTES) >> SECTOR_SHIFT;
	const unsigned int request_sectors = PAV_REQ_MAX_CELLS << (PAV_CELL_SHIFT - SECTOR_SHIFT);

	return (struct queue_limits) {
		.logical_block_size = PAV_CELL_BYTES,
		.physical_block_size = PAV_CELL_BYTES,
		.io_min = PAV_CELL_BYTES,
		.io_opt = traits->row_bytes,
		.chunk_sectors = request_sectors,
		.max_hw_sectors = request_sectors,
		.max_segments = USHRT_MAX,
		.max_segment_size = UINT_MAX,
		.dma_alignment = max(traits->dma_mask, SECTOR_SIZE - 1U),
		.discard_granularity = PAV_CELL_BYTES,
		.max_hw_discard_sectors = bio_max_sectors,
		.max_write_zeroes_sectors = bio_max_sectors,
	};
}

struct pav_disk *pav_disk_create(struct pav_volume *vol, const struct pav_disk_traits *traits)
{
	struct queue_limits limits = pav_disk_limits(traits);
	struct pav_volume_info *info;
	struct pav_disk *disk;
	struct gendisk *gd;
	int err;

	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return ERR_PTR(-ENOMEM);
	pav_volume_info(vol, info);

	err = -ENOMEM;
	disk = kzalloc(sizeof(*disk), GFP_KERNEL);
	if (!disk)
		goto free_info;
	disk->vol = vol;
	disk->ident = info->ident;
	strscpy(disk->group, traits->group, sizeof(disk->group));
	spin_lock_init(&disk->name_lock);
	init_completion(&disk->drained);
	err = percpu_ref_init(&disk->inflight, pav_disk_drained, PERCPU_REF_ALLOW_REINIT, GFP_KERNEL);
	if (err)
		goto free_disk;
	err = ida_alloc_max(&pav_disk_ida, PAV_DISK_MAX - 1, GFP_KERNEL);
	if (err < 0)
		goto exit_ref;
	disk->index = err;

	gd = pav_disk_alloc(&limits);
	if (IS_ERR(gd)) {
		err = PTR_ERR(gd);
		goto free_index;
	}
	disk->gd = gd;
	gd->private_data = disk;
	gd->fops = &pav_disk_ops;
	gd->major = pav_major;
	gd->first_minor = disk->index;
	gd->minors = 1;
	gd->flags |= GENHD_FL_NO_PART;	/* a partition table in a volume is the business of the hosts that use it */
	snprintf(gd->disk_name, sizeof(gd->disk_name), "pav%u", disk->index);
	set_capacity(gd, info->cells << (PAV_CELL_SHIFT - SECTOR_SHIFT));
	err = device_add_disk(NULL, gd, pav_disk_attr_groups);
	if (err) {
		put_disk(gd);	/* which does not call free_disk() for one that was never added */
		goto free_index;
	}
	atomic_inc(&pav_disks_alive);
	kfree(info);
	return disk;

free_index:
	ida_free(&pav_disk_ida, disk->index);
exit_ref:
	percpu_ref_exit(&disk->inflight);
free_disk:
	kfree(disk);
free_info:
	kfree(info);
	return ERR_PTR(err);
}

static int pav_disk_shut(struct pav_disk *disk, bool whoever)
{
	int err = 0;

	mutex_lock(&disk->gd->open_mutex);
	if (disk_openers(disk->gd) && !whoever)
		err = -EBUSY;
	else
		disk->retired = true;
	mutex_unlock(&disk->gd->open_mutex);
	if (err)
		return err;

	/* The last to close it may have left requests behind that nobody waits for. */
	reinit_completion(&disk->drained);
	percpu_ref_kill(&disk->inflight);
	wait_for_completion(&disk->drained);
	return 0;
}

int pav_disk_retire(struct pav_disk *disk)
{
	return pav_disk_shut(disk, false);
}

void pav_disk_cut(struct pav_disk *disk)
{
	pav_disk_shut(disk, true);
}

void pav_disk_revive(struct pav_disk *disk)
{
	percpu_ref_reinit(&disk->inflight);
	mutex_lock(&disk->gd->open_mutex);
	disk->retired = false;
	mutex_unlock(&disk->gd->open_mutex);
}

void pav_disk_destroy(struct pav_disk *disk)
{
	del_gendisk(disk->gd);
	put_disk(disk->gd);
}

void pav_disk_resize(struct pav_disk *disk, u64 cells)
{
	set_capacity_and_notify(disk->gd, cells << (PAV_CELL_SHIFT - SECTOR_SHIFT));
}

void pav_disk_rename(struct pav_disk *disk, const char *name)
{
	spin_lock(&disk->name_lock);
	strscpy(disk->ident.name, name, sizeof(disk->ident.name));
	spin_unlock(&disk->name_lock);
	kobject_uevent(&disk_to_dev(disk->gd)->kobj, KOBJ_CHANGE);
}

const char *pav_disk_name(const struct pav_disk *disk)
{
	return disk->gd->disk_name;
}

unsigned int pav_disk_openers(const struct pav_disk *disk)
{
	return disk_openers(disk->gd);
}

int pav_disks_init(void)
{
	int err;

	pav_major = register_blkdev(0, "pav");
	if (pav_major < 0)
		return pav_major;
	err = pav_requests_init();
	if (err)
		unregister_blkdev(pav_major, "pav");
	return err;
}

void pav_disks_exit(void)
{
	/* A task that lost the race to open a disk with its end has a reference on that, and none on the module. */
	wait_var_event(&pav_disks_alive, !atomic_read(&pav_disks_alive));
	pav_requests_exit();
	unregister_blkdev(pav_major, "pav");
	ida_destroy(&pav_disk_ida);
}
