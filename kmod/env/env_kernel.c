// SPDX-License-Identifier: GPL-2.0
/*
 * env_kernel: the engine's world (env.h), in Linux.
 *
 * Nothing on the data path allocates, but for the second and further reads of one request (pav_uio_read). Those come from a bio_set with a
 * rescuer thread: a request may need several, and while submit_bio() runs for the user's bio our children wait on current->bio_list. Taking them
 * one by one from a plain mempool would deadlock: the rescuer sends the waiting ones off.
 */
#include <linux/blk-cgroup.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/hardirq.h>
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/percpu-refcount.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <uapi/linux/sched/types.h>
#include <asm/fpu/api.h>

#include "host.h"
#include "compat.h"
#include "engine.h"
#include "control/trace.h"
#include "raid6/raid6.h"

#define PAV_CELL_SECTORS	(PAV_CELL_BYTES >> SECTOR_SHIFT)
#define PAV_UIO_RESERVE		64	/* clones that are there even when memory is not */

struct pav_dev {
	struct block_device *bdev;
	struct file *file;		/* pav_bdev_close() wants it */
	struct percpu_ref inflight;	/* I/O, from submit until its completion has returned */
	struct completion drained;	/* retired, and nothing in flight */
	char name[DISK_NAME_LEN + 6];	/* "/dev/" in front */
};

static struct bio_set pav_uio_set;
static struct pav_worker *pav_submitter;	/* submits what interrupts want to have submitted */
static struct pav_work pav_submit_work;
static LLIST_HEAD(pav_submit_list);

/* ---- memory ---- */

void *pav_alloc(size_t bytes)
{
	return kvzalloc(bytes, GFP_KERNEL);
}

void pav_free(void *p)
{
	kvfree(p);
}

void *pav_alloc_cells(unsigned int cells)
{
	return alloc_pages_exact((size_t)cells << PAV_CELL_SHIFT, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
}

void pav_free_cells(void *p, unsigned int cells)
{
	if (p)
		free_pages_exact(p, (size_t)cells << PAV_CELL_SHIFT);
}

/* ---- time and chance ---- */

u64 pav_now_ns(void)
{
	return ktime_get_boottime_ns();
}

u64 pav_real_seconds(void)
{
	return ktime_get_real_seconds();
}

void pav_random(void *buf, size_t bytes)
{
	get_random_bytes(buf, bytes);
}

void pav_sleep_ns(u64 ns)
{
	fsleep(max_t(u64, div_u64(ns, NSEC_PER_USEC), 1));
}

/* ---- work ---- */

/* pav_worker is a kthread_worker under another name: the engine never looks inside. */
static struct kthread_worker *kworker(struct pav_worker *w)
{
	return (struct kthread_worker *)w;
}

/*
 * The first item of every worker. What it allocates must not wait for I/O: that I/O may be ours. And it is a batch thread: waking a normal thread
 * preempts the waker when it has slept long enough, so on a busy CPU every request would run the log at once and alone. Woken as batch, it runs
 * when the submitters have nothing more to say or their slice is over, and finds their requests together: that is group commit.
 */
static void pav_worker_setup(struct kthread_work *work)
{
	const struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = SCHED_BATCH,
		.sched_nice = 0,
	};

	memalloc_noio_save();	/* for the thread's whole life: nothing restores it */
	if (sched_setattr_nocheck(current, &attr))
		pr_warn("pavraid: a worker cannot be made a batch thread; writes under load will be slower\n");
}

struct pav_worker *pav_worker_create(const char *name)
{
	struct kthread_worker *kw = kthread_create_worker(0, "%s", name);
	struct kthread_work setup;

	if (IS_ERR(kw))
		return NULL;
	kthread_init_work(&setup, pav_worker_setup);
	kthread_queue_work(kw, &setup);
	kthread_flush_work(&setup);
	return (struct pav_worker *)kw;
}

void pav_worker_destroy(struct pav_worker *w)
{
	if (w)
		kthread_destroy_worker(kworker(w));
}

static void pav_work_run(struct kthread_work *kwork)
{
	struct pav_work *work = container_of(kwork, struct pav_work, kwork);

	work->fn(work);
}

void pav_work_init(struct pav_work *work, pav_work_fn fn)
{
	kthread_init_work(&work->kwork, pav_work_run);
	work->fn = fn;
}

bool pav_work_queue(struct pav_worker *w, struct pav_work *work)
{
	return kthread_queue_work(kworker(w), &work->kwork);
}

void pav_work_flush(struct pav_worker *w)
{
	kthread_flush_worker(kworker(w));
}

/* ---- timers ---- */

static enum hrtimer_restart pav_timer_fire(struct hrtimer *hrtimer)
{
	struct pav_timer *t = container_of(hrtimer, struct pav_timer, hrtimer);

	t->fn(t);	/* may have armed it again: hrtimer_start() within a callback wins over what we return */
	return HRTIMER_NORESTART;
}

void pav_timer_init(struct pav_timer *t, void (*fn)(struct pav_timer *t))
{
	hrtimer_init(&t->hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	t->hrtimer.function = pav_timer_fire;
	t->fn = fn;
}

void pav_timer_arm(struct pav_timer *t, u64 delay_ns)
{
	hrtimer_start(&t->hrtimer, ns_to_ktime(delay_ns), HRTIMER_MODE_REL);
}

void pav_timer_cancel(struct pav_timer *t)
{
	hrtimer_cancel(&t->hrtimer);
}

unsigned int pav_cpu(void)
{
	return raw_smp_processor_id();
}

/* ---- vector registers ---- */

bool pav_in_process(void)
{
	return in_task() && !irqs_disabled() && irq_fpu_usable();
}

void pav_vector_begin(void)
{
	kernel_fpu_begin();
}

void pav_vector_end(void)
{
	kernel_fpu_end();
}

/* ---- messages ---- */

void pav_log(enum pav_level level, const char *fmt, ...)
{
	/* What is wrong tends to be wrong for every request. What is said about the normal course of things is rare by itself. */
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 40);
	struct va_format vaf;
	va_list args;

	if (level != PAV_INFO && !___ratelimit(&limit, "pavraid"))
		return;
	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	switch (level) {
	case PAV_INFO:
		pr_info("pavraid: %pV\n", &vaf);
		break;
	case PAV_WARN:
		pr_warn("pavraid: %pV\n", &vaf);
		break;
	case PAV_ERR:
		pr_err("pavraid: %pV\n", &vaf);
		break;
	}
	va_end(args);
}

/* ---- drives ---- */

static void pav_dev_drained(struct percpu_ref *ref)
{
	complete(&container_of(ref, struct pav_dev, inflight)->drained);
}

struct pav_dev *pav_dev_open(const char *path, const char **why)
{
	struct block_device *bdev;
	struct pav_dev *dev;
	int err;

	*why = "out of memory";
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	bdev = pav_bdev_open(path, dev, &dev->file);
	if (IS_ERR(bdev)) {
		err = PTR_ERR(bdev);
		switch (err) {
		case -EBUSY:
			*why = "in use by another group, a file system or another driver";
			break;
		case -EACCES:
		case -EROFS:
			*why = "read-only";
			break;
		case -ENOENT:
			*why = "no such file";
			break;
		case -ENOTBLK:
			*why = "not a block device";
			break;
		case -ENXIO:
		case -ENODEV:
			*why = "the device is gone";
			break;
		default:
			*why = "cannot be opened";
		}
		goto free;
	}
	dev->bdev = bdev;
	snprintf(dev->name, sizeof(dev->name), "/dev/%pg", bdev);

	err = -EINVAL;
	if (bdev_is_zoned(bdev)) {
		*why = "a zoned device, which cannot serve as a drive";
		goto close;
	}
	if (bdev_logical_block_size(bdev) > PAV_CELL_BYTES) {
		*why = "its sectors are larger than 4 KiB";
		goto close;
	}
	err = -EACCES;
	if (bdev_read_only(bdev)) {
		*why = "read-only";
		goto close;
	}
	err = -ELOOP;
	if (MAJOR(bdev->bd_dev) == pav_disks_major()) {
		*why = "a volume of pavraid, which cannot serve as a drive";
		goto close;
	}
	/* One that is only looked at is soon closed: to count by CPU would have its end wait for a grace period. */
	err = percpu_ref_init(&dev->inflight, pav_dev_drained, PERCPU_REF_INIT_ATOMIC, GFP_KERNEL);
	if (err) {
		*why = "out of memory";
		goto close;
	}
	init_completion(&dev->drained);
	sync_blockdev(bdev);		/* nothing of an earlier user may be written back over us, */
	invalidate_bdev(bdev);		/* or be read back instead of what we write */
	*why = NULL;
	return dev;
close:
	pav_bdev_close(bdev, dev->file);
free:
	kfree(dev);
	return ERR_PTR(err);
}

void pav_dev_close(struct pav_dev *dev)
{
	if (IS_ERR_OR_NULL(dev))
		return;
	pav_dev_retire(dev);
	wait_for_completion(&dev->drained);
	percpu_ref_exit(&dev->inflight);
	invalidate_bdev(dev->bdev);	/* what udev read of it while we wrote beside the page cache */
	pav_bdev_close(dev->bdev, dev->file);
	kfree(dev);
}

void pav_dev_serve(struct pav_dev *dev)
{
	percpu_ref_switch_to_percpu(&dev->inflight);
}

void pav_dev_retire(struct pav_dev *dev)
{
	if (!pav_dev_retired(dev))
		percpu_ref_kill(&dev->inflight);
}

bool pav_dev_retired(struct pav_dev *dev)
{
	return percpu_ref_is_dying(&dev->inflight);
}

bool pav_dev_idle(struct pav_dev *dev)
{
	return percpu_ref_is_zero(&dev->inflight);
}

bool pav_dev_alive(const struct pav_dev *dev)
{
	return !test_bit(GD_DEAD, &dev->bdev->bd_disk->state);
}

dev_t pav_dev_number(const struct pav_dev *dev)
{
	return dev->bdev->bd_dev;
}

unsigned int pav_dev_dma_mask(const struct pav_dev *dev)
{
	return bdev_dma_alignment(dev->bdev);
}

u64 pav_dev_blocks(const struct pav_dev *dev)
{
	return bdev_nr_bytes(dev->bdev) >> PAV_CELL_SHIFT;
}

bool pav_dev_volatile(const struct pav_dev *dev)
{
	return bdev_write_cache(dev->bdev);
}

bool pav_dev_discards(const struct pav_dev *dev)
{
	return bdev_max_discard_sectors(dev->bdev);
}

const char *pav_dev_name(const struct pav_dev *dev)
{
	return dev->name;
}

/* What the block layer says of a dead drive varies with when it died. The engine is told -ENODEV. */
static int pav_dev_error(const struct pav_dev *dev, blk_status_t status)
{
	if (likely(!status))
		return 0;
	return pav_dev_alive(dev) ? blk_status_to_errno(status) : -ENODEV;
}

static void pav_io_end(struct bio *bio)
{
	struct pav_io *io = container_of(bio, struct pav_io, env.bio);
	struct pav_dev *dev = io->dev;

	io->error = pav_dev_error(dev, bio->bi_status);
	bio_uninit(bio);
	trace_pav_io_done(io);
	io->done(io);
	percpu_ref_put(&dev->inflight);
}

static void pav_io_send(struct pav_io *io)
{
	struct bio *bio = &io->env.bio;

	switch (io->op) {
	case PAV_IO_READ:
		bio_init(bio, NULL, &io->env.vec, 1, REQ_OP_READ | REQ_SYNC);
		break;
	case PAV_IO_WRITE:
		/* SYNC and IDLE together: as O_DIRECT writes are marked, which writeback throttling lets pass */
		bio_init(bio, NULL, &io->env.vec, 1, REQ_OP_WRITE | REQ_SYNC | REQ_IDLE | (io->fua ? REQ_FUA : 0));
		break;
	case PAV_IO_FLUSH:
		bio_init(bio, NULL, NULL, 0, REQ_OP_WRITE | REQ_SYNC | REQ_PREFLUSH);
		break;
	case PAV_IO_DISCARD:
		bio_init(bio, NULL, NULL, 0, REQ_OP_DISCARD);
		bio->bi_iter.bi_size = io->cells << PAV_CELL_SHIFT;
		break;
	}
	/* It may carry what many have written: whoever happens to send it is not the one to be charged, or throttled. */
	bio->bi_bdev = io->dev->bdev;
	bio_associate_blkg_from_css(bio, blkcg_root_css);
	trace_pav_io_submit(io);
	bio->bi_end_io = pav_io_end;
	bio->bi_iter.bi_sector = io->block * PAV_CELL_SECTORS;
	if (io->buf && (io->op == PAV_IO_READ || io->op == PAV_IO_WRITE))
		__bio_add_page(bio, virt_to_page(io->buf), io->cells << PAV_CELL_SHIFT, offset_in_page(io->buf));
	submit_bio_noacct(bio);
}

static void pav_submit_deferred(struct pav_work *work)
{
	struct llist_node *list = llist_reverse_order(llist_del_all(&pav_submit_list));
	struct pav_io *io, *next;

	llist_for_each_entry_safe(io, next, list, env.deferred)
		pav_io_send(io);
}

void pav_io_submit(struct pav_io *io)
{
	/* A discard is told in bytes, in 32 bits. */
	if (WARN_ON_ONCE(io->cells >= BIT(32 - PAV_CELL_SHIFT)) ||
	    (io->op == PAV_IO_DISCARD && !bdev_max_discard_sectors(io->dev->bdev))) {
		io->error = -EOPNOTSUPP;
		io->done(io);
		return;
	}
	percpu_ref_get(&io->dev->inflight);
	if (likely(in_task() && !irqs_disabled())) {
		pav_io_send(io);
	} else {
		llist_add(&io->env.deferred, &pav_submit_list);
		pav_work_queue(pav_submitter, &pav_submit_work);
	}
}

/* ---- the user's memory ---- */

/*
 * Pages are reached by page_address(): this module is for 64-bit machines, where all memory is mapped and a pointer stays good until the caller
 * is done with it. A bio_vec may be longer than a page; it is contiguous in that mapping too.
 */
static_assert(!IS_ENABLED(CONFIG_HIGHMEM) && IS_ENABLED(CONFIG_64BIT));
static_assert(PAGE_SIZE == PAV_CELL_BYTES);

static void *pav_vec_address(const struct bio_vec *vec)
{
	return page_address(vec->bv_page) + vec->bv_offset;
}

/* A cell in one piece at @iter, or NULL. */
static void *pav_whole_cell(const struct bio *bio, const struct bvec_iter *iter)
{
	struct bio_vec vec = mp_bvec_iter_bvec(bio->bi_io_vec, *iter);

	return likely(vec.bv_len >= PAV_CELL_BYTES) ? pav_vec_address(&vec) : NULL;
}

static struct bvec_iter pav_req_iter(const struct pav_req *req, unsigned int idx, unsigned int cells)
{
	struct bvec_iter iter = req->env.bio->bi_iter;

	if (idx)
		bvec_iter_advance(req->env.bio->bi_io_vec, &iter, idx << PAV_CELL_SHIFT);
	iter.bi_size = cells << PAV_CELL_SHIFT;
	return iter;
}

const void *pav_req_cell(struct pav_req *req, unsigned int idx, void *bounce)
{
	struct pav_req_env *env = &req->env;
	struct bvec_iter iter, *cursor = &env->cursor;
	unsigned int filled = 0;
	struct bio_vec vec;
	void *cell;

	if (idx < env->cursor_idx) {
		*cursor = env->bio->bi_iter;
		env->cursor_idx = 0;
	}
	if (idx > env->cursor_idx) {
		bvec_iter_advance(env->bio->bi_io_vec, cursor, (idx - env->cursor_idx) << PAV_CELL_SHIFT);
		env->cursor_idx = idx;
	}
	cell = pav_whole_cell(env->bio, cursor);
	if (likely(cell))
		return cell;

	iter = *cursor;
	iter.bi_size = PAV_CELL_BYTES;
	for_each_bvec(vec, env->bio->bi_io_vec, iter, iter) {
		memcpy(bounce + filled, pav_vec_address(&vec), vec.bv_len);
		filled += vec.bv_len;
	}
	return bounce;
}

void pav_req_put(struct pav_req *req, unsigned int idx, const void *cell)
{
	struct bvec_iter iter = pav_req_iter(req, idx, 1);
	struct bio_vec vec;

	for_each_bvec(vec, req->env.bio->bi_io_vec, iter, iter) {
		memcpy(pav_vec_address(&vec), cell, vec.bv_len);
		cell += vec.bv_len;
	}
}

void pav_req_zero(struct pav_req *req, unsigned int idx, unsigned int n)
{
	struct bvec_iter iter = pav_req_iter(req, idx, n);
	struct bio_vec vec;

	for_each_bvec(vec, req->env.bio->bi_io_vec, iter, iter)
		memset(pav_vec_address(&vec), 0, vec.bv_len);
}

/* ---- reads straight into the user's memory ---- */

static void pav_uio_end(struct bio *bio)
{
	struct pav_uio_slot *slot = container_of(bio, struct pav_uio_slot, bio);
	struct pav_dev *dev = slot->dev;
	bool embedded = slot->embedded;

	slot->uio.error = blk_status_to_errno(bio->bi_status);
	/* An embedded slot may be gone, with its request, when done() returns: nothing of it is touched after that. */
	if (embedded) {
		bio_uninit(bio);
		slot->uio.done(&slot->uio);
	} else {
		slot->uio.done(&slot->uio);
		bio_put(bio);
	}
	percpu_ref_put(&dev->inflight);
}

void pav_uio_read(struct pav_req *req, unsigned int idx, unsigned int n, struct pav_dev *dev, u64 block,
		  void (*done)(struct pav_uio *uio), void *ctx)
{
	struct bio *user = req->env.bio, *bio;
	struct pav_uio_slot *slot = NULL;

	percpu_ref_get(&dev->inflight);
	if (likely(req->env.slot))
		slot = xchg(&req->env.slot, NULL);
	if (likely(slot)) {
		bio = &slot->bio;
		bio_init_clone(dev->bdev, bio, user, GFP_NOIO);	/* can fail for encryption and integrity, which a volume has not */
		slot->embedded = true;
	} else {
		bio = bio_alloc_clone(dev->bdev, user, GFP_NOIO, &pav_uio_set);
		slot = container_of(bio, struct pav_uio_slot, bio);
		slot->embedded = false;
	}
	slot->uio = (struct pav_uio) {
		.req = req, .idx = idx, .n = n, .ctx = ctx, .done = done,
	};
	slot->dev = dev;
	slot->iter = pav_req_iter(req, idx, n);
	bio->bi_iter = slot->iter;
	bio->bi_iter.bi_sector = block * PAV_CELL_SECTORS;
	bio->bi_opf &= ~(REQ_NOWAIT | REQ_POLLED | REQ_RAHEAD);	/* ours to wait for and to finish, whatever the user can do without */
	bio->bi_end_io = pav_uio_end;
	trace_pav_uio_read(&slot->uio, pav_dev_number(dev), block);
	submit_bio_noacct(bio);
}

unsigned int pav_uio_verify(struct pav_uio *uio, const u32 *crc, unsigned int from)
{
	struct pav_uio_slot *slot = container_of(uio, struct pav_uio_slot, uio);
	const struct bio_vec *vecs = slot->bio.bi_io_vec;
	struct bvec_iter iter = slot->iter;
	unsigned int i;

	if (from)
		bvec_iter_advance(vecs, &iter, from << PAV_CELL_SHIFT);
	for (i = from; i < uio->n; i++) {
		struct bio_vec vec = mp_bvec_iter_bvec(vecs, iter);
		unsigned int left = PAV_CELL_BYTES, len;
		u32 sum = 0;

		for (;;) {
			len = min(vec.bv_len, left);
			sum = pav_crc32c(sum, pav_vec_address(&vec), len);
			bvec_iter_advance(vecs, &iter, len);
			left -= len;
			if (!left)
				break;
			vec = mp_bvec_iter_bvec(vecs, iter);
		}
		if (sum != crc[i])
			return i;
	}
	return uio->n;
}

/* ---- start and end ---- */

int pav_env_init(void)
{
	int err;

	err = bioset_init(&pav_uio_set, PAV_UIO_RESERVE, offsetof(struct pav_uio_slot, bio), BIOSET_NEED_RESCUER);
	if (err)
		return err;
	pav_work_init(&pav_submit_work, pav_submit_deferred);
	pav_submitter = pav_worker_create("pav_submit");
	if (!pav_submitter) {
		bioset_exit(&pav_uio_set);
		return -ENOMEM;
	}
	return 0;
}

void pav_env_exit(void)
{
	pav_worker_destroy(pav_submitter);
	bioset_exit(&pav_uio_set);
}
