/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Vectors of VEC_BYTES for template.h. The kernel has no immintrin.h: the compiler's
 * vector extensions, and a line of assembly where an instruction has no operator.
 */
#ifndef PAV_RAID6_VEC_H
#define PAV_RAID6_VEC_H

typedef unsigned char vec __attribute__((vector_size(VEC_BYTES)));
typedef unsigned char vec_at
	__attribute__((vector_size(VEC_BYTES), aligned(1), may_alias));

static __always_inline vec load(const void *at)
{
	return (vec)*(const vec_at *)at;
}

/* A load that the compiler can neither repeat nor fold into its users. */
static __always_inline vec load_once(const void *at)
{
	vec x = load(at);

	asm("" : "+v"(x));
	return x;
}

/*
 * a + b, now. Left alone, the compiler puts off a chain of such additions, and spills
 * what is to be added; but with AVX-512 there are registers enough, and an instruction
 * that adds three.
 */
static __always_inline vec add_now(vec a, vec b)
{
	a ^= b;
#if VEC_BYTES == 32
	asm("" : "+v"(a));
#endif
	return a;
}

static __always_inline void store(void *at, vec x)
{
	*(vec_at *)at = (vec_at)x;
}

static __always_inline void store_past(void *at, vec x)
{
	asm("vmovntdq %1, %0" : "=m"(*(vec_at *)at) : "v"(x));
}

static __always_inline vec all(unsigned char b)
{
	return (vec){ 0 } + b;
}

#endif
