/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Multiplication in the field by GFNI. Its own product is of another field (0x11b), but
 * to multiply by a constant is linear, and there is an instruction that applies any
 * 8x8 bit matrix to each byte.
 */
#ifndef PAV_RAID6_BY_GFNI_H
#define PAV_RAID6_BY_GFNI_H

typedef unsigned long long vec_matrix __attribute__((vector_size(VEC_BYTES)));

static __always_inline vec apply(uint64_t matrix, vec x)
{
	vec_matrix everywhere = (vec_matrix){ 0 } + matrix;

	vec y;

	asm("vgf2p8affineqb $0, %2, %1, %0"
	    : "=v"(y)
	    : "v"(x), "v"(everywhere));
	return y;
}

static __always_inline vec q_first(vec d)
{
	return d;
}

static __always_inline vec q_next(vec q, vec d)
{
	return apply(PAV_GF_MATRIX_G, q) ^ d;
}

static __always_inline vec q_last(vec q, bool last)
{
	(void)last;
	return q;
}

static __always_inline vec times(vec x, const struct pav_raid6_factor *f)
{
	return apply(f->matrix, x);
}

#endif
