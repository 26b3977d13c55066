// SPDX-License-Identifier: GPL-2.0
/* Discards of free segments: see discard.h. */
#include "discard.h"

static void drive_done(struct pav_io *io)
{
	struct pav_discard *d = io->ctx;

	/* One that fails is given up: the space is as free as before. */
	if (!io->error)
		atomic64_add(io->cells, &d->cells);
	if (atomic_dec_and_test(&d->pending))
		complete(&d->all);
}

static void discard_segment(struct pav_discard *d, u32 seg)
{
	const struct pav_set *set = d->log->seg[seg].set;
	struct pav_group *g = d->g;
	unsigned int i;

	init_completion(&d->all);
	atomic_set(&d->pending, 1);
	/* Either who lets a drive go waits for us, or we see that it leaves. */
	atomic_inc(&g->discarding);
	smp_mb__after_atomic();
	for (i = 0; i < set->n; i++) {
		unsigned int slot = set->slot[i];
		struct pav_dev *dev = g->drives[slot].dev;

		if (((READ_ONCE(g->gone) | READ_ONCE(g->leaving)) & BIT_ULL(slot)) || READ_ONCE(g->faulted) || !dev || !pav_dev_discards(dev))
			continue;
		/* A discard that another owner of the group meets is as bad as a write (I14). One that is left out is merely not done. */
		if (!pav_owner_holds(&g->owner))
			continue;
		d->io[i].done = drive_done;
		d->io[i].ctx = d;
		atomic_inc(&d->pending);
		pav_drive_io(&g->drives[slot], &d->io[i], PAV_IO_DISCARD, pav_group_cell(g, seg, 0), g->segment_blocks, NULL);
	}
	if (!atomic_dec_and_test(&d->pending))
		wait_for_completion(&d->all);
	atomic_dec(&g->discarding);
}

static void discard_work(struct pav_work *work)
{
	struct pav_discard *d = container_of(work, struct pav_discard, work);

	while (!READ_ONCE(d->off) && !READ_ONCE(d->g->faulted)) {
		u64 begun = pav_now_ns();
		s64 seg = pav_log_begin_discard(d->log);

		if (seg < 0)
			return;
		pav_reached("segment discarded");
		discard_segment(d, seg);
		pav_log_end_discard(d->log, seg);
		if (!READ_ONCE(d->off))
			pav_sleep_ns(min_t(u64, (pav_now_ns() - begun) * PAV_DISCARD_PAUSE, 1000000000));
	}
}

void pav_discard_want(void *ctx)
{
	struct pav_discard *d = ctx;

	if (!READ_ONCE(d->off))
		pav_work_queue(d->worker, &d->work);
}

void pav_discard_start(struct pav_discard *d)
{
	WRITE_ONCE(d->off, false);
	pav_discard_want(d);
}

void pav_discard_stop(struct pav_discard *d)
{
	WRITE_ONCE(d->off, true);
	pav_work_flush(d->worker);
}

int pav_discard_init(struct pav_discard *d, struct pav_log *log)
{
	d->g = log->g;
	d->log = log;
	d->off = true;
	pav_work_init(&d->work, discard_work);
	d->worker = pav_worker_create("discard");
	return d->worker ? 0 : -ENOMEM;
}

void pav_discard_free(struct pav_discard *d)
{
	if (d->worker)
		pav_worker_destroy(d->worker);
}
