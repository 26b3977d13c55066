// SPDX-License-Identifier: GPL-2.0
/*
 * A request's life: a bio comes in, is cut to what the engine takes, and ends when the engine says so.
 *
 *	submit(bio):
 *		cut off what crosses a 1 MiB boundary, and put the rest back into line	(reads and writes)
 *		take a request from its reserve, send it to the engine
 *		done: account, give back, end the bio
 *
 * A discard or a write of zeroes may be gigabytes long. It is not cut into as many bios: one request works it off 1 MiB at a time. The next piece is
 * sent by a thread, since a request may end in an interrupt.
 *
 * Each bio takes exactly one request from the pools, so that they cannot lock up (a bio that waits for one holds none).
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/mempool.h>
#include <linux/slab.h>

#include "disk.h"
#include "control/trace.h"
#include "env/host.h"

#define PAV_SMALL_CELLS		8u	/* reads up to this need a small request, as does all that is no read */
#define PAV_SMALL_RESERVE	64
#define PAV_LARGE_RESERVE	16
#define PAV_CELL_SECTORS	(PAV_CELL_BYTES >> SECTOR_SHIFT)

struct pav_request {
	struct pav_req req;
	struct pav_disk *disk;
	struct bio *bio;
	unsigned long started;		/* jiffies */
	bool large;			/* which pool it is from */
	bool accounted;
	struct pav_work work;		/* unmap: sends the next piece */
	u64 left;			/* unmap: cells after this piece */
	struct pav_uio_slot slot;
	u32 crc[];
};

static struct kmem_cache *small_cache, *large_cache;
static mempool_t small_pool, large_pool;
static struct pav_worker *unmapper;

static void pav_request_end(struct pav_request *r)
{
	struct pav_disk *disk = r->disk;
	struct bio *bio = r->bio;

	trace_pav_request_done(&r->req);
	if (unlikely(r->req.error))
		bio->bi_status = r->req.error == -ENOSPC ? BLK_STS_NOSPC : BLK_STS_IOERR;
	if (r->accounted)
		bio_end_io_acct(bio, r->started);
	mempool_free(r, r->large ? &large_pool : &small_pool);
	bio_endio(bio);
	percpu_ref_put(&disk->inflight);
}

static void pav_request_done(struct pav_req *req)
{
	pav_request_end(container_of(req, struct pav_request, req));
}

/* The engine may work on others' requests too before it returns. A group must not be closed meanwhile, whether or not this request has ended. */
static void pav_request_submit(struct pav_request *r)
{
	struct pav_disk *disk = r->disk;

	percpu_ref_get(&disk->inflight);
	trace_pav_request_submit(&r->req);
	pav_submit(&r->req);
	percpu_ref_put(&disk->inflight);
}

/* ---- unmap ---- */

/* Of @left cells from @lba on, as many as one request may have. */
static unsigned int pav_piece(u64 lba, u64 left)
{
	return min_t(u64, left, PAV_REQ_MAX_CELLS - (lba & (PAV_REQ_MAX_CELLS - 1)));
}

static void pav_unmap_next(struct pav_work *work)
{
	struct pav_request *r = container_of(work, struct pav_request, work);

	trace_pav_request_done(&r->req);
	r->req.lba += r->req.cells;
	r->req.cells = pav_piece(r->req.lba, r->left);
	r->left -= r->req.cells;
	pav_request_submit(r);
}

static void pav_unmap_done(struct pav_req *req)
{
	struct pav_request *r = container_of(req, struct pav_request, req);

	if (r->left && !req->error)
		pav_work_queue(unmapper, &r->work);
	else
		pav_request_end(r);
}

/* ---- submit ---- */

static bool pav_op(const struct bio *bio, enum pav_req_op *op)
{
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		*op = PAV_READ;
		return true;
	case REQ_OP_WRITE:
		*op = PAV_WRITE;
		return true;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		*op = PAV_UNMAP;
		return true;
	default:
		return false;
	}
}

void pav_disk_submit(struct bio *bio)
{
	struct pav_disk *disk = bio->bi_bdev->bd_disk->private_data;
	struct pav_request *r;
	enum pav_req_op op;
	unsigned int cells;
	bool large;

	if (unlikely(!pav_op(bio, &op))) {
		bio->bi_status = BLK_STS_NOTSUPP;
		bio_endio(bio);
		return;
	}
	if (op != PAV_UNMAP) {
		bio = bio_split_to_limits(bio);
		if (!bio)
			return;
	}
	cells = bio_sectors(bio) / PAV_CELL_SECTORS;
	/* Sectors are 4 KiB, so who sends something else, or nothing, is at fault. */
	if (unlikely(!cells || ((bio->bi_iter.bi_sector | bio_sectors(bio)) & (PAV_CELL_SECTORS - 1)))) {
		bio_io_error(bio);
		return;
	}
	if (unlikely(!percpu_ref_tryget_live(&disk->inflight))) {
		bio_io_error(bio);
		return;
	}

	large = op == PAV_READ && cells > PAV_SMALL_CELLS;
	r = mempool_alloc(large ? &large_pool : &small_pool, bio->bi_opf & REQ_NOWAIT ? GFP_NOWAIT : GFP_NOIO);
	if (unlikely(!r)) {
		percpu_ref_put(&disk->inflight);
		bio_wouldblock_error(bio);
		return;
	}
	r->disk = disk;
	r->bio = bio;
	r->large = large;
	r->accounted = blk_queue_io_stat(disk->gd->queue);
	if (r->accounted)
		r->started = bio_start_io_acct(bio);
	r->req.vol = disk->vol;
	r->req.lba = bio->bi_iter.bi_sector / PAV_CELL_SECTORS;
	r->req.op = op;
	r->req.error = 0;
	r->req.crc = NULL;
	if (op == PAV_UNMAP) {
		r->req.cells = pav_piece(r->req.lba, cells);
		r->left = cells - r->req.cells;
		r->req.done = pav_unmap_done;
		pav_work_init(&r->work, pav_unmap_next);
	} else {
		r->req.cells = cells;
		r->req.done = pav_request_done;
		if (op == PAV_READ)
			r->req.crc = r->crc;
	}
	r->req.env.bio = bio;
	r->req.env.slot = &r->slot;
	r->req.env.cursor = bio->bi_iter;
	r->req.env.cursor_idx = 0;
	pav_request_submit(r);
}

/* ---- start and end ---- */

int pav_requests_init(void)
{
	int err = -ENOMEM;

	small_cache = kmem_cache_create("pav_request", struct_size((struct pav_request *)NULL, crc, PAV_SMALL_CELLS), 0,
					SLAB_HWCACHE_ALIGN, NULL);
	if (!small_cache)
		return err;
	large_cache = kmem_cache_create("pav_request_large", struct_size((struct pav_request *)NULL, crc, PAV_REQ_MAX_CELLS), 0,
					SLAB_HWCACHE_ALIGN, NULL);
	if (!large_cache)
		goto destroy_small_cache;
	err = mempool_init_slab_pool(&small_pool, PAV_SMALL_RESERVE, small_cache);
	if (err)
		goto destroy_large_cache;
	err = mempool_init_slab_pool(&large_pool, PAV_LARGE_RESERVE, large_cache);
	if (err)
		goto exit_small_pool;
	err = -ENOMEM;
	unmapper = pav_worker_create("pav_unmap");
	if (!unmapper)
		goto exit_large_pool;
	return 0;

exit_large_pool:
	mempool_exit(&large_pool);
exit_small_pool:
	mempool_exit(&small_pool);
destroy_large_cache:
	kmem_cache_destroy(large_cache);
destroy_small_cache:
	kmem_cache_destroy(small_cache);
	return err;
}

void pav_requests_exit(void)
{
	pav_worker_destroy(unmapper);
	mempool_exit(&large_pool);
	mempool_exit(&small_pool);
	kmem_cache_destroy(large_cache);
	kmem_cache_destroy(small_cache);
}
