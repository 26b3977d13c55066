// SPDX-License-Identifier: GPL-2.0
/*
 * Replay: from the last checkpoint to the state that was acknowledged.
 *
 *	scan	the segments of the replay list, row by row, for headers of this log that are newer than the checkpoint. Where a cell may be a header
 *		that is gone or rotten, it is rebuilt for every width a stripe could have there; its sum tells whether it was one.
 *	sort	by sequence number
 *	take	a stripe if every row of it is whole or can be rebuilt; what was wrong is rewritten. A stripe that cannot be was never acknowledged: it
 *		is left out, and the checkpoint that ends replay makes that final, since later replays begin after it (I6).
 *	apply	to the map, in order
 *
 * A stream never runs more than PAV_REPLAY_WINDOW rows ahead of its oldest stripe in flight, so past that many rows without a header there is none.
 */
#include "mend.h"

struct replay {
	struct pav_log *log;
	struct pav_group *g;
	struct pav_stripe_place *found;
	size_t nfound, room;

	struct pav_scan scan;			/* of a segment; then of a stripe, by position */
	struct pav_mend mend;
	u64 *covered;				/* by row: columns that stripes found so far lie on */
	u64 taken, repaired, voided;
};

/* ---- scan ---- */

static int add_found(struct replay *r, const struct pav_d_stripe *h, struct pav_set *set)
{
	struct pav_stripe_place *f;
	unsigned int i, j;

	if (r->nfound == r->room) {
		size_t room = r->room ? 2 * r->room : 256;
		struct pav_stripe_place *more = pav_alloc(room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		if (r->nfound)
			memcpy(more, r->found, r->nfound * sizeof(*more));
		pav_free(r->found);
		r->found = more;
		r->room = room;
	}
	f = &r->found[r->nfound++];
	*f = pav_stripe_place(set, h);
	for (i = 0; i < f->rows; i++)
		for (j = 0; j < f->width; j++)
			r->covered[f->row + i] |= BIT_ULL((f->c0 + j) % set->n);
	return 0;
}

static int scan(struct replay *r, u32 seg, u32 start, struct pav_set *set)
{
	u32 row, end = start;
	unsigned int i = 0, rows = 0, c, pass;
	int error = 0;

	memset(r->covered, 0, sizeof(*r->covered) * r->g->segment_blocks);
	for (row = start; row < r->g->segment_blocks && row < end + PAV_REPLAY_WINDOW && !error; row++, i++) {
		if (i == rows) {
			rows = min_t(u32, PAV_SCAN_ROWS, r->g->segment_blocks - row);
			i = 0;
			pav_scan_read(&r->scan, seg, row, rows, set->slot, set->n);
		}
		/* What there is to be seen first; it tells where nothing is missing. */
		for (pass = 0; pass < 2; pass++)
			for (c = 0; c < set->n && !error; c++) {
				struct pav_scan_at at = { .set = set, .seg = seg, .row = row, .c0 = c, .i = i };
				const struct pav_d_stripe *h;

				if (r->covered[row] & BIT_ULL(c))
					continue;
				h = pass ? pav_scan_guess(&r->scan, &at) : pav_scan_header(&r->scan, &at);
				/* Metadata that died in its own checkpoint may have left newer headers than that in a segment that was renewed. */
				if (!h || pav_stripe_of_nodes(h))
					continue;
				error = add_found(r, h, set);
				end = row + h->rows;
			}
	}
	return error;
}

static void sort_found(struct pav_stripe_place *f, size_t n)
{
	size_t i, root, child;

	/* heap sort: no memory, no worst case */
	for (i = n / 2 + n; i-- > 1 && n;) {
		size_t len = i >= n ? n : i;

		root = i >= n ? i - n : 0;
		if (i < n)
			swap(f[0], f[i]);
		while ((child = 2 * root + 1) < len) {
			if (child + 1 < len && f[child].seq < f[child + 1].seq)
				child++;
			if (f[root].seq >= f[child].seq)
				break;
			swap(f[root], f[child]);
			root = child;
		}
	}
}

/* ---- take ---- */

static bool take(struct replay *r, const struct pav_stripe_place *f)
{
	struct pav_mend *m = &r->mend;
	u8 slot[PAV_MAX_DRIVES];
	unsigned int i;

	for (i = 0; i < f->width; i++)
		slot[i] = f->set->slot[(f->c0 + i) % f->set->n];
	pav_scan_read(&r->scan, f->seg, f->row, f->rows, slot, f->width);
	m->column0 = m->first = 0;
	m->modulus = f->width;
	m->at = *f;
	return pav_mend_check(m);
}

static void heal(struct replay *r)
{
	struct pav_mended count = {};

	pav_mend_write(&r->mend, &count);
	if (count.healed || count.rebuilt) {
		pav_reached("replay healed a stripe");
		r->repaired++;
	}
}

static int apply(const struct pav_stripe_place *f, const struct pav_d_stripe *h, const struct pav_replay_ops *ops)
{
	unsigned int i, cell = 1;
	int error = 0;

	for (i = 0; i < le16_to_cpu(h->entries) && !error; i++) {
		const struct pav_d_stripe_entry *e = &h->entry[i];
		u64 key = le64_to_cpu(e->key);
		enum pav_entry_type type = pav_key_type(key);
		u64 loc = pav_place_loc(f, cell);

		do {
			if (type == PAV_ENTRY_WRITE)
				error = ops->cell(ops->ctx, pav_key_volume(key), pav_key_lba(key), loc, le32_to_cpu(e->crc), le32_to_cpu(e->birth));
			else if (type == PAV_ENTRY_UNMAP)
				error = ops->unmap(ops->ctx, pav_key_volume(key), pav_key_lba(key), le32_to_cpu(e->crc));
		} while (error == -ENOSPC && !(error = ops->between(ops->ctx, f->seq - 1)));
		if (type != PAV_ENTRY_UNMAP)
			cell++;
	}
	return error;
}

/* ---- all of it ---- */

static int replay_init(struct replay *r, struct pav_log *log)
{
	int error = pav_scan_init(&r->scan, log);

	r->log = log;
	r->g = log->g;
	r->scan.log_id = log->log_id;
	r->scan.after = le64_to_cpu(log->g->sb->seq);
	r->covered = pav_alloc(sizeof(*r->covered) * log->g->segment_blocks);
	return r->covered && !pav_mend_init(&r->mend, &r->scan) ? error : -ENOMEM;
}

static void replay_free(struct replay *r)
{
	pav_mend_free(&r->mend);
	pav_scan_free(&r->scan);
	pav_free(r->covered);
	pav_free(r->found);
	pav_free(r);
}

int pav_log_replay(struct pav_log *log, const struct pav_replay_ops *ops, struct pav_err *err)
{
	const struct pav_d_superblock *sb = log->g->sb;
	struct replay *r = pav_alloc(sizeof(*r));
	unsigned int i, replays = le16_to_cpu(sb->replays);
	int error = r ? replay_init(r, log) : -ENOMEM;
	size_t j;

	for (i = 0; i < replays && !error; i++) {
		u32 seg = le32_to_cpu(sb->replay[i].segment);

		error = scan(r, seg, le16_to_cpu(sb->replay[i].row), log->seg[seg].set);
	}
	if (!error)
		sort_found(r->found, r->nfound);
	if (r && r->nfound)
		atomic64_set(&log->seq, r->found[r->nfound - 1].seq);
	/*
	 * Past all that a cut may have left of torn stripes, and of checkpoints that were never committed: what is written from now on, by a checkpoint in the
	 * middle of this as well, must be newer than what an earlier use has left in its segment's cells.
	 */
	atomic64_add(PAV_SEQ_JUMP, &log->seq);
	for (j = 0; r && j < r->nfound && !error; j++) {
		const struct pav_stripe_place *f = &r->found[j];

		if (READ_ONCE(log->g->faulted)) {
			error = -EIO;
			break;
		}
		if (!take(r, f)) {
			pav_reached("replay voided a torn stripe");
			r->voided++;
			continue;
		}
		r->taken++;
		heal(r);
		pav_log_replayed_segment(log, f->seg);
		/* What is gone has missed it, for all that can be told. */
		pav_log_lack(log, f->seg, 0, READ_ONCE(log->g->gone));
		error = apply(f, r->mend.header, ops);
	}
	if (!error && r->nfound)
		pav_log(PAV_INFO, "%s: replayed %llu stripes, repaired %llu, left out %llu torn ones", log->g->name,
			(unsigned long long)r->taken, (unsigned long long)r->repaired, (unsigned long long)r->voided);
	if (error)
		pav_fail(err, error, "group %s: replay failed: error %d; nothing was changed but cells healed. Free memory, or bring missing drives back, and import again",
			 log->g->name, error);
	if (r)
		replay_free(r);
	return error;
}
