/* SPDX-License-Identifier: GPL-2.0 */
/* What the implementations share. Not for users of raid6.h. */
#ifndef PAV_RAID6_IMPL_H
#define PAV_RAID6_IMPL_H

#include "raid6.h"

#ifdef __KERNEL__
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/string.h>
#else
#include <errno.h>
#include <string.h>
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#endif

/*
 * Multiplication by a constant c, in the forms the instruction sets want it:
 * the products of c with 0x00..0x0f and with 0x00..0xf0, for byte shuffles (four times
 * over, for vectors of up to 64 bytes), and the 8x8 bit matrix of "times c" for GFNI.
 */
struct pav_raid6_factor {
	uint8_t c;
	uint8_t lo[64];
	uint8_t hi[64];
	uint64_t matrix;
};

/*
 * How to repair a row. Let p be the sum of data[] plus p_in, and q the sum of
 * g^i data[i] plus q_in, with NULL counting as zeroes. Then
 *
 *	one = a p + b q
 *	two = p, plus one if two_adds_one
 *
 * two is stored before one, so that both may point to the same block when only one
 * is wanted. raid6.c shows that every loss fits this form.
 */
struct pav_raid6_repair {
	const void *data[PAV_RAID6_MAX_DATA];
	const void *p_in;
	const void *q_in;
	void *one;
	void *two;
	bool two_adds_one;
	struct pav_raid6_factor a;
	struct pav_raid6_factor b;
};

/*
 * The kernel's compiler flags clear every local array. Not these: they are written
 * before they are read, and the clearing would cost more than the work.
 */
#if __has_attribute(uninitialized)
#define PAV_UNINITIALIZED __attribute__((uninitialized))
#else
#define PAV_UNINITIALIZED
#endif

/*
 * base + off as one address: keeps the compiler from spreading it over as many index
 * registers as there are accesses.
 */
static __always_inline char *pav_at(const void *base, size_t off)
{
	char *at = (char *)base + off;

	asm("" : "+r"(at));
	return at;
}

/* The polynomial without its leading term; and the matrix of "times g" for GFNI. */
#define PAV_GF_POLY 0x1d
#define PAV_GF_MATRIX_G 0x8001828488102040ull

extern const struct pav_raid6_impl pav_raid6_scalar;
extern const struct pav_raid6_impl pav_raid6_avx2;
extern const struct pav_raid6_impl pav_raid6_avx512;
extern const struct pav_raid6_impl pav_raid6_avx2gfni;
extern const struct pav_raid6_impl pav_raid6_avx512gfni;

/* The functions that template.h and template_encode.h made in this file. */
#define PAV_RAID6_IMPL(called)              \
	{                                   \
		.name = called,             \
		.usable = usable,           \
		.encode = encode,           \
		.encode_fused = encode_fused, \
		.sum = sum,                 \
		.repair = repair,           \
	}

/* What an absent cell reads as, a part at a time. */
#define PAV_RAID6_ZEROES 4096
extern const char pav_raid6_zeroes[PAV_RAID6_ZEROES];

/* pav_crc32c() without the instruction, for tests. */
uint32_t pav_crc32c_portable(uint32_t seed, const void *buf, size_t len);

/* CRC32C without the inversions, of @len zero bytes after the state @crc. */
uint32_t pav_crc32c_zeroes(uint32_t crc, size_t len);

/* Words at any address, of whatever type was stored there. */
typedef uint64_t __attribute__((may_alias, aligned(1))) pav_word;
typedef uint32_t __attribute__((may_alias, aligned(1))) pav_half;

#ifdef __x86_64__
/* One step of CRC32C over eight bytes of memory, without the inversions. */
static __always_inline uint64_t pav_crc32c_word(uint64_t crc, const void *word)
{
	asm("crc32q %1, %0" : "+r"(crc) : "m"(*(const pav_word *)word));
	return crc;
}
#endif

#endif
