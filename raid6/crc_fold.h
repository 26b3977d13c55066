/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Running checksums for template_encode.h, by carry-less multiplication (VPCLMULQDQ).
 *
 * The state is a vector that stands for all that went before: what both are modulo the
 * polynomial of the checksum is the same. To go on by one vector, the state is moved
 * that many bits up, each 16 bytes of it by two multiplications with constants (its low
 * half L and its high half H, in the checksum's bit order: L x^64 + H, times
 * x^(8 VEC_BYTES), and a product of two halves comes out one bit low), and the new
 * vector is added. At the end the crc32 instruction takes the remainder.
 *
 * A checksum is taken up by adding it to the first four bytes that follow: the first
 * step multiplies by one.
 */
#ifndef PAV_RAID6_CRC_FOLD_H
#define PAV_RAID6_CRC_FOLD_H

#include "crc_tables.h"

typedef struct {
	vec sum;
	vec factor; /* L's and H's, for each 16 bytes */
} crc_state;

/* As many of them as the widest vector holds */
static const uint64_t crc_one[8] = { 1, 0, 1, 0, 1, 0, 1, 0 };

#define FOLD_32 CRC_FOLD_32_LOW, CRC_FOLD_32_HIGH
#define FOLD_64 CRC_FOLD_64_LOW, CRC_FOLD_64_HIGH
static const uint64_t crc_fold[8] = {
#if VEC_BYTES == 32
	FOLD_32, FOLD_32,
#else
	FOLD_64, FOLD_64, FOLD_64, FOLD_64,
#endif
};

static __always_inline crc_state crc_begin(uint32_t crc)
{
	crc_state s;

	/* into the first four bytes; clears all others */
	asm("vmovd %1, %x0" : "=v"(s.sum) : "r"(~crc));
	s.factor = load(crc_one);
	return s;
}

static __always_inline crc_state crc_next(crc_state s, const char *at, vec d)
{
	vec low, high;

	(void)at;
	asm("vpclmulqdq $0x00, %2, %1, %0"
	    : "=v"(low)
	    : "v"(s.sum), "v"(s.factor));
	asm("vpclmulqdq $0x11, %2, %1, %0"
	    : "=v"(high)
	    : "v"(s.sum), "v"(s.factor));
	s.sum = low ^ high ^ d;
	s.factor = load(crc_fold);
	return s;
}

static __always_inline uint32_t crc_end(crc_state s)
{
	char PAV_UNINITIALIZED bytes[sizeof(vec)];
	uint64_t crc = 0;

	store(bytes, s.sum);
	_Pragma("GCC unroll 8") for (size_t i = 0; i < sizeof(vec); i += 8)
		crc = pav_crc32c_word(crc, bytes + i);
	return ~(uint32_t)crc;
}

#endif
