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
#include "log.h"
#include "../../raid6/raid6.h"

#define CHUNK	PAV_STRIPE_MAX_ROWS		/* rows read at once */

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
	u64 after;				/* sequence number of the checkpoint */
	struct found *found;
	size_t nfound, room;

	/* a chunk of a segment, by column; or a stripe, by position */
	u8 *col[PAV_MAX_DRIVES];
	u16 unread[PAV_MAX_DRIVES];		/* rows that could not be read */
	struct pav_io io[PAV_MAX_DRIVES];
	u8 *scratch[PAV_MAX_DRIVES];
	u8 *parity[2];
	atomic_t pending;
	struct completion all;
	u64 *covered;				/* by row: columns that stripes found so far lie on */
	u64 taken, repaired, voided;
};

static void column_read(struct pav_io *io)
{
	struct replay *r = io->ctx;

	if (atomic_dec_and_test(&r->pending))
		complete(&r->all);
}

static int io_wait(struct replay *r, unsigned int slot, enum pav_io_op op, u64 block, void *buf)
{
	struct pav_io *io = &r->io[0];

	init_completion(&r->all);
	atomic_set(&r->pending, 1);
	io->done = column_read;
	io->ctx = r;
	if (op == PAV_IO_WRITE)
		pav_group_write(r->g, slot, io, block, 1, buf);
	else
		pav_drive_io(&r->g->drives[slot], io, op, block, 1, buf);
	wait_for_completion(&r->all);
	return io->error;
}

/* Reads @rows rows from @row on of the @n columns whose slots are given, into col[]; what fails is marked in unread[]. */
static void read_columns(struct replay *r, u32 seg, u32 row, unsigned int rows, const u8 *slot, unsigned int n)
{
	struct pav_group *g = r->g;
	u64 block = pav_group_cell(g, seg, row);
	unsigned int i, j;

	init_completion(&r->all);
	atomic_set(&r->pending, 1);
	for (i = 0; i < n; i++) {
		r->unread[i] = 0;
		if (READ_ONCE(g->gone) & BIT_ULL(slot[i])) {
			r->unread[i] = (1u << rows) - 1;
			continue;
		}
		r->io[i].done = column_read;
		r->io[i].ctx = r;
		atomic_inc(&r->pending);
		pav_drive_io(&g->drives[slot[i]], &r->io[i], PAV_IO_READ, block, rows, r->col[i]);
	}
	if (!atomic_dec_and_test(&r->pending))
		wait_for_completion(&r->all);
	/* A column that failed as a whole may be bad in one cell only. io[0] is needed for that: ask it first. */
	for (i = 0; i < n; i++) {
		if (r->unread[i] || !r->io[i].error)
			continue;
		pav_reached("replay met an unreadable column");
		for (j = 0; j < rows; j++)
			if (io_wait(r, slot[i], PAV_IO_READ, block + j, r->col[i] + (size_t)j * PAV_CELL_BYTES))
				r->unread[i] |= 1u << j;
	}
}

/* ---- scan ---- */

static const char *header_wrong(struct replay *r, const struct pav_d_stripe *h, const struct pav_set *set, u32 seg, u32 row, u32 c0)
{
	if (le32_to_cpu(h->magic) != PAV_STRIPE_MAGIC)
		return "none";
	if (le32_to_cpu(h->segment) != seg || le16_to_cpu(h->row) != row || h->c0 != c0 || le64_to_cpu(h->members) != set->members)
		return "of another place";
	if (le64_to_cpu(h->log_id) != r->log->log_id || memcmp(h->group_uuid, r->g->uuid, sizeof(h->group_uuid)) != 0)
		return "of another log";
	if (le64_to_cpu(h->seq) <= r->after)
		return "older than the checkpoint";
	return NULL;
}

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

/* Rebuilds the first @bytes of the cell at column @c0 of chunk row @i, as header of a stripe of width @w, into scratch[0]. @other: -1, or the
 * position of one more cell not to be trusted.
 */
static bool rebuild_header(struct replay *r, const struct pav_set *set, unsigned int i, u32 c0, u32 w, size_t bytes, int other)
{
	void *cells[PAV_MAX_DRIVES];
	unsigned int j;
	int error;

	for (j = 0; j < w; j++) {
		u32 c = (c0 + j) % set->n;

		cells[j] = r->col[c] + (size_t)i * PAV_CELL_BYTES;
		if (!j || !(r->unread[c] & (1u << i)))
			continue;
		if (other >= 0 && other != (int)j)
			return false;
		other = j;
	}
	cells[0] = r->scratch[0];
	if (other > 0)
		cells[other] = r->scratch[1];
	pav_vector_begin();
	error = pav_raid6_recover(r->g->impl, w - 2, bytes, cells, 0, other > 0 ? other : -1);
	pav_vector_end();
	return !error;
}

static int guess_header(struct replay *r, struct pav_set *set, u32 seg, u32 row, unsigned int i, u32 c0)
{
	const struct pav_d_stripe *h = (const struct pav_d_stripe *)r->scratch[0];
	int other;
	u32 w;

	for (w = PAV_MIN_WIDTH; w <= set->n; w++) {
		bool promising = false;

		/* A look at the first bytes, trusting all others, then all but P. */
		for (other = -1; other <= (int)w - 2 && !promising; other += w - 1)
			promising = rebuild_header(r, set, i, c0, w, 64, other) && !header_wrong(r, h, set, seg, row, c0) && h->width == w;
		if (!promising)
			continue;
		for (other = -1; other < (int)w; other++) {
			if (!other || !rebuild_header(r, set, i, c0, w, PAV_CELL_BYTES, other))
				continue;
			if (!pav_stripe_check(h, r->g->segment_blocks) && !header_wrong(r, h, set, seg, row, c0) && h->width == w) {
				pav_reached("replay rebuilt a header");
				return add_found(r, h, set);
			}
		}
	}
	return 0;
}

static int scan(struct replay *r, u32 seg, u32 start, struct pav_set *set)
{
	u32 row, end = start;
	unsigned int i = 0, rows = 0, c;
	int error = 0;

	memset(r->covered, 0, sizeof(*r->covered) * r->g->segment_blocks);
	for (row = start; row < r->g->segment_blocks && row < end + PAV_REPLAY_WINDOW && !error; row++, i++) {
		if (i == rows) {
			rows = min_t(u32, CHUNK, r->g->segment_blocks - row);
			i = 0;
			read_columns(r, seg, row, rows, set->slot, set->n);
		}
		for (c = 0; c < set->n && !error; c++) {
			const struct pav_d_stripe *h = (const struct pav_d_stripe *)(r->col[c] + (size_t)i * PAV_CELL_BYTES);

			if ((r->covered[row] & BIT_ULL(c)) || (r->unread[c] & (1u << i)) || header_wrong(r, h, set, seg, row, c) ||
			    pav_stripe_check(h, r->g->segment_blocks))
				continue;
			error = add_found(r, h, set);
			end = row + h->rows;
		}
		for (c = 0; c < set->n && !error; c++) {
			size_t before = r->nfound;

			if (r->covered[row] & BIT_ULL(c))
				continue;
			error = guess_header(r, set, seg, row, i, c);
			if (r->nfound > before)
				end = row + r->found[before].rows;
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

static u8 *view_cell(struct replay *r, unsigned int pos, unsigned int row)
{
	return r->col[pos] + (size_t)row * PAV_CELL_BYTES;
}

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

	if (!i)
		return !pav_stripe_check(h, r->g->segment_blocks) && !header_wrong(r, h, v->f->set, v->f->seg, v->f->row, v->f->c0) &&
		       le64_to_cpu(h->seq) == v->f->seq;
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
		cells[j] = view_cell(r, j, row);
	cells[a] = r->scratch[a];
	if (b >= 0)
		cells[b] = r->scratch[b];
	pav_vector_begin();
	error = pav_raid6_recover(r->g->impl, v->k, PAV_CELL_BYTES, cells, a, b);
	pav_vector_end();
	if (error)
		return false;
	if (a < (int)v->k && !cell_right(r, v, a, row, r->scratch[a]))
		return false;
	return b < 0 || b >= (int)v->k || cell_right(r, v, b, row, r->scratch[b]);
}

static void accept(struct replay *r, unsigned int row, int pos)
{
	if (pos >= 0)
		memcpy(view_cell(r, pos, row), r->scratch[pos], PAV_CELL_BYTES);
}

/* Makes a row whole in memory, noting what was wrong on the drives. False: it cannot be. */
static bool take_row(struct replay *r, struct stripe_view *v, unsigned int row)
{
	const void *data[PAV_MAX_DRIVES];
	int bad[2] = { -1, -1 }, p = v->k, q = v->k + 1;
	unsigned int j, nbad = 0;
	bool p_read = !(r->unread[p] & (1u << row)), q_read = !(r->unread[q] & (1u << row));

	v->wrong[row] = 0;
	for (j = 0; j < v->k; j++) {
		data[j] = view_cell(r, j, row);
		if (!(r->unread[j] & (1u << row)) && cell_right(r, v, j, row, data[j]))
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
		u8 *cell = view_cell(r, v->k + j, row);

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
	u8 *cell = view_cell(r, 0, 0);
	int gone = -1, other;
	unsigned int j;

	v->cells = 1;
	if (!(r->unread[0] & 1) && cell_right(r, v, 0, 0, cell))
		return (const struct pav_d_stripe *)cell;
	for (j = 1; j < v->f->width; j++)
		if (r->unread[j] & 1) {
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
			cells[j] = view_cell(r, j, 0);
		cells[0] = r->scratch[0];
		if (second >= 0)
			cells[second] = r->scratch[1];
		pav_vector_begin();
		error = pav_raid6_recover(r->g->impl, v->k, PAV_CELL_BYTES, cells, 0, second);
		pav_vector_end();
		if (!error && cell_right(r, v, 0, 0, r->scratch[0]))
			return (const struct pav_d_stripe *)r->scratch[0];
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
	read_columns(r, f->seg, f->row, f->rows, v->slot, f->width);
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
			if (io_wait(r, slot, PAV_IO_WRITE, pav_group_cell(r->g, v->f->seg, v->f->row + row), view_cell(r, pos, row)))
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
	unsigned int i;

	r->log = log;
	r->g = log->g;
	r->after = le64_to_cpu(log->g->sb->seq);
	r->covered = pav_alloc(sizeof(*r->covered) * log->g->segment_blocks);
	r->parity[0] = pav_alloc_cells(1);
	r->parity[1] = pav_alloc_cells(1);
	if (!r->covered || !r->parity[0] || !r->parity[1])
		return -ENOMEM;
	for (i = 0; i < log->g->slots; i++) {
		r->col[i] = pav_alloc_cells(CHUNK);
		r->scratch[i] = pav_alloc_cells(1);
		if (!r->col[i] || !r->scratch[i])
			return -ENOMEM;
	}
	return 0;
}

static void replay_free(struct replay *r)
{
	unsigned int i;

	for (i = 0; i < PAV_MAX_DRIVES; i++) {
		if (r->col[i])
			pav_free_cells(r->col[i], CHUNK);
		if (r->scratch[i])
			pav_free_cells(r->scratch[i], 1);
	}
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
