/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Copy, checksum and encode in one walk; goes with template.h. Each column has its
 * own checksum, so their chains of dependent crc32 instructions overlap.
 *
 * A checksum is taken from the copy, not from the source, which somebody may be
 * changing; the parity is of the very registers that were stored.
 */

/*
 * Reads column @i into d, copies it, carries its checksum on. @plain says that every
 * column has a source and is copied: the usual case, kept free of tests.
 */
static __always_inline void take(unsigned int i, size_t off, size_t n,
				 bool plain, const void *const *src,
				 void *const *dst, vec *d, uint32_t *crc)
{
	const void *from = src[i];
	void *to = plain || dst ? dst[i] : NULL;
	const char *at = NULL;

	if (plain || from) {
		at = pav_at(from, off);
		EACH(n, d[v] = load_once(at + v * sizeof(vec)));
	} else {
		EACH(n, d[v] = (vec){ 0 });
	}
	if (plain || (to && to != from)) {
		at = pav_at(to, off);
		EACH(n, store((char *)at + v * sizeof(vec), d[v]));
	}
	if (plain || at)
		crc[i] = crc_block(crc[i], at, n * sizeof(vec));
	else
		crc[i] = pav_crc32c_zeroes(crc[i], n * sizeof(vec));
}

static __always_inline void fused_block(unsigned int k, size_t off, size_t n,
					bool plain, const void *const *src,
					void *const *dst, char *p, char *q,
					uint32_t *crc)
{
	vec PAV_UNINITIALIZED d[WIDE], sp[WIDE], sq[WIDE];

	take(k - 1, off, n, plain, src, dst, d, crc);
	EACH(n,
		sp[v] = d[v];
		sq[v] = q_first(d[v]));
	for (unsigned int i = k - 1; i-- > 0;) {
		take(i, off, n, plain, src, dst, d, crc);
		EACH(n,
			sp[v] ^= d[v];
			sq[v] = q_next(sq[v], d[v]));
	}
	EACH(n,
		store(p + off + v * sizeof(vec), sp[v]);
		store(q + off + v * sizeof(vec), q_last(sq[v])));
	crc[k] = crc_block(crc[k], pav_at(p, off), n * sizeof(vec));
	crc[k + 1] = crc_block(crc[k + 1], pav_at(q, off), n * sizeof(vec));
}

static __always_inline void fused_walk(unsigned int k, size_t bytes, bool plain,
				       const void *const *src, void *const *dst,
				       void *p, void *q, uint32_t *crc)
{
	size_t off = 0;

	for (; bytes - off >= WIDE * sizeof(vec); off += WIDE * sizeof(vec))
		fused_block(k, off, WIDE, plain, src, dst, p, q, crc);
	for (; off < bytes; off += PAV_RAID6_GRAIN)
		fused_block(k, off, NARROW, plain, src, dst, p, q, crc);
}

static void encode_fused(unsigned int k, size_t bytes, const void *const *src,
			 void *const *dst, void *p, void *q, uint32_t *crc)
{
	bool plain = dst != NULL;

	for (unsigned int i = 0; i < k; i++)
		plain = plain && src[i] && dst[i] && dst[i] != src[i];
	for (unsigned int i = 0; i < k + 2; i++)
		crc[i] = ~0u;
	if (plain)
		fused_walk(k, bytes, true, src, dst, p, q, crc);
	else
		fused_walk(k, bytes, false, src, dst, p, q, crc);
	for (unsigned int i = 0; i < k + 2; i++)
		crc[i] = ~crc[i];
}
