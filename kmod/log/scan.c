// SPDX-License-Identifier: GPL-2.0
/* Reading segments, and finding the headers in them: see scan.h. */
#include "scan.h"
#include "../../raid6/raid6.h"

static void io_done(struct pav_io *io)
{
	struct pav_scan *s = io->ctx;

	if (atomic_dec_and_test(&s->pending))
		complete(&s->all);
}

int pav_scan_io(struct pav_scan *s, unsigned int slot, enum pav_io_op op, u64 block, void *buf)
{
	struct pav_io *io = &s->io[0];

	init_completion(&s->all);
	atomic_set(&s->pending, 1);
	io->done = io_done;
	io->ctx = s;
	s->ios++;
	if (op == PAV_IO_WRITE)
		pav_group_write(s->g, slot, io, block, 1, buf);
	else
		pav_drive_io(&s->g->drives[slot], io, op, block, 1, buf);
	wait_for_completion(&s->all);
	return io->error;
}

void pav_scan_read(struct pav_scan *s, u32 seg, u32 row, unsigned int rows, const u8 *slot, unsigned int n)
{
	struct pav_group *g = s->g;
	u64 block = pav_group_cell(g, seg, row), missing = pav_group_missing(g, seg);
	unsigned int i, j;

	init_completion(&s->all);
	atomic_set(&s->pending, 1);
	for (i = 0; i < n; i++) {
		s->unread[i] = 0;
		if (missing & BIT_ULL(slot[i])) {
			s->unread[i] = (1u << rows) - 1;
			continue;
		}
		s->io[i].done = io_done;
		s->io[i].ctx = s;
		atomic_inc(&s->pending);
		s->ios++;
		pav_drive_io(&g->drives[slot[i]], &s->io[i], PAV_IO_READ, block, rows, s->col[i]);
	}
	if (!atomic_dec_and_test(&s->pending))
		wait_for_completion(&s->all);
	/* A column that failed as a whole may be bad in one cell only. io[0] is needed for that: ask it first. */
	for (i = 0; i < n; i++) {
		if (s->unread[i] || !s->io[i].error)
			continue;
		pav_reached("scan met an unreadable column");
		for (j = 0; j < rows; j++)
			if (pav_scan_io(s, slot[i], PAV_IO_READ, block + j, pav_scan_cell(s, i, j)))
				s->unread[i] |= 1u << j;
	}
}

static bool header_fits(const struct pav_scan *s, const struct pav_d_stripe *h, const struct pav_scan_at *at)
{
	return le32_to_cpu(h->magic) == PAV_STRIPE_MAGIC &&
	       /* of this place */
	       le32_to_cpu(h->segment) == at->seg && le16_to_cpu(h->row) == at->row && h->c0 == at->c0 &&
	       le64_to_cpu(h->members) == at->set->members &&
	       /* of this group and log, and newer */
	       (!s->log_id || le64_to_cpu(h->log_id) == s->log_id) && !memcmp(h->group_uuid, s->g->uuid, sizeof(h->group_uuid)) &&
	       le64_to_cpu(h->seq) > s->after;
}

bool pav_scan_is_header(const struct pav_scan *s, const struct pav_d_stripe *h, const struct pav_scan_at *at)
{
	return header_fits(s, h, at) && !pav_stripe_check(h, s->g->segment_blocks);
}

const struct pav_d_stripe *pav_scan_header(struct pav_scan *s, const struct pav_scan_at *at)
{
	const struct pav_d_stripe *h = (const struct pav_d_stripe *)pav_scan_cell(s, at->c0, at->i);

	return !(s->unread[at->c0] & (1u << at->i)) && pav_scan_is_header(s, h, at) ? h : NULL;
}

/*
 * Rebuilds the first @bytes of the cell as header of a stripe of width @w, into scratch[0]. @other: -1, or the position of one more cell not to be
 * trusted.
 */
static bool rebuild_header(struct pav_scan *s, const struct pav_scan_at *at, u32 w, size_t bytes, int other)
{
	void *cells[PAV_MAX_DRIVES];
	unsigned int j;
	int error;

	for (j = 0; j < w; j++) {
		u32 c = (at->c0 + j) % at->set->n;

		cells[j] = pav_scan_cell(s, c, at->i);
		if (!j || !(s->unread[c] & (1u << at->i)))
			continue;
		if (other >= 0 && other != (int)j)
			return false;
		other = j;
	}
	cells[0] = s->scratch[0];
	if (other > 0)
		cells[other] = s->scratch[1];
	pav_vector_begin();
	error = pav_raid6_recover(s->g->impl, w - 2, bytes, cells, 0, other > 0 ? other : -1);
	pav_vector_end();
	return !error;
}

/* a * b in the field of raid6/ */
static u8 gf_mul(u8 a, u8 b)
{
	u8 product = 0;

	for (; b; b >>= 1, a = a << 1 ^ (a & 0x80 ? 0x1d : 0))
		product ^= b & 1 ? a : 0;
	return product;
}

/* The first bytes of a cell, as they lie there. */
static u32 first_bytes(const void *cell)
{
	u32 bytes;

	memcpy(&bytes, cell, sizeof(bytes));
	return bytes;
}

static u32 magic_bytes(void)
{
	const __le32 magic = cpu_to_le32(PAV_STRIPE_MAGIC);

	return first_bytes(&magic);
}

/*
 * The magic of a header, rebuilt with P and rebuilt with Q, which differ. Could one data cell, whichever, be wrong as well? Let its error be e, its coefficient
 * c = g^j: P gives h + e, Q gives h + c e. So h = (with P) + (the difference) / (1 + c): one factor for all bytes, and the magic tells.
 */
static bool one_cell_from_magic(u32 with_p, u32 with_q)
{
	const u32 off = with_p ^ magic_bytes(), diff = with_p ^ with_q;
	unsigned int i, at = diff & 0xffff ? (diff & 0xff ? 0 : 8) : (diff & 0xff0000 ? 16 : 24);

	if (!(u8)(off >> at))
		return false;
	for (i = 0; i < 32; i += 8)
		if (gf_mul(off >> i, diff >> at) != gf_mul(off >> at, diff >> i))
			return false;
	return true;
}

/* Of the same, the first bytes. They may be right, and what follows is not: then they differ there. */
static bool one_more_wrong(const u8 *with_p, const u8 *with_q)
{
	u32 p = first_bytes(with_p), q = first_bytes(with_q);

	if (p == q)
		return p == magic_bytes() && memcmp(with_p, with_q, PAV_RAID6_GRAIN);
	return one_cell_from_magic(p, q);
}

/* Four elements of the field of raid6/ times g */
static u32 times_g(u32 x)
{
	return (x << 1 & 0xfefefefe) ^ (x >> 7 & 0x01010101) * 0x1d;
}

/* The first bytes of column @c, counted from @at's; 0 if it could not be read. */
static u32 first_read(struct pav_scan *s, const struct pav_scan_at *at, u32 c)
{
	c = (at->c0 + c) % at->set->n;
	return s->unread[c] & (1u << at->i) ? 0 : first_bytes(pav_scan_cell(s, c, at->i));
}

/* Nothing was ever written to this row, it seems: whatever is rebuilt from it is zero. */
static bool is_blank(struct pav_scan *s, const struct pav_scan_at *at)
{
	u32 c, bytes = 0;

	for (c = 0; c < at->set->n; c++)
		bytes |= first_read(s, at, c);
	return !bytes;
}

/*
 * The widths that a stripe could have whose header is to be rebuilt here, as bits: judged by the magic alone, for all widths in one pass, since most rows that
 * are looked at never held one. Cells that could not be read count as wrong ones.
 */
static u64 possible_widths(struct pav_scan *s, const struct pav_scan_at *at)
{
	u32 sum = 0, weighted = 0, w, j;
	const u32 magic = magic_bytes();
	u64 widths = 0;

	for (w = PAV_MIN_WIDTH; w <= at->set->n; w++) {
		u32 with_p = first_read(s, at, w - 2), with_q = first_read(s, at, w - 1);

		/* The data cell that a stripe of this width has and a narrower one has not. */
		if (w > 3) {
			u32 d = first_read(s, at, w - 3);

			sum ^= d;
			for (j = 0; j < w - 3; j++)
				d = times_g(d);
			weighted ^= d;
		}
		with_p ^= sum;
		with_q ^= weighted;
		if (with_p == magic || with_q == magic || (with_p != with_q && one_cell_from_magic(with_p, with_q)))
			widths |= BIT_ULL(w);
	}
	return widths;
}

/* Looks at the first bytes only: trusting all other cells; then all but P; then all but any one. */
static bool promising(struct pav_scan *s, const struct pav_scan_at *at, u32 w)
{
	const struct pav_d_stripe *h = (const struct pav_d_stripe *)s->scratch[0];
	u8 with_p[PAV_RAID6_GRAIN];

	if (!rebuild_header(s, at, w, PAV_RAID6_GRAIN, -1))
		return false;
	if (header_fits(s, h, at) && h->width == w)
		return true;
	memcpy(with_p, h, sizeof(with_p));
	if (!rebuild_header(s, at, w, PAV_RAID6_GRAIN, w - 2))
		return false;
	return (header_fits(s, h, at) && h->width == w) || one_more_wrong(with_p, (const u8 *)h);
}

const struct pav_d_stripe *pav_scan_guess(struct pav_scan *s, const struct pav_scan_at *at)
{
	const struct pav_d_stripe *h = (const struct pav_d_stripe *)s->scratch[0];
	u64 widths = is_blank(s, at) ? 0 : possible_widths(s, at);
	int other;
	u32 w;

	for (w = PAV_MIN_WIDTH; w <= at->set->n; w++) {
		if (!(widths & BIT_ULL(w)) || !promising(s, at, w))
			continue;
		for (other = -1; other < (int)w; other++) {
			if (!other || !rebuild_header(s, at, w, PAV_CELL_BYTES, other))
				continue;
			if (pav_scan_is_header(s, h, at) && h->width == w) {
				pav_reached("scan rebuilt a header");
				return h;
			}
		}
	}
	return NULL;
}

int pav_scan_stripes(struct pav_scan *s, u32 seg, int (*fn)(void *ctx, const struct pav_d_stripe *h, const struct pav_scan_at *at), void *ctx)
{
	const struct pav_segment *segment = &s->log->seg[seg];
	struct pav_scan_at at = { .set = segment->set, .seg = seg };
	const struct pav_d_stripe *h;
	u64 covered[2 * PAV_SCAN_ROWS] = {};	/* by row, a ring: columns that stripes found so far lie on */
	u32 blocks = s->g->segment_blocks, first = 0, rows = 0, j;
	unsigned int guess;
	int error = 0;

	for (; at.row < blocks && !error; covered[at.row++ % ARRAY_SIZE(covered)] = 0) {
		for (guess = 0; guess < 2 && !error; guess++) {
			for (at.c0 = 0; at.c0 < at.set->n && !error; at.c0++) {
				if (at.row >= first + rows) {
					first = at.row;
					rows = min_t(u32, PAV_SCAN_ROWS, blocks - first);
					pav_scan_read(s, seg, first, rows, at.set->slot, at.set->n);
				}
				at.i = at.row - first;
				if (!guess)
					h = pav_scan_header(s, &at);
				else if ((s->thorough || (s->unread[at.c0] & (1u << at.i))) && !(covered[at.row % ARRAY_SIZE(covered)] & BIT_ULL(at.c0)))
					h = pav_scan_guess(s, &at);
				else
					continue;
				if (!h || le64_to_cpu(h->seq) <= segment->seq || pav_stripe_of_nodes(h) != (READ_ONCE(segment->state) == PAV_SEG_META))
					continue;
				if (at.row + h->rows > first + rows) {
					/* It begins here and ends where we have not read yet: once more, from here on. */
					rows = 0;
					at.c0--;
					continue;
				}
				for (j = 0; j < h->rows * h->width; j++)
					covered[(at.row + j / h->width) % ARRAY_SIZE(covered)] |= BIT_ULL((at.c0 + j % h->width) % at.set->n);
				error = fn(ctx, h, &at);
			}
		}
	}
	return error;
}

int pav_scan_widen(struct pav_scan *s, unsigned int width)
{
	unsigned int i;

	for (i = 0; i < width; i++) {
		if (!s->col[i])
			s->col[i] = pav_alloc_cells(PAV_SCAN_ROWS);
		if (!s->scratch[i])
			s->scratch[i] = pav_alloc_cells(1);
		if (!s->col[i] || !s->scratch[i])
			return -ENOMEM;
	}
	return 0;
}

int pav_scan_init(struct pav_scan *s, struct pav_log *log)
{
	s->log = log;
	s->g = log->g;
	return pav_scan_widen(s, log->g->data_drives + 2);
}

void pav_scan_free(struct pav_scan *s)
{
	unsigned int i;

	for (i = 0; i < PAV_MAX_DRIVES; i++) {
		if (s->col[i])
			pav_free_cells(s->col[i], PAV_SCAN_ROWS);
		if (s->scratch[i])
			pav_free_cells(s->scratch[i], 1);
	}
}
