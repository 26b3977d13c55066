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

typedef unsigned long long vec_words __attribute__((vector_size(VEC_BYTES)));

typedef struct {
	vec_words sum;
	vec_words factor; /* L's and H's, for each 16 bytes */
} crc_state;

#if VEC_BYTES == 32
#define CRC_FACTOR(low, high) ((vec_words){ low, high, low, high })
#define CRC_FOLD CRC_FACTOR(CRC_FOLD_32_LOW, CRC_FOLD_32_HIGH)
#else
#define CRC_FACTOR(low, high) \
	((vec_words){ low, high, low, high, low, high, low, high })
#define CRC_FOLD CRC_FACTOR(CRC_FOLD_64_LOW, CRC_FOLD_64_HIGH)
#endif

static __always_inline crc_state crc_begin(uint32_t crc)
{
	crc_state s;

	s.sum = (vec_words){ (uint32_t)~crc };
	s.factor = CRC_FACTOR(1, 0);
	return s;
}

static __always_inline crc_state crc_next(crc_state s, const char *at, vec d)
{
	vec_words low, high;

	(void)at;
	asm("vpclmulqdq $0x00, %2, %1, %0"
	    : "=v"(low)
	    : "v"(s.sum), "v"(s.factor));
	asm("vpclmulqdq $0x11, %2, %1, %0"
	    : "=v"(high)
	    : "v"(s.sum), "v"(s.factor));
	s.sum = low ^ high ^ (vec_words)d;
	s.factor = CRC_FOLD;
	return s;
}

static __always_inline uint32_t crc_end(crc_state s)
{
	char PAV_UNINITIALIZED bytes[sizeof(vec)];
	uint64_t crc = 0;

	store(bytes, (vec)s.sum);
	_Pragma("GCC unroll 8") for (size_t i = 0; i < sizeof(vec); i += 8)
		crc = pav_crc32c_word(crc, bytes + i);
	return ~(uint32_t)crc;
}

#endif
