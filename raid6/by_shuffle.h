/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Multiplication in the field by byte shuffles.
 *
 * A shuffle gives zero where the index has its top bit set. With a table that holds
 * 0x1d everywhere it so selects between 0 and 0x1d by the top bit: what a
 * multiplication by g has to fold back, only the wrong way round, that is, off by the
 * constant 0x1d. We let that stand. Working on q + e instead of q, each step gives
 * g (q + e) + 0x1d + d, which is the next q plus e again if g e + 0x1d = e, so
 * e = 0x1d / (g + 1) = 0x0b. It is added before the first step and taken off after the
 * last, and a step costs a shuffle, an addition and two XORs.
 */
#ifndef PAV_RAID6_BY_SHUFFLE_H
#define PAV_RAID6_BY_SHUFFLE_H

#define FIXED_POINT 0x0b

/* For each byte of index, the one it points to in the same 16 bytes of table. */
static __always_inline vec shuffle(vec table, vec index)
{
	vec x;

	asm("vpshufb %2, %1, %0" : "=v"(x) : "v"(table), "v"(index));
	return x;
}

static __always_inline vec q_first(vec d)
{
	return d ^ all(FIXED_POINT);
}

static __always_inline vec q_next(vec q, vec d)
{
	return shuffle(all(PAV_GF_POLY), q) ^ (q + q) ^ d;
}

static __always_inline vec q_last(vec q, bool last)
{
	return q ^ all(last ? FIXED_POINT : 0);
}

/* By nibbles: a shuffle looks up sixteen products at once. */
static __always_inline vec times(vec x, const struct pav_raid6_factor *f)
{
	typedef unsigned short words __attribute__((vector_size(VEC_BYTES)));
	vec low = x & all(0x0f);
	vec high = (vec)((words)x >> 4) & all(0x0f);

	return shuffle(load(f->lo), low) ^ shuffle(load(f->hi), high);
}

#endif
