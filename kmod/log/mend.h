/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Stripes made whole: every data cell is compared with the sum its header has of it, what is missing or wrong is rebuilt, parity is computed again and
 * compared. For replay (is this stripe whole?), for rebuilding (what a drive lacks is what is wrong on it) and for scrubbing. Process context; one user
 * at a time.
 */
#ifndef PAV_MEND_H
#define PAV_MEND_H

#include "scan.h"

struct pav_mended {
	u64 rebuilt, healed;		/* cells written: that a drive lacked; that were not what they should be */
};

struct pav_mend {
	struct pav_scan *scan;			/* its rows hold the stripe: position @pos of row @row is column (column0 + pos) % modulus, row first + row */
	unsigned int column0, modulus, first;

	struct pav_stripe_place at;		/* which stripe; the user's to fill, as the three above */

	u8 slot[PAV_MAX_DRIVES];		/* by position */
	unsigned int k, cells;
	u32 crc[PAV_STRIPE_MAX_CELLS + PAV_STRIPE_MAX_ROWS];	/* of data cells; the header's is not used */
	u64 wrong[PAV_STRIPE_MAX_ROWS];		/* by row: positions whose cell on the drive is not what it must be */
	u8 *parity[2];
	struct pav_d_stripe *header;		/* after a check that went well */
};

int pav_mend_init(struct pav_mend *m, struct pav_scan *scan);	/* @m zeroed; -ENOMEM; then free all the same */
void pav_mend_free(struct pav_mend *m);

/* True: the stripe is whole now in memory, and @wrong says what is not on the drives. False: more than two cells of a row are wrong. Writes nothing. */
bool pav_mend_check(struct pav_mend *m);
/* Writes what was wrong to the drives that are there. One that refuses is failed. Adds to @count. */
void pav_mend_write(struct pav_mend *m, struct pav_mended *count);

#endif
