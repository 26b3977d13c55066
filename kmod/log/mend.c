// SPDX-License-Identifier: GPL-2.0
/*
 * A stripe checked as a whole, and made whole: see mend.h.
 *
 *	header	known, or rebuilt from its row: it has the sums of all other data cells
 *	row	each data cell is compared with its sum, two at most rebuilt; parity is computed anew from data that is right, and compared
 *	write	what was not right on a drive that is there is written
 */
#include "mend.h"
#include "../../raid6/raid6.h"

static bool is_zero(const u8 *cell)
{
	const u64 *p = (const u64 *)cell;
	unsigned int i;

	for (i = 0; i < PAV_CELL_BYTES / sizeof(u64); i++)
		if (p[i])
			return false;
	return true;
}

/* Position @pos of the stripe's row @row, as it was read. */
static u8 *cell_at(const struct pav_mend *m, unsigned int pos, unsigned int row)
{
	return pav_scan_cell(m->scan, (m->column0 + pos) % m->modulus, m->first + row);
}

static bool was_read(const struct pav_mend *m, unsigned int pos, unsigned int row)
{
	return !(m->scan->unread[(m->column0 + pos) % m->modulus] & (1u << (m->first + row)));
}

/* Is @cell what belongs at data position @pos of @row? */
static bool cell_right(const struct pav_mend *m, unsigned int pos, unsigned int row, const u8 *cell)
{
	unsigned int i = pos * m->at.rows + row;
	const struct pav_d_stripe *h = (const struct pav_d_stripe *)cell;

	if (!i) {
		struct pav_scan_at at = { .set = m->at.set, .seg = m->at.seg, .row = m->at.row, .c0 = m->at.c0 };

		return pav_scan_is_header(m->scan, h, &at) && le64_to_cpu(h->seq) == m->at.seq;
	}
	if (i >= m->cells)
		return is_zero(cell);
	return pav_crc32c(0, cell, PAV_CELL_BYTES) == m->crc[i];
}

/* Rebuilds positions @a < @b (or @a alone) of a row into scratch; true if what data there is among them is right then. */
static bool rebuild(const struct pav_mend *m, unsigned int row, int a, int b)
{
	void *cells[PAV_MAX_DRIVES];
	unsigned int j;
	int error;

	for (j = 0; j < m->at.width; j++)
		cells[j] = cell_at(m, j, row);
	cells[a] = m->scan->scratch[a];
	if (b >= 0)
		cells[b] = m->scan->scratch[b];
	pav_vector_begin();
	error = pav_raid6_recover(m->scan->g->impl, m->k, PAV_CELL_BYTES, cells, a, b);
	pav_vector_end();
	if (error)
		return false;
	if (a < (int)m->k && !cell_right(m, a, row, m->scan->scratch[a]))
		return false;
	return b < 0 || b >= (int)m->k || cell_right(m, b, row, m->scan->scratch[b]);
}

static void accept(const struct pav_mend *m, unsigned int row, int pos)
{
	if (pos >= 0)
		memcpy(cell_at(m, pos, row), m->scan->scratch[pos], PAV_CELL_BYTES);
}

/* Makes a row whole in memory, noting what was wrong on the drives. False: it cannot be. */
static bool check_row(struct pav_mend *m, unsigned int row)
{
	const void *data[PAV_MAX_DRIVES];
	int bad[2] = { -1, -1 }, p = m->k;
	unsigned int j, nbad = 0;
	bool p_read = was_read(m, p, row), q_read = was_read(m, p + 1, row);

	m->wrong[row] = 0;
	for (j = 0; j < m->k; j++) {
		data[j] = cell_at(m, j, row);
		if (was_read(m, j, row) && cell_right(m, j, row, data[j]))
			continue;
		if (nbad == 2)
			return false;
		bad[nbad++] = j;
		m->wrong[row] |= BIT_ULL(j);
	}
	if (nbad == 1) {
		if (!(p_read && rebuild(m, row, bad[0], -1)) && !(q_read && rebuild(m, row, bad[0], p)))
			return false;
	} else if (nbad == 2) {
		if (!p_read || !q_read || !rebuild(m, row, bad[0], bad[1]))
			return false;
	}
	accept(m, row, bad[0]);
	accept(m, row, bad[1]);
	pav_vector_begin();
	pav_raid6_encode(m->scan->g->impl, m->k, PAV_CELL_BYTES, data, m->parity[0], m->parity[1]);
	pav_vector_end();
	for (j = 0; j < 2; j++) {
		u8 *cell = cell_at(m, m->k + j, row);

		if ((j ? q_read : p_read) && !memcmp(cell, m->parity[j], PAV_CELL_BYTES))
			continue;
		m->wrong[row] |= BIT_ULL(m->k + j);
		memcpy(cell, m->parity[j], PAV_CELL_BYTES);
	}
	return true;
}

/* Row 0's header first: without it nothing is known of the others. Leaves it in place, or returns NULL. */
static const struct pav_d_stripe *check_header(struct pav_mend *m)
{
	u8 *cell = cell_at(m, 0, 0);
	int gone = -1, other;
	unsigned int j;

	m->cells = 1;
	if (was_read(m, 0, 0) && cell_right(m, 0, 0, cell))
		return (const struct pav_d_stripe *)cell;
	for (j = 1; j < m->at.width; j++)
		if (!was_read(m, j, 0)) {
			if (gone >= 0)
				return NULL;
			gone = j;
		}
	for (other = -1; other < (int)m->at.width; other++) {
		void *cells[PAV_MAX_DRIVES];
		int second = gone >= 0 ? gone : other, error;

		if (!other || (gone >= 0 && other >= 0))
			continue;
		for (j = 0; j < m->at.width; j++)
			cells[j] = cell_at(m, j, 0);
		cells[0] = m->scan->scratch[0];
		if (second >= 0)
			cells[second] = m->scan->scratch[1];
		pav_vector_begin();
		error = pav_raid6_recover(m->scan->g->impl, m->k, PAV_CELL_BYTES, cells, 0, second);
		pav_vector_end();
		if (!error && cell_right(m, 0, 0, m->scan->scratch[0]))
			return (const struct pav_d_stripe *)m->scan->scratch[0];
	}
	return NULL;
}

bool pav_mend_check(struct pav_mend *m)
{
	const struct pav_d_stripe *h;
	unsigned int i, row;

	m->k = m->at.width - 2;
	for (i = 0; i < m->at.width; i++)
		m->slot[i] = m->at.set->slot[(m->at.c0 + i) % m->at.set->n];
	h = check_header(m);
	if (!h)
		return false;
	*m->header = *h;
	m->cells = pav_stripe_cells(m->header);
	for (i = 0, row = 1; i < le16_to_cpu(m->header->entries); i++) {
		enum pav_entry_type type = pav_key_type(le64_to_cpu(m->header->entry[i].key));

		if (type == PAV_ENTRY_WRITE || type == PAV_ENTRY_NODE)
			m->crc[row++] = le32_to_cpu(m->header->entry[i].crc);
	}
	for (row = 0; row < m->at.rows; row++)
		if (!check_row(m, row))
			return false;
	return true;
}

static void written(struct pav_io *io)
{
	struct pav_scan *s = io->ctx;

	if (atomic_dec_and_test(&s->pending))
		complete(&s->all);
}

/* The next run of rows from @row on in which @pos is wrong: where it begins; @n: its length, 0 if there is none. */
static unsigned int wrong_run(const struct pav_mend *m, unsigned int pos, unsigned int row, unsigned int *n)
{
	while (row < m->at.rows && !(m->wrong[row] & BIT_ULL(pos)))
		row++;
	for (*n = 0; row + *n < m->at.rows && (m->wrong[row + *n] & BIT_ULL(pos)); (*n)++)
		;
	return row;
}

void pav_mend_write(struct pav_mend *m, struct pav_mended *count)
{
	struct pav_scan *s = m->scan;
	struct pav_group *g = s->g;
	u64 lacks = READ_ONCE(g->lacks[m->at.seg]);
	u8 next[PAV_MAX_DRIVES] = {};
	unsigned int pos, row, n;
	bool more = true;

	while (more) {
		u64 sent = 0;

		more = false;
		init_completion(&s->all);
		atomic_set(&s->pending, 1);
		for (pos = 0; pos < m->at.width; pos++) {
			row = wrong_run(m, pos, next[pos], &n);
			next[pos] = row + n;
			if (!n || (READ_ONCE(g->gone) & BIT_ULL(m->slot[pos])))
				continue;
			more = true;
			sent |= BIT_ULL(pos);
			s->io[pos].done = written;
			s->io[pos].ctx = s;
			atomic_inc(&s->pending);
			s->ios++;
			pav_group_write(g, m->slot[pos], &s->io[pos], pav_group_cell(g, m->at.seg, m->at.row + row), n, cell_at(m, pos, row));
		}
		if (!atomic_dec_and_test(&s->pending))
			wait_for_completion(&s->all);
		for (pos = 0; pos < m->at.width; pos++) {
			u8 slot = m->slot[pos];

			if (!(sent & BIT_ULL(pos)))
				continue;
			if (s->io[pos].error) {
				/* It goes, and what should have been there is not: should it come back, that is known. */
				pav_log_lack(s->log, m->at.seg, 0, BIT_ULL(slot));
				pav_group_io_failed(g, slot, &s->io[pos], "a cell could not be rewritten");
			} else if (lacks & BIT_ULL(slot)) {
				count->rebuilt += s->io[pos].cells;
			} else {
				count->healed += s->io[pos].cells;
				atomic64_add(s->io[pos].cells, &g->drives[slot].healed);
			}
		}
	}
}

int pav_mend_init(struct pav_mend *m, struct pav_scan *scan)
{
	m->scan = scan;
	m->parity[0] = pav_alloc_cells(1);
	m->parity[1] = pav_alloc_cells(1);
	m->header = pav_alloc_cells(1);
	return m->parity[0] && m->parity[1] && m->header ? 0 : -ENOMEM;
}

void pav_mend_free(struct pav_mend *m)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (m->parity[i])
			pav_free_cells(m->parity[i], 1);
	if (m->header)
		pav_free_cells(m->header, 1);
}
