/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading segments as what they are on the drives: rows of cells, some of which are headers of stripes. For replay, which does not know what lies in
 * them, and for the emptying of segments, which wants to know what their cells are. Process context; one user at a time.
 */
#ifndef PAV_SCAN_H
#define PAV_SCAN_H

#include "log.h"

#define PAV_SCAN_ROWS	PAV_STRIPE_MAX_ROWS		/* read at once */

struct pav_scan {
	struct pav_log *log;
	struct pav_group *g;
	u64 log_id, after;			/* headers of this log (0: any), newer than that */
	bool thorough;				/* look for headers that are rotten, too, rather than unreadable */
	u64 ios;				/* on drives */

	u8 *col[PAV_MAX_DRIVES];		/* rows that were read, by column of the segment, or by position in a stripe */
	u16 unread[PAV_MAX_DRIVES];		/* of those, the rows that could not be read */
	struct pav_io io[PAV_MAX_DRIVES];
	u8 *scratch[PAV_MAX_DRIVES];		/* a cell for each column: of what is being rebuilt */
	atomic_t pending;
	struct completion all;
};

int pav_scan_init(struct pav_scan *s, struct pav_log *log);	/* @s zeroed; -ENOMEM; then free all the same */
void pav_scan_free(struct pav_scan *s);
int pav_scan_widen(struct pav_scan *s, unsigned int width);	/* room for @width columns, in use or not; -ENOMEM */

/* One cell, to or from @buf; waits. */
int pav_scan_io(struct pav_scan *s, unsigned int slot, enum pav_io_op op, u64 block, void *buf);

/* Reads @rows rows from @row on of the @n columns whose slots are given, into col[]; what fails is marked in unread[]. */
void pav_scan_read(struct pav_scan *s, u32 seg, u32 row, unsigned int rows, const u8 *slot, unsigned int n);

/* Where a stripe lies, as its header says. Data cells are numbered down the columns, the header is cell 0. */
struct pav_stripe_place {
	const struct pav_set *set;
	u64 seq;
	u32 seg;
	u16 row;
	u8 c0, width, rows;
};

static inline struct pav_stripe_place pav_stripe_place(const struct pav_set *set, const struct pav_d_stripe *h)
{
	return (struct pav_stripe_place){ .set = set, .seq = le64_to_cpu(h->seq), .seg = le32_to_cpu(h->segment), .row = le16_to_cpu(h->row),
					  .c0 = h->c0, .width = h->width, .rows = h->rows };
}

static inline u64 pav_place_loc(const struct pav_stripe_place *p, unsigned int cell)
{
	return pav_loc(p->set->index, p->seg, p->row + cell % p->rows, (p->c0 + cell / p->rows) % p->set->n, p->c0, p->width);
}

/* Where a header is looked for: column @c0 of row @row of a segment of @set. It is row @i of those that were read. */
struct pav_scan_at {
	const struct pav_set *set;
	u32 seg, row, c0;
	unsigned int i;
};

bool pav_scan_is_header(const struct pav_scan *s, const struct pav_d_stripe *h, const struct pav_scan_at *at);
/* The header as it was read, or NULL. */
const struct pav_d_stripe *pav_scan_header(struct pav_scan *s, const struct pav_scan_at *at);
/* The same where the cell is gone or rotten: rebuilt for every width a stripe could have there; its sum tells whether it was one. In scratch[0]. */
const struct pav_d_stripe *pav_scan_guess(struct pav_scan *s, const struct pav_scan_at *at);

/*
 * Every header of segment @seg, which is closed: calls @fn, which may wait, with the stripe's cells read: those of its j-th column at
 * pav_scan_cell(s, (at->c0 + j) % at->set->n, at->i + row). What an earlier use of the segment left is passed over. Ends with @fn's first error.
 */
int pav_scan_stripes(struct pav_scan *s, u32 seg, int (*fn)(void *ctx, const struct pav_d_stripe *h, const struct pav_scan_at *at), void *ctx);

static inline u8 *pav_scan_cell(struct pav_scan *s, unsigned int column, unsigned int i)
{
	return s->col[column] + (size_t)i * PAV_CELL_BYTES;
}

#endif
