// SPDX-License-Identifier: GPL-2.0
/*
 * Verified reads of single cells, and their rebuilding.
 *
 * direct read -> sum right? done. Otherwise, on a worker: take a recon (room for a whole row) -> read all other cells of the row -> solve -> verify ->
 * heal the cell on its drive if that is there -> done.
 *
 * Solving: cells that are gone or unreadable are the known erasures. Any of the rest may be wrong too without saying so: if the known erasures leave
 * room for one more, each other cell in turn is taken for the wrong one. The sum of the wanted cell, which the map holds, is the judge.
 */
#include "group.h"
#include "../../raid6/raid6.h"

#define PAV_RECONS	16u

struct pav_recon {
	struct list_head link;
	struct pav_group *g;
	struct pav_cell_read *cr;
	atomic_t pending;
	unsigned int width, target;		/* columns of the stripe; which one is wanted */
	u64 bad;				/* columns known to be missing */
	bool missing;				/* the one that is wanted was not to be read at all */
	u32 heals;				/* odd: a cell is being rewritten */
	struct pav_work work;
	struct pav_io io[PAV_MAX_DRIVES];
	u8 *cell[PAV_MAX_DRIVES];		/* by column of the stripe: data, P, Q */
	u8 *scratch;
};

static unsigned int recon_slot(const struct pav_cell_read *cr, unsigned int column)
{
	return cr->set->slot[(pav_loc_c0(cr->loc) + column) % cr->set->n];
}

static void recon_put(struct pav_recon *r)
{
	struct pav_group *g = r->g;
	struct pav_cell_read *next = NULL;
	unsigned long flags;

	spin_lock_irqsave(&g->lock, flags);
	list_add(&r->link, &g->recon_free);
	if (!list_empty(&g->recon_waiters)) {
		next = list_first_entry(&g->recon_waiters, struct pav_cell_read, link);
		list_del(&next->link);
	}
	spin_unlock_irqrestore(&g->lock, flags);
	if (next)
		pav_work_queue(g->recon_worker, &next->work);
}

static bool recon_try(struct pav_recon *r, int other)
{
	struct pav_cell_read *cr = r->cr;
	void *cells[PAV_MAX_DRIVES];
	int a = r->target, b = other, error;
	unsigned int i;

	for (i = 0; i < r->width; i++)
		cells[i] = r->cell[i];
	if (other >= 0) {
		/* Solved into scratch: the guess may be wrong, and the cell is needed for the next one. */
		cells[other] = r->scratch;
		if (b < a)
			swap(a, b);
	}
	pav_vector_begin();
	error = pav_raid6_recover(r->g->impl, r->width - 2, PAV_CELL_BYTES, cells, a, b);
	pav_vector_end();
	return !error && pav_crc32c(0, r->cell[r->target], PAV_CELL_BYTES) == cr->crc;
}

static bool recon_solve(struct pav_recon *r)
{
	unsigned int i, bad = hweight64(r->bad);
	int other = -1;

	if (bad > 2)
		return false;
	for (i = 0; i < r->width; i++)
		if ((r->bad & BIT_ULL(i)) && i != r->target)
			other = i;
	if (recon_try(r, other))
		return true;
	if (bad == 2)
		return false;
	for (i = 0; i < r->width; i++)
		if (i != r->target && recon_try(r, i)) {
			pav_reached("rebuilt past a second, silent error");
			return true;
		}
	return false;
}

static void recon_healed(struct pav_io *io)
{
	struct pav_recon *r = io->ctx;
	struct pav_group *g = r->g;

	/* A failed rewrite is a failed write: the drive goes. */
	if (io->error)
		pav_group_io_failed(g, r->bad, io, "rewriting a healed cell failed");
	else
		atomic64_inc(&g->drives[r->bad].healed);
	WRITE_ONCE(r->heals, r->heals + 1);
	recon_put(r);
}

void pav_group_wait_heals(struct pav_group *g)
{
	unsigned int i;

	for (i = 0; i < g->nrecons; i++) {
		u32 heals = READ_ONCE(g->recons[i].heals);

		while ((heals & 1) && READ_ONCE(g->recons[i].heals) == heals) {
			pav_reached("waited for a cell being healed");
			pav_sleep_ns(50000);
		}
	}
}

static void recon_work(struct pav_work *work)
{
	struct pav_recon *r = container_of(work, struct pav_recon, work);
	struct pav_cell_read *cr = r->cr;
	struct pav_group *g = r->g;
	unsigned int slot = recon_slot(cr, r->target);
	u64 block = pav_group_cell(g, pav_loc_seg(cr->loc), pav_loc_row(cr->loc));
	bool solved = recon_solve(r), heal;

	cr->recon = NULL;
	if (solved) {
		memcpy(cr->buf, r->cell[r->target], PAV_CELL_BYTES);
		atomic64_inc(&g->reconstructed);
	} else if (pav_group_is_ours(g)) {
		pav_reached("cell lost");
		atomic64_inc(&g->lost);
		pav_log(PAV_ERR, "%s: a cell cannot be rebuilt: drive %u (%s), block %llu: %u of its row's %u cells are missing",
			g->name, slot, g->drives[slot].path, (unsigned long long)block, (unsigned int)hweight64(r->bad), r->width);
	}
	/* What its segment lacks, or did when we looked, is rebuilt as a whole. */
	heal = solved && !r->missing && !(pav_group_missing(g, pav_loc_seg(cr->loc)) & BIT_ULL(slot)) && !READ_ONCE(g->faulted);
	cr->error = solved ? 0 : -EIO;
	/* While its reader is still there, who keeps the cell from being used again: from here on pav_group_wait_heals() does. */
	if (heal)
		WRITE_ONCE(r->heals, r->heals + 1);
	cr->done(cr);
	if (!heal) {
		recon_put(r);
		return;
	}
	pav_reached("cell healed");
	pav_group_cell_bad(g, slot);
	atomic64_inc(&g->healed);
	pav_log(PAV_WARN, "%s: healed block %llu of drive %u (%s)", g->name, (unsigned long long)block, slot, g->drives[slot].path);
	pav_group_event(g, PAV_EVENT_CHECKSUM_HEALED, slot, block, "a cell was rebuilt from its row and rewritten");
	r->bad = slot;
	r->io[r->target].done = recon_healed;
	r->io[r->target].ctx = r;
	pav_group_write(g, slot, &r->io[r->target], block, 1, r->cell[r->target]);
}

static void recon_one_in(struct pav_recon *r)
{
	if (atomic_dec_and_test(&r->pending))
		pav_work_queue(r->g->recon_worker, &r->work);
}

static void recon_read(struct pav_io *io)
{
	recon_one_in(io->ctx);
}

/* All reads are in: which of them failed is only now asked, on one thread. */
static void recon_collect(struct pav_work *work)
{
	struct pav_recon *r = container_of(work, struct pav_recon, work);
	unsigned int i;

	for (i = 0; i < r->width; i++)
		if (!(r->bad & BIT_ULL(i)) && r->io[i].error) {
			atomic64_inc(&r->g->drives[recon_slot(r->cr, i)].errors);
			r->bad |= BIT_ULL(i);
		}
	recon_work(work);
}

static void recon_start(struct pav_recon *r, struct pav_cell_read *cr)
{
	struct pav_group *g = cr->g;
	u64 block = pav_group_cell(g, pav_loc_seg(cr->loc), pav_loc_row(cr->loc));
	u64 missing = pav_group_missing(g, pav_loc_seg(cr->loc));
	unsigned int i;

	r->g = g;
	r->cr = cr;
	cr->recon = r;
	r->width = pav_loc_width(cr->loc);
	r->target = (pav_loc_col(cr->loc) + cr->set->n - pav_loc_c0(cr->loc)) % cr->set->n;
	r->bad = BIT_ULL(r->target);
	r->missing = missing & BIT_ULL(recon_slot(cr, r->target));
	atomic_set(&r->pending, 1);
	for (i = 0; i < r->width; i++)
		if (missing & BIT_ULL(recon_slot(cr, i)))
			r->bad |= BIT_ULL(i);
	for (i = 0; i < r->width && hweight64(r->bad) <= 2; i++) {
		if (r->bad & BIT_ULL(i))
			continue;
		r->io[i].done = recon_read;
		r->io[i].ctx = r;
		atomic_inc(&r->pending);
		pav_drive_io(&g->drives[recon_slot(cr, i)], &r->io[i], PAV_IO_READ, block, 1, r->cell[i]);
	}
	pav_work_init(&r->work, recon_collect);
	recon_one_in(r);
}

/* On the worker: from here on vectors may be used and I/O submitted. */
static void cell_rebuild(struct pav_work *work)
{
	struct pav_cell_read *cr = container_of(work, struct pav_cell_read, work);
	struct pav_group *g = cr->g;
	struct pav_recon *r = NULL;
	unsigned long flags;

	spin_lock_irqsave(&g->lock, flags);
	if (!list_empty(&g->recon_free)) {
		r = list_first_entry(&g->recon_free, struct pav_recon, link);
		list_del(&r->link);
	} else {
		pav_reached("rebuild waited for room");
		list_add_tail(&cr->link, &g->recon_waiters);
	}
	spin_unlock_irqrestore(&g->lock, flags);
	if (r)
		recon_start(r, cr);
}

static void cell_read_done(struct pav_io *io)
{
	struct pav_cell_read *cr = io->ctx;
	struct pav_group *g = cr->g;
	struct pav_drive *d = &g->drives[pav_loc_slot(g, cr->loc)];

	if (!io->error && pav_crc32c(0, cr->buf, PAV_CELL_BYTES) == cr->crc) {
		cr->error = 0;
		cr->done(cr);
		return;
	}
	atomic64_inc(&d->errors);
	pav_work_queue(g->recon_worker, &cr->work);
}

void pav_cell_read(struct pav_cell_read *cr)
{
	struct pav_group *g = cr->g;
	unsigned int slot = pav_loc_slot(g, cr->loc);

	cr->set = g->sets[pav_loc_set(cr->loc)];
	pav_work_init(&cr->work, cell_rebuild);
	cr->error = 0;
	if (cr->direct_failed || (pav_group_missing(g, pav_loc_seg(cr->loc)) & BIT_ULL(slot))) {
		pav_work_queue(g->recon_worker, &cr->work);
		return;
	}
	cr->io.done = cell_read_done;
	cr->io.ctx = cr;
	pav_drive_io(&g->drives[slot], &cr->io, PAV_IO_READ, pav_group_cell(g, pav_loc_seg(cr->loc), pav_loc_row(cr->loc)), 1, cr->buf);
}

static void wake_asleep(struct pav_cell_read *cr)
{
	complete(&container_of(cr, struct pav_cell_asleep, cr)->done);
}

bool pav_cell_make_right(struct pav_cell_asleep *a, struct pav_group *g, u64 loc, u32 crc, void *cell)
{
	if (pav_crc32c(0, cell, PAV_CELL_BYTES) == crc)
		return true;
	a->cr = (struct pav_cell_read){ .g = g, .loc = loc, .crc = crc, .buf = cell, .done = wake_asleep };
	init_completion(&a->done);
	pav_cell_read(&a->cr);
	wait_for_completion(&a->done);
	return !a->cr.error;
}

void pav_recon_pool_drain(struct pav_group *g)
{
	unsigned int free;
	struct pav_recon *r;
	unsigned long flags;

	while (g->nrecons) {
		free = 0;
		spin_lock_irqsave(&g->lock, flags);
		list_for_each_entry(r, &g->recon_free, link)
			free++;
		spin_unlock_irqrestore(&g->lock, flags);
		if (free == g->nrecons)
			break;
		pav_reached("close waited for a cell being healed");
		pav_sleep_ns(100000);
	}
}

int pav_recon_widen(struct pav_group *g, unsigned int width)
{
	unsigned int i, j;

	for (i = 0; i < PAV_RECONS; i++)
		for (j = 0; j < width; j++) {
			struct pav_recon *r = &g->recons[i];

			if (!r->cell[j])
				r->cell[j] = pav_alloc_cells(1);
			if (!r->cell[j])
				return -ENOMEM;
		}
	return 0;
}

int pav_recon_pool_init(struct pav_group *g)
{
	unsigned int i;

	g->recons = pav_alloc(PAV_RECONS * sizeof(*g->recons));
	if (!g->recons || pav_recon_widen(g, g->data_drives + 2))
		return -ENOMEM;
	for (i = 0; i < PAV_RECONS; i++) {
		struct pav_recon *r = &g->recons[i];

		r->scratch = pav_alloc_cells(1);
		if (!r->scratch)
			return -ENOMEM;
		list_add_tail(&r->link, &g->recon_free);
		g->nrecons++;
	}
	return 0;
}

void pav_recon_pool_free(struct pav_group *g)
{
	unsigned int i, j;

	for (i = 0; g->recons && i < PAV_RECONS; i++) {
		for (j = 0; j < PAV_MAX_DRIVES; j++)
			if (g->recons[i].cell[j])
				pav_free_cells(g->recons[i].cell[j], 1);
		if (g->recons[i].scratch)
			pav_free_cells(g->recons[i].scratch, 1);
	}
	pav_free(g->recons);
}
