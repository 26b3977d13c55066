// SPDX-License-Identifier: GPL-2.0
/*
 * For module load: does this implementation do its arithmetic right on this machine?
 * What it should give is computed here bit by bit, from the definitions alone.
 */
#include "impl.h"

#define CELLS 7
#define DATA (CELLS - 2)
#define BYTES 1088 /* whole blocks of every implementation, and a remainder */

static uint8_t slow_times_g(uint8_t x)
{
	return (uint8_t)(x << 1 ^ (x & 0x80 ? PAV_GF_POLY : 0));
}

static uint32_t slow_crc(const uint8_t *at, size_t len)
{
	uint32_t crc = ~0u;

	for (; len; len--) {
		crc ^= *at++;
		for (unsigned int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static int check_losses(const struct pav_raid6_impl *impl,
			uint8_t cells[CELLS][BYTES],
			uint8_t good[CELLS][BYTES])
{
	void *row[CELLS];

	for (int i = 0; i < CELLS; i++)
		row[i] = cells[i];
	for (int a = 0; a < CELLS; a++) {
		for (int b = -1; b < CELLS; b++) {
			if (b >= 0 && b <= a)
				continue;
			memset(cells[a], 0xaa, BYTES);
			if (b >= 0)
				memset(cells[b], 0x55, BYTES);
			if (pav_raid6_recover(impl, DATA, BYTES, row, a, b))
				return -EIO;
			if (memcmp(cells, good, CELLS * BYTES) != 0)
				return -EIO;
		}
	}
	return 0;
}

int pav_raid6_selftest(const struct pav_raid6_impl *impl)
{
	static uint8_t good[CELLS][BYTES], cells[CELLS][BYTES];
	const void *src[DATA];
	void *dst[DATA];
	uint32_t crc[CELLS], seed = 1;

	for (size_t at = 0; at < BYTES; at++) {
		uint8_t p = 0, q = 0;

		for (int i = DATA - 1; i >= 0; i--) {
			seed = seed * 1664525 + 1013904223;
			good[i][at] = (uint8_t)(seed >> 24);
			p ^= good[i][at];
			q = slow_times_g(q) ^ good[i][at];
		}
		good[DATA][at] = p;
		good[DATA + 1][at] = q;
	}
	for (int i = 0; i < DATA; i++) {
		src[i] = good[i];
		dst[i] = cells[i];
	}

	if (pav_raid6_encode(impl, DATA, BYTES, src, cells[DATA],
			     cells[DATA + 1]) ||
	    memcmp(cells[DATA], good[DATA], 2 * BYTES) != 0)
		return -EIO;
	memset(cells, 0, sizeof(cells));
	if (pav_raid6_encode_fused(impl, DATA, BYTES, src, dst, cells[DATA],
				   cells[DATA + 1], crc) ||
	    memcmp(cells, good, sizeof(good)) != 0)
		return -EIO;
	for (int i = 0; i < CELLS; i++) {
		if (crc[i] != slow_crc(good[i], BYTES) ||
		    crc[i] != pav_crc32c(0, good[i], BYTES))
			return -EIO;
	}
	return check_losses(impl, cells, good);
}
