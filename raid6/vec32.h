/* SPDX-License-Identifier: GPL-2.0 */
/* 32-byte vectors for template.h. The kernel has no immintrin.h: plain extensions. */
#ifndef PAV_RAID6_VEC32_H
#define PAV_RAID6_VEC32_H

typedef unsigned char vec __attribute__((vector_size(32)));
typedef unsigned char vec_at __attribute__((vector_size(32), aligned(1), may_alias));
typedef char vec_shuffle __attribute__((vector_size(32)));
typedef unsigned char vec_half __attribute__((vector_size(16), aligned(1), may_alias));

static __always_inline vec load(const void *at)
{
	return (vec)*(const vec_at *)at;
}

/* A load that the compiler can neither repeat nor fold into its users. */
static __always_inline vec load_once(const void *at)
{
	vec x = load(at);

	asm("" : "+x"(x));
	return x;
}

static __always_inline void store(void *at, vec x)
{
	*(vec_at *)at = (vec_at)x;
}

#endif
