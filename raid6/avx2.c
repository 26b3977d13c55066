// SPDX-License-Identifier: GPL-2.0
/*
 * AVX2: 32 bytes at a time.
 *
 * A byte shuffle gives zero where the index has its top bit set. With a table that
 * holds 0x1d everywhere it so selects between 0 and 0x1d by the top bit: what a
 * multiplication by g has to fold back, only the wrong way round, i.e. off by the
 * constant 0x1d. We let that stand. Working on q + e instead of q, each step gives
 * g (q + e) + 0x1d + d, which is the next q plus e again if g e + 0x1d = e, that is
 * e = 0x1d / (g + 1) = 0x0b. So e is added before the first step and taken off
 * after the last, and a step costs a shuffle, an addition and two XORs.
 */
#include "impl.h"
#include "cpu.h"
#include "vec32.h"
#include "crc_words.h"

#define WIDE 4
#define FIXED_POINT 0x0b

static __always_inline vec all(unsigned char b)
{
	return (vec){ 0 } + b;
}

static __always_inline vec shuffle(vec table, vec index)
{
	return (vec)__builtin_ia32_pshufb256((vec_shuffle)table,
					     (vec_shuffle)index);
}

static __always_inline vec q_first(vec d)
{
	return d ^ all(FIXED_POINT);
}

static __always_inline vec q_next(vec q, vec d)
{
	return shuffle(all(PAV_GF_POLY), q) ^ (q + q) ^ d;
}

static __always_inline vec q_last(vec q)
{
	return q ^ all(FIXED_POINT);
}

static __always_inline vec table(const uint8_t *t)
{
	vec_half h = *(const vec_half *)t;

	return (vec)__builtin_shufflevector(h, h, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
					    10, 11, 12, 13, 14, 15, 0, 1, 2, 3,
					    4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
					    14, 15);
}

/* By nibbles: a shuffle looks up sixteen products at once. */
static __always_inline vec times(vec x, const struct pav_raid6_factor *f)
{
	typedef unsigned short words __attribute__((vector_size(32)));
	vec low = x & all(0x0f);
	vec high = (vec)((words)x >> 4) & all(0x0f);

	return shuffle(table(f->lo), low) ^ shuffle(table(f->hi), high);
}

#include "template.h"
#include "template_fused.h"

static bool usable(void)
{
	return PAV_CPU_HAS(AVX2, "avx2") && PAV_CPU_HAS(XMM4_2, "sse4.2") &&
	       PAV_CPU_SAVES_AVX();
}

const struct pav_raid6_impl pav_raid6_avx2 = {
	.name = "avx2",
	.usable = usable,
	.encode = encode,
	.encode_fused = encode_fused,
	.sum = sum,
	.repair = repair,
};
