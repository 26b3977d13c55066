// SPDX-License-Identifier: GPL-2.0
/*
 * The front of raid6.h: the table of implementations, the checks, and the algebra of
 * repair. README.md derives the formulas.
 */
#include "impl.h"
#include "gf_tables.h"

const struct pav_raid6_impl *const pav_raid6_impls[] = {
	&pav_raid6_scalar,
#ifdef __x86_64__
	&pav_raid6_avx2,
	&pav_raid6_avx512,
	&pav_raid6_avx2gfni,
	&pav_raid6_avx512gfni,
#endif
	NULL,
};

const char pav_raid6_zeroes[PAV_RAID6_ZEROES] __attribute__((aligned(64)));

const struct pav_raid6_impl *pav_raid6_select(const char *name)
{
	const struct pav_raid6_impl *best = NULL;

	for (unsigned int i = 0; pav_raid6_impls[i]; i++) {
		const struct pav_raid6_impl *impl = pav_raid6_impls[i];

		if (name && strcmp(name, impl->name) != 0)
			continue;
		if (impl->usable())
			best = impl;
	}
	return best;
}

static bool sizes_valid(unsigned int k, size_t bytes)
{
	return k >= 1 && k <= PAV_RAID6_MAX_DATA && bytes &&
	       bytes % PAV_RAID6_GRAIN == 0;
}

int pav_raid6_encode(const struct pav_raid6_impl *impl, unsigned int k,
		     size_t bytes, const void *const *data, void *p, void *q)
{
	if (!sizes_valid(k, bytes))
		return -EINVAL;
	impl->encode(k, bytes, data, p, q);
	return 0;
}

int pav_raid6_encode_fused(const struct pav_raid6_impl *impl, unsigned int k,
			   size_t bytes, const void *const *src,
			   void *const *dst, void *p, void *q, uint32_t *crc)
{
	if (!sizes_valid(k, bytes))
		return -EINVAL;
	impl->encode_fused(k, bytes, src, dst, p, q, crc);
	return 0;
}

/* g^n, for -510 <= n < 255 */
static uint8_t power(int n)
{
	return gf_power[(n + 510) % 255];
}

static void factor_init(struct pav_raid6_factor *f, uint8_t c)
{
	uint8_t product = c; /* c times 2^bit */

	f->c = c;
	f->lo[0] = 0;
	f->hi[0] = 0;
	f->matrix = 0;
	for (unsigned int bit = 0; bit < 8; bit++) {
		uint8_t *table = bit < 4 ? f->lo : f->hi;
		unsigned int n = 1u << (bit & 3);

		for (unsigned int i = 0; i < n; i++)
			table[n + i] = table[i] ^ product;
		if (c >> bit & 1)
			f->matrix ^= gf_matrix[bit];
		product = (uint8_t)(product << 1 ^
				    (product & 0x80 ? PAV_GF_POLY : 0));
	}
	/* A copy for each 16 bytes of a vector. */
	for (unsigned int at = 16; at < sizeof(f->lo); at += 16) {
		memcpy(f->lo + at, f->lo, 16);
		memcpy(f->hi + at, f->hi, 16);
	}
}

/* A data cell or P, by summing all others. */
static void recover_by_sum(const struct pav_raid6_impl *impl, unsigned int k,
			   size_t bytes, void *const *cells, unsigned int lost)
{
	const void *PAV_UNINITIALIZED others[PAV_RAID6_MAX_DATA];
	unsigned int n = 0;

	for (unsigned int i = 0; i <= k; i++) {
		if (i != lost && cells[i])
			others[n++] = cells[i];
	}
	if (n)
		impl->sum(n, bytes, others, cells[lost]);
	else
		memset(cells[lost], 0, bytes);
}

int pav_raid6_recover(const struct pav_raid6_impl *impl, unsigned int k,
		      size_t bytes, void *const *cells, int a, int b)
{
	const int p = (int)k, q = p + 1;
	struct pav_raid6_repair PAV_UNINITIALIZED r;
	uint8_t fa, fb;

	if (!sizes_valid(k, bytes) || a < 0 || a > q || b < -1 || b > q ||
	    (b >= 0 && b <= a))
		return -EINVAL;

	if (b < 0 && a <= p) {
		recover_by_sum(impl, k, bytes, cells, (unsigned int)a);
		return 0;
	}
	for (int i = 0; i < p; i++)
		r.data[i] = i == a || i == b ? NULL : cells[i];
	if (a == p) {
		impl->encode(k, bytes, r.data, cells[p], cells[q]);
		return 0;
	}

	r.p_in = b == p || a == q ? NULL : cells[p];
	r.q_in = b == q || a == q ? NULL : cells[q];
	r.one = cells[a];
	r.two = cells[b < 0 ? a : b];
	r.two_adds_one = true;
	if (a == q) { /* Q alone: one = q, and two is overwritten by it */
		fa = 0;
		fb = 1;
	} else if (b == p) { /* d_a = q / g^a; P = p + d_a */
		fa = 0;
		fb = power(-a);
	} else if (b == q) { /* d_a = p; Q = g^a d_a + q */
		r.one = cells[q];
		r.two = cells[a];
		r.two_adds_one = false;
		fa = power(a);
		fb = 1;
	} else { /* d_a = (g^b p + q) / (g^a + g^b); d_b = p + d_a */
		int zech = gf_zech[b - a];

		fa = power(b - a - zech);
		fb = power(-a - zech);
	}
	factor_init(&r.a, fa);
	factor_init(&r.b, fb);
	impl->repair(k, bytes, &r);
	return 0;
}
