// SPDX-License-Identifier: GPL-2.0
/* Portable: eight bytes at a time in a general register. */
#include "impl.h"

typedef uint64_t vec;
#define WIDE 8

#define BYTES(b) (0x0101010101010101ull * (b))

static __always_inline vec load(const void *at)
{
	return *(const pav_word *)at;
}

static __always_inline void store(void *at, vec x)
{
	*(pav_word *)at = x;
}

static __always_inline vec load_once(const void *at)
{
	return load(at);
}

/* x times g in each byte: shift, and fold back what fell out at the top. */
static __always_inline vec twice(vec x)
{
	vec top = x & BYTES(0x80);
	vec mask = (top << 1) - (top >> 7);

	return ((x << 1) & BYTES(0xfe)) ^ (mask & BYTES(PAV_GF_POLY));
}

static __always_inline vec q_first(vec d)
{
	return d;
}

static __always_inline vec q_next(vec q, vec d)
{
	return twice(q) ^ d;
}

static __always_inline vec q_last(vec q, bool last)
{
	(void)last;
	return q;
}

static __always_inline vec times(vec x, const struct pav_raid6_factor *f)
{
	vec product = 0;

	for (unsigned int c = f->c; c; c >>= 1) {
		if (c & 1)
			product ^= x;
		x = twice(x);
	}
	return product;
}

#include "template.h"

static void encode(unsigned int k, size_t bytes, const void *const *data,
		   void *p, void *q)
{
	vec PAV_UNINITIALIZED sp[WIDEST], sq[WIDEST];

	for (size_t off = 0; off < bytes; off += WIDE * sizeof(vec)) {
		syndrome(k, off, WIDE, false, true, data, sp, sq);
		EACH(WIDE, store((char *)p + off + v * sizeof(vec), sp[v]);
		     store((char *)q + off + v * sizeof(vec), sq[v]));
	}
}

/* In three steps: here the checksum may be a function of its own. */
static void encode_fused(unsigned int k, size_t bytes, const void *const *src,
			 void *const *dst, void *p, void *q, uint32_t *crc)
{
	const void *PAV_UNINITIALIZED data[PAV_RAID6_MAX_DATA];

	for (unsigned int i = 0; i < k; i++) {
		void *to = dst ? dst[i] : NULL;

		data[i] = src[i];
		if (!src[i] && to)
			memset(to, 0, bytes);
		else if (to && to != src[i])
			data[i] = memcpy(to, src[i], bytes);
		crc[i] = data[i] ? pav_crc32c(0, data[i], bytes) :
				   ~pav_crc32c_zeroes(~0u, bytes);
	}
	encode(k, bytes, data, p, q);
	crc[k] = pav_crc32c(0, p, bytes);
	crc[k + 1] = pav_crc32c(0, q, bytes);
}

static bool usable(void)
{
	return true;
}

const struct pav_raid6_impl pav_raid6_scalar = PAV_RAID6_IMPL("scalar");
