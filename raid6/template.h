/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The walk over a row, once for all instruction sets. The file that includes this
 * one has defined
 *
 *	vec			a vector type, sizeof(vec) <= PAV_RAID6_GRAIN
 *	WIDE			vectors that are worked on side by side
 *	load(), store()		at any address
 *	q_first(d)		begins a Horner evaluation with the highest coefficient
 *	q_next(q, d)		q times g plus d
 *	q_last(q)		the value, in plain form
 *	times(x, f)		x times the constant f
 *	crc_block(crc, at, n)	CRC32C of n bytes, n a constant multiple of 64
 *
 * and passes over memory in blocks of WIDE vectors across all columns, so that P and Q
 * stay in registers and each byte of data is read once. Columns run from the
 * highest down (Horner): Q costs one multiplication by g a column. What is left after
 * the last whole block is done in steps of PAV_RAID6_GRAIN.
 */

#define NARROW (PAV_RAID6_GRAIN / sizeof(vec))

/*
 * EACH(n, statements) does the statements for v = 0..n-1. Written out rather than a
 * loop, so that arrays of vectors become registers whatever the compiler's mood.
 */
#define PICK(i, n, ...)                                 \
	if ((i) < (n)) {                                \
		enum { v = (i) < WIDE ? (i) : 0 };      \
		__VA_ARGS__;                            \
	}
#define EACH(n, ...)                                                    \
	do {                                                            \
		PICK(0, n, __VA_ARGS__) PICK(1, n, __VA_ARGS__)         \
		PICK(2, n, __VA_ARGS__) PICK(3, n, __VA_ARGS__)         \
		PICK(4, n, __VA_ARGS__) PICK(5, n, __VA_ARGS__)         \
		PICK(6, n, __VA_ARGS__) PICK(7, n, __VA_ARGS__)         \
	} while (0)

/* Adds up columns k-1..0 at @off into p and q; column k-1 begins the sums. */
static __always_inline void syndrome(unsigned int k, size_t off, size_t n,
				     const void *const *data, vec *p, vec *q)
{
	const char *col;

	EACH(n,
		p[v] = (vec){ 0 };
		if (data[k - 1])
			p[v] = load((const char *)data[k - 1] + off + v * sizeof(vec));
		q[v] = q_first(p[v]));
	for (unsigned int i = k - 1; i-- > 0;) {
		if (!data[i]) {
			EACH(n, q[v] = q_next(q[v], (vec){ 0 }));
			continue;
		}
		col = pav_at(data[i], off);
		EACH(n,
			vec d = load(col + v * sizeof(vec));

			p[v] ^= d;
			q[v] = q_next(q[v], d));
	}
	EACH(n, q[v] = q_last(q[v]));
}

static __always_inline void encode_block(unsigned int k, size_t off, size_t n,
					 const void *const *data, char *p,
					 char *q)
{
	vec PAV_UNINITIALIZED sp[WIDE], sq[WIDE];

	syndrome(k, off, n, data, sp, sq);
	EACH(n,
		store(p + off + v * sizeof(vec), sp[v]);
		store(q + off + v * sizeof(vec), sq[v]));
}

static void encode(unsigned int k, size_t bytes, const void *const *data,
		   void *p, void *q)
{
	size_t off = 0;

	for (; bytes - off >= WIDE * sizeof(vec); off += WIDE * sizeof(vec))
		encode_block(k, off, WIDE, data, p, q);
	for (; off < bytes; off += PAV_RAID6_GRAIN)
		encode_block(k, off, NARROW, data, p, q);
}

static __always_inline void sum_block(unsigned int n_cols, size_t off, size_t n,
				      const void *const *data, char *out)
{
	vec PAV_UNINITIALIZED s[WIDE];

	EACH(n, s[v] = load((const char *)data[0] + off + v * sizeof(vec)));
	for (unsigned int i = 1; i < n_cols; i++) {
		const char *col = pav_at(data[i], off);

		EACH(n, s[v] ^= load(col + v * sizeof(vec)));
	}
	EACH(n, store(out + off + v * sizeof(vec), s[v]));
}

static void sum(unsigned int n, size_t bytes, const void *const *data,
		void *out)
{
	size_t off = 0;

	for (; bytes - off >= WIDE * sizeof(vec); off += WIDE * sizeof(vec))
		sum_block(n, off, WIDE, data, out);
	for (; off < bytes; off += PAV_RAID6_GRAIN)
		sum_block(n, off, NARROW, data, out);
}

static __always_inline void repair_block(unsigned int k, size_t off, size_t n,
					 const struct pav_raid6_repair *r)
{
	const char *p_in = r->p_in, *q_in = r->q_in;
	char *one = r->one, *two = r->two;
	vec PAV_UNINITIALIZED p[WIDE], q[WIDE];

	syndrome(k, off, n, r->data, p, q);
	if (p_in) {
		EACH(n, p[v] ^= load(p_in + off + v * sizeof(vec)));
	}
	if (q_in) {
		EACH(n, q[v] ^= load(q_in + off + v * sizeof(vec)));
	}
	EACH(n, q[v] = times(p[v], &r->a) ^ times(q[v], &r->b));
	if (r->two_adds_one) {
		EACH(n, p[v] ^= q[v]);
	}
	EACH(n, store(two + off + v * sizeof(vec), p[v]));
	EACH(n, store(one + off + v * sizeof(vec), q[v]));
}

static void repair(unsigned int k, size_t bytes,
		   const struct pav_raid6_repair *r)
{
	size_t off = 0;

	for (; bytes - off >= WIDE * sizeof(vec); off += WIDE * sizeof(vec))
		repair_block(k, off, WIDE, r);
	for (; off < bytes; off += PAV_RAID6_GRAIN)
		repair_block(k, off, NARROW, r);
}
