/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Copy, checksum and encode in one walk; goes with template.h. Each column has its
 * own checksum, so their chains of dependent crc32 instructions overlap.
 *
 * A checksum is taken from the copy, not from the source, which somebody may be
 * changing; the parity is of the very registers that were stored.
 */

/*
 * Column @i: reads it, copies it, adds it to the sums or begins them, and carries its
 * checksum on. @plain says that every column has a source and is copied: the usual
 * case, kept free of tests.
 */
static __always_inline void take(unsigned int i, bool first, size_t off,
				 size_t n, bool plain, const void *const *src,
				 void *const *dst, vec *p, vec *q,
				 uint32_t *crc)
{
	const void *from = src[i];
	void *to = plain || dst ? dst[i] : NULL;
	const bool copied = plain || (to && to != from);
	const char *from_at = plain || from ? pav_at(from, off) : NULL;
	char *to_at = copied ? pav_at(to, off) : NULL;

	EACH(n,
		vec d = { 0 };

		if (plain || from)
			d = load_once(from_at + v * sizeof(vec));
		if (copied)
			store(to_at + v * sizeof(vec), d);
		p[v] = first ? d : p[v] ^ d;
		q[v] = first ? q_first(d) : q_next(q[v], d));
	if (copied)
		from_at = to_at;
	if (plain || from_at)
		crc[i] = crc_block(crc[i], from_at, n * sizeof(vec));
	else
		crc[i] = pav_crc32c_zeroes(crc[i], n * sizeof(vec));
}

static __always_inline void fused_block(unsigned int k, size_t off, size_t n,
					bool plain, const void *const *src,
					void *const *dst, char *p, char *q,
					uint32_t *crc)
{
	vec PAV_UNINITIALIZED sp[WIDE], sq[WIDE];

	take(k - 1, true, off, n, plain, src, dst, sp, sq, crc);
	for (unsigned int i = k - 1; i-- > 0;)
		take(i, false, off, n, plain, src, dst, sp, sq, crc);
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
