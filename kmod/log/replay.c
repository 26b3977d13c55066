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
#include "scan.h"
#include "../../raid6/raid6.h"

struct found {
	u64 seq;
	struct pav_set *set;
	u32 seg;
	u16 row;
	u8 c0, width, rows;
};

struct replay {
	struct pav_log *log;
	struct pav_group *g;
	struct found *found;
	size_t nfound, room;

	struct pav_scan scan;			/* of a segment; then of a stripe, by position */
	u8 *parity[2];
	u64 *covered;				/* by row: columns that stripes found so far lie on */
	u64 taken, repaired, voided;
};

/* ---- scan ---- */

static int add_found(struct replay *r, const struct pav_d_stripe *h, struct pav_set *set)
{
	struct found *f;
	unsigned int i, j;

	if (r->nfound == r->room) {
		size_t room = r->room ? 2 * r->room : 256;
		struct found *more = pav_alloc(room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		if (r->nfound)
			memcpy(more, r->found, r->nfound * sizeof(*more));
		pav_free(r->found);
		r->found = more;
		r->room = room;
	}
	f = &r->found[r->nfound++];
	f->seq = le64_to_cpu(h->seq);
	f->set = set;
	f->seg = le32_to_cpu(h->segment);
	f->row = le16_to_cpu(h->row);
	f->c0 = h->c0;
	f->width = h->width;
	f->rows = h->rows;
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
				if (!h)
					continue;
				error = add_found(r, h, set);
				end = row + h->rows;
			}
	}
	return error;
}

static void sort_found(struct found *f, size_t n)
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

struct stripe_view {
	const struct found *f;
	u8 slot[PAV_MAX_DRIVES];		/* by position */
	unsigned int k, cells;
	u32 crc[PAV_STRIPE_MAX_CELLS + PAV_STRIPE_MAX_ROWS];	/* of data cells; the header's is not used */
	u64 wrong[PAV_STRIPE_MAX_ROWS];		/* by row: positions whose cell on the drive is not what it must be */
};

static bool is_zero(const u8 *cell)
{
	const u64 *p = (const u64 *)cell;
	unsigned int i;

	for (i = 0; i < PAV_CELL_BYTES / sizeof(u64); i++)
		if (p[i])
			return false;
	return true;
}

/* Is @cell what belongs at data position @pos of @row? */
static bool cell_right(struct replay *r, const struct stripe_view *v, unsigned int pos, unsigned int row, const u8 *cell)
{
	unsigned int i = pos * v->f->rows + row;
	const struct pav_d_stripe *h = (const struct pav_d_stripe *)cell;

	if (!i) {
		struct pav_scan_at at = { .set = v->f->set, .seg = v->f->seg, .row = v->f->row, .c0 = v->f->c0 };

		return pav_scan_is_header(&r->scan, h, &at) && le64_to_cpu(h->seq) == v->f->seq;
	}
	if (i >= v->cells)
		return is_zero(cell);
	return pav_crc32c(0, cell, PAV_CELL_BYTES) == v->crc[i];
}

/* Rebuilds positions @a < @b (or @a alone) of a row into scratch; true if what data there is among them is right then. */
static bool rebuild(struct replay *r, const struct stripe_view *v, unsigned int row, int a, int b)
{
	void *cells[PAV_MAX_DRIVES];
	unsigned int j;
	int error;

	for (j = 0; j < v->f->width; j++)
		cells[j] = pav_scan_cell(&r->scan, j, row);
	cells[a] = r->scan.scratch[a];
	if (b >= 0)
		cells[b] = r->scan.scratch[b];
	pav_vector_begin();
	error = pav_raid6_recover(r->g->impl, v->k, PAV_CELL_BYTES, cells, a, b);
	pav_vector_end();
	if (error)
		return false;
	if (a < (int)v->k && !cell_right(r, v, a, row, r->scan.scratch[a]))
		return false;
	return b < 0 || b >= (int)v->k || cell_right(r, v, b, row, r->scan.scratch[b]);
}

static void accept(struct replay *r, unsigned int row, int pos)
{
	if (pos >= 0)
		memcpy(pav_scan_cell(&r->scan, pos, row), r->scan.scratch[pos], PAV_CELL_BYTES);
}

/* Makes a row whole in memory, noting what was wrong on the drives. False: it cannot be. */
static bool take_row(struct replay *r, struct stripe_view *v, unsigned int row)
{
	const void *data[PAV_MAX_DRIVES];
	int bad[2] = { -1, -1 }, p = v->k, q = v->k + 1;
	unsigned int j, nbad = 0;
	bool p_read = !(r->scan.unread[p] & (1u << row)), q_read = !(r->scan.unread[q] & (1u << row));

	v->wrong[row] = 0;
	for (j = 0; j < v->k; j++) {
		data[j] = pav_scan_cell(&r->scan, j, row);
		if (!(r->scan.unread[j] & (1u << row)) && cell_right(r, v, j, row, data[j]))
			continue;
		if (nbad == 2)
			return false;
		bad[nbad++] = j;
		v->wrong[row] |= BIT_ULL(j);
	}
	if (nbad == 1) {
		if (!(p_read && rebuild(r, v, row, bad[0], -1)) && !(q_read && rebuild(r, v, row, bad[0], p)))
			return false;
	} else if (nbad == 2) {
		if (!p_read || !q_read || !rebuild(r, v, row, bad[0], bad[1]))
			return false;
	}
	accept(r, row, bad[0]);
	accept(r, row, bad[1]);
	pav_vector_begin();
	pav_raid6_encode(r->g->impl, v->k, PAV_CELL_BYTES, data, r->parity[0], r->parity[1]);
	pav_vector_end();
	for (j = 0; j < 2; j++) {
		u8 *cell = pav_scan_cell(&r->scan, v->k + j, row);

		if ((j ? q_read : p_read) && !memcmp(cell, r->parity[j], PAV_CELL_BYTES))
			continue;
		v->wrong[row] |= BIT_ULL(v->k + j);
		memcpy(cell, r->parity[j], PAV_CELL_BYTES);
	}
	return true;
}

/* Row 0's header first: without it nothing is known of the others. Leaves it in place, or returns NULL. */
static const struct pav_d_stripe *take_header(struct replay *r, struct stripe_view *v)
{
	u8 *cell = pav_scan_cell(&r->scan, 0, 0);
	int gone = -1, other;
	unsigned int j;

	v->cells = 1;
	if (!(r->scan.unread[0] & 1) && cell_right(r, v, 0, 0, cell))
		return (const struct pav_d_stripe *)cell;
	for (j = 1; j < v->f->width; j++)
		if (r->scan.unread[j] & 1) {
			if (gone >= 0)
				return NULL;
			gone = j;
		}
	for (other = -1; other < (int)v->f->width; other++) {
		void *cells[PAV_MAX_DRIVES];
		int second = gone >= 0 ? gone : other, error;

		if (!other || (gone >= 0 && other >= 0))
			continue;
		for (j = 0; j < v->f->width; j++)
			cells[j] = pav_scan_cell(&r->scan, j, 0);
		cells[0] = r->scan.scratch[0];
		if (second >= 0)
			cells[second] = r->scan.scratch[1];
		pav_vector_begin();
		error = pav_raid6_recover(r->g->impl, v->k, PAV_CELL_BYTES, cells, 0, second);
		pav_vector_end();
		if (!error && cell_right(r, v, 0, 0, r->scan.scratch[0]))
			return (const struct pav_d_stripe *)r->scan.scratch[0];
	}
	return NULL;
}

static bool take(struct replay *r, const struct found *f, struct stripe_view *v, struct pav_d_stripe *header)
{
	const struct pav_d_stripe *h;
	unsigned int i, row;

	v->f = f;
	v->k = f->width - 2;
	for (i = 0; i < f->width; i++)
		v->slot[i] = f->set->slot[(f->c0 + i) % f->set->n];
	pav_scan_read(&r->scan, f->seg, f->row, f->rows, v->slot, f->width);
	h = take_header(r, v);
	if (!h)
		return false;
	*header = *h;
	v->cells = pav_stripe_cells(header);
	for (i = 0, row = 1; i < le16_to_cpu(header->entries); i++) {
		enum pav_entry_type type = pav_key_type(le64_to_cpu(header->entry[i].key));

		if (type == PAV_ENTRY_WRITE || type == PAV_ENTRY_NODE)
			v->crc[row++] = le32_to_cpu(header->entry[i].crc);
	}
	for (row = 0; row < f->rows; row++)
		if (!take_row(r, v, row))
			return false;
	return true;
}

static void heal(struct replay *r, const struct stripe_view *v)
{
	unsigned int row, pos;
	bool any = false;

	for (row = 0; row < v->f->rows; row++)
		for (pos = 0; pos < v->f->width; pos++) {
			unsigned int slot = v->slot[pos];

			if (!(v->wrong[row] & BIT_ULL(pos)) || (READ_ONCE(r->g->gone) & BIT_ULL(slot)))
				continue;
			any = true;
			if (pav_scan_io(&r->scan, slot, PAV_IO_WRITE, pav_group_cell(r->g, v->f->seg, v->f->row + row), pav_scan_cell(&r->scan, pos, row)))
				pav_group_fail_drive(r->g, slot, "a write failed in replay");
			else
				atomic64_inc(&r->g->drives[slot].healed);
		}
	if (any) {
		pav_reached("replay healed a stripe");
		r->repaired++;
	}
}

static int apply(const struct found *f, const struct pav_d_stripe *h, const struct pav_replay_ops *ops)
{
	unsigned int i, cell = 1;
	int error = 0;

	for (i = 0; i < le16_to_cpu(h->entries) && !error; i++) {
		const struct pav_d_stripe_entry *e = &h->entry[i];
		u64 key = le64_to_cpu(e->key);
		enum pav_entry_type type = pav_key_type(key);
		u64 loc = pav_loc(f->set->index, f->seg, f->row + cell % f->rows, (f->c0 + cell / f->rows) % f->set->n, f->c0, f->width);

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
	r->parity[0] = pav_alloc_cells(1);
	r->parity[1] = pav_alloc_cells(1);
	return r->covered && r->parity[0] && r->parity[1] ? error : -ENOMEM;
}

static void replay_free(struct replay *r)
{
	unsigned int i;

	pav_scan_free(&r->scan);
	for (i = 0; i < 2; i++)
		if (r->parity[i])
			pav_free_cells(r->parity[i], 1);
	pav_free(r->covered);
	pav_free(r->found);
	pav_free(r);
}

int pav_log_replay(struct pav_log *log, const struct pav_replay_ops *ops, struct pav_err *err)
{
	const struct pav_d_superblock *sb = log->g->sb;
	struct replay *r = pav_alloc(sizeof(*r));
	struct stripe_view *v = pav_alloc(sizeof(*v));
	struct pav_d_stripe *header = pav_alloc_cells(1);
	unsigned int i, replays = le16_to_cpu(sb->replays);
	int error = r && v && header ? replay_init(r, log) : -ENOMEM;
	size_t j;

	for (i = 0; i < replays && !error; i++) {
		u32 seg = le32_to_cpu(sb->replay[i].segment);

		error = scan(r, seg, le16_to_cpu(sb->replay[i].row), log->seg[seg].set);
	}
	if (!error)
		sort_found(r->found, r->nfound);
	for (j = 0; r && j < r->nfound && !error; j++) {
		const struct found *f = &r->found[j];

		if (READ_ONCE(log->g->faulted)) {
			error = -EIO;
			break;
		}
		if (!take(r, f, v, header)) {
			pav_reached("replay voided a torn stripe");
			r->voided++;
			continue;
		}
		r->taken++;
		heal(r, v);
		pav_log_replayed_segment(log, f->seg);
		error = apply(f, header, ops);
	}
	if (r && r->nfound)
		atomic64_set(&log->seq, r->found[r->nfound - 1].seq);
	if (!error && r->nfound)
		pav_log(PAV_INFO, "%s: replayed %llu stripes, repaired %llu, left out %llu torn ones", log->g->name,
			(unsigned long long)r->taken, (unsigned long long)r->repaired, (unsigned long long)r->voided);
	if (error)
		pav_fail(err, error, "group %s: replay failed: error %d; nothing was changed but cells healed. Free memory, or bring missing drives back, and import again",
			 log->g->name, error);
	if (header)
		pav_free_cells(header, 1);
	pav_free(v);
	if (r)
		replay_free(r);
	return error;
}
