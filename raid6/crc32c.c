// SPDX-License-Identifier: GPL-2.0
/*
 * CRC32C in general registers.
 *
 * The crc32 instruction takes eight bytes, one a cycle, but has a latency of three.
 * So three streams are worked on side by side, each over a third of the data, and
 * joined: if A, B and C are the streams' states, each begun at zero but A, the state of
 * the whole is Z(Z(A) + B) + C, where Z(x) is what becomes of x over one stride of
 * zero bytes. Z is linear, and so a sum of four table look-ups. The long stride is
 * made for 4 KiB: three of it leave 16 bytes.
 *
 * Without the instruction: eight tables, eight bytes a step (slicing).
 */
#include "impl.h"
#include "cpu.h"
#include "crc_tables.h"

/* The compiler writes out the tables from eight values each. */
#define CRC_LINEAR(x, b0, b1, b2, b3, b4, b5, b6, b7)                         \
	(((x) & 1 ? (b0) : 0u) ^ ((x) & 2 ? (b1) : 0u) ^                      \
	 ((x) & 4 ? (b2) : 0u) ^ ((x) & 8 ? (b3) : 0u) ^                      \
	 ((x) & 16 ? (b4) : 0u) ^ ((x) & 32 ? (b5) : 0u) ^                    \
	 ((x) & 64 ? (b6) : 0u) ^ ((x) & 128 ? (b7) : 0u))
#define TABLE_4(f, x) f(x), f((x) + 1), f((x) + 2), f((x) + 3)
#define TABLE_16(f, x) \
	TABLE_4(f, x), TABLE_4(f, (x) + 4), TABLE_4(f, (x) + 8), TABLE_4(f, (x) + 12)
#define TABLE_64(f, x) \
	TABLE_16(f, x), TABLE_16(f, (x) + 16), TABLE_16(f, (x) + 32), TABLE_16(f, (x) + 48)
#define TABLE(f) \
	{ TABLE_64(f, 0), TABLE_64(f, 64), TABLE_64(f, 128), TABLE_64(f, 192) }

static const uint32_t slice[8][256] = {
	TABLE(CRC_BYTE_0), TABLE(CRC_BYTE_1), TABLE(CRC_BYTE_2),
	TABLE(CRC_BYTE_3), TABLE(CRC_BYTE_4), TABLE(CRC_BYTE_5),
	TABLE(CRC_BYTE_6), TABLE(CRC_BYTE_7),
};

static uint32_t portable(uint32_t crc, const uint8_t *at, size_t len)
{
	for (; len >= 8; len -= 8, at += 8) {
		uint32_t x = crc ^ (at[0] | (uint32_t)at[1] << 8 |
				    (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);

		crc = slice[7][x & 0xff] ^ slice[6][x >> 8 & 0xff] ^
		      slice[5][x >> 16 & 0xff] ^ slice[4][x >> 24] ^
		      slice[3][at[4]] ^ slice[2][at[5]] ^ slice[1][at[6]] ^
		      slice[0][at[7]];
	}
	for (; len; len--, at++)
		crc = crc >> 8 ^ slice[0][(crc ^ *at) & 0xff];
	return crc;
}

static uint32_t portable_zeroes(uint32_t crc, size_t len)
{
	for (; len; len--)
		crc = crc >> 8 ^ slice[0][crc & 0xff];
	return crc;
}

#ifdef __x86_64__
static const uint32_t over_long[4][256] = {
	TABLE(CRC_LONG_0), TABLE(CRC_LONG_1), TABLE(CRC_LONG_2),
	TABLE(CRC_LONG_3),
};

static const uint32_t over_short[4][256] = {
	TABLE(CRC_SHORT_0), TABLE(CRC_SHORT_1), TABLE(CRC_SHORT_2),
	TABLE(CRC_SHORT_3),
};

static __always_inline uint64_t over(const uint32_t z[4][256], uint64_t crc)
{
	return z[0][crc & 0xff] ^ z[1][crc >> 8 & 0xff] ^
	       z[2][crc >> 16 & 0xff] ^ z[3][crc >> 24];
}

/* Three strides from @at on; @step divides @stride. */
static __always_inline uint64_t three(uint64_t crc, const uint8_t *at,
				      size_t stride, size_t step,
				      const uint32_t z[4][256])
{
	const uint8_t *end = at + stride;
	uint64_t b = 0, c = 0;

	do {
		_Pragma("GCC unroll 32")
		for (size_t i = 0; i < step; i += 8) {
			crc = pav_crc32c_word(crc, at + i);
			b = pav_crc32c_word(b, at + i + stride);
			c = pav_crc32c_word(c, at + i + 2 * stride);
		}
		at += step;
	} while (at != end);
	return over(z, over(z, crc) ^ b) ^ c;
}

static uint32_t by_instruction(uint64_t crc, const uint8_t *at, size_t len)
{
	for (; len >= 3 * CRC_LONG; len -= 3 * CRC_LONG, at += 3 * CRC_LONG)
		crc = three(crc, at, CRC_LONG, 17 * 8, over_long);
	for (; len >= 3 * CRC_SHORT; len -= 3 * CRC_SHORT, at += 3 * CRC_SHORT)
		crc = three(crc, at, CRC_SHORT, 14 * 8, over_short);
	for (; len >= 64; len -= 64, at += 64) {
		_Pragma("GCC unroll 8")
		for (size_t i = 0; i < 64; i += 8)
			crc = pav_crc32c_word(crc, at + i);
	}
	for (; len >= 8; len -= 8, at += 8)
		crc = pav_crc32c_word(crc, at);
	for (; len; len--, at++)
		asm("crc32b %1, %k0" : "+r"(crc) : "m"(*at));
	return (uint32_t)crc;
}

static bool has_instruction(void)
{
	return PAV_CPU_HAS(XMM4_2, "sse4.2");
}
#else
static uint32_t by_instruction(uint64_t crc, const uint8_t *at, size_t len)
{
	return portable((uint32_t)crc, at, len);
}

static bool has_instruction(void)
{
	return false;
}
#endif

uint32_t pav_crc32c(uint32_t seed, const void *buf, size_t len)
{
	return ~(has_instruction() ? by_instruction(~seed, buf, len) :
				     portable(~seed, buf, len));
}

uint32_t pav_crc32c_portable(uint32_t seed, const void *buf, size_t len)
{
	return ~portable(~seed, buf, len);
}

uint32_t pav_crc32c_zeroes(uint32_t crc, size_t len)
{
	static const uint8_t zeroes[PAV_RAID6_GRAIN];

	if (!has_instruction())
		return portable_zeroes(crc, len);
	for (; len >= sizeof(zeroes); len -= sizeof(zeroes))
		crc = by_instruction(crc, zeroes, sizeof(zeroes));
	return by_instruction(crc, zeroes, len);
}
