/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The operations on a row, once for all instruction sets. The file that includes this
 * one has defined
 *
 *	vec			a vector type, sizeof(vec) <= PAV_RAID6_GRAIN
 *	WIDE			vectors that repair works on side by side, up to WIDEST
 *	load(), store()		at any address
 *	q_first(d)		begins a Horner evaluation with the highest coefficient
 *	q_next(q, d)		q times g plus d
 *	q_last(q, last)		the value, in plain form, if last; else q as it is
 *	times(x, f)		x times the constant f
 *
 * Columns run from the highest down (Horner), so that Q costs one multiplication by g a
 * column. There are two ways to walk over a row:
 *
 * Encode and the fused pass (template_encode.h) take a few columns at a time, for a
 * tile of some KiB each, while P and Q of the tile build up in the first-level cache.
 * To the processor this looks like reading a few long runs, which it prefetches well.
 *
 * Repair and sum, here, take a few vectors of all columns at a time and keep their sums
 * in registers. So does encode when the data come from beyond the second-level cache,
 * because it then writes P and Q past the caches.
 */

/* Arrays are this long, so that the compiler sees no index out of bounds. */
#define WIDEST 8

#define NARROW (PAV_RAID6_GRAIN / sizeof(vec))

/*
 * EACH(n, statements) does the statements for v = 0..n-1, n a constant. Written out
 * rather than a loop, so that arrays become registers whatever the compiler's mood.
 */
#define PICK(v, i, n, ...)                   \
	if ((i) < (n)) {                     \
		enum { v = i };              \
		__VA_ARGS__;                 \
	}
#define EACH(n, ...)                         \
	do {                                 \
		PICK(v, 0, n, __VA_ARGS__)   \
		PICK(v, 1, n, __VA_ARGS__)   \
		PICK(v, 2, n, __VA_ARGS__)   \
		PICK(v, 3, n, __VA_ARGS__)   \
		PICK(v, 4, n, __VA_ARGS__)   \
		PICK(v, 5, n, __VA_ARGS__)   \
		PICK(v, 6, n, __VA_ARGS__)   \
		PICK(v, 7, n, __VA_ARGS__)   \
	} while (0)

/* Bytes of data from which on they will not be in the second-level cache */
#define FAR (1 << 20)
/* How far ahead in a column to prefetch then */
#define AHEAD 1024

static __always_inline void fetch_ahead(const char *at)
{
	__builtin_prefetch(at + AHEAD, 0, 3);
}

/*
 * Adds up columns k-1..0 at @off into p and q; column k-1 begins the sums. @far: the
 * data are not in the second-level cache.
 */
static __always_inline void syndrome(unsigned int k, size_t off, size_t n,
				     bool far, const void *const *data, vec *p,
				     vec *q)
{
	const char *col;

	if (data[k - 1]) {
		col = pav_at(data[k - 1], off);
		if (far)
			EACH(n * sizeof(vec) / 64, fetch_ahead(col + v * 64));
		EACH(n, p[v] = load(col + v * sizeof(vec)));
	} else {
		EACH(n, p[v] = (vec){ 0 });
	}
	EACH(n, q[v] = q_first(p[v]));
	for (unsigned int i = k - 1; i-- > 0;) {
		if (!data[i]) {
			EACH(n, q[v] = q_next(q[v], (vec){ 0 }));
			continue;
		}
		col = pav_at(data[i], off);
		if (far)
			EACH(n * sizeof(vec) / 64, fetch_ahead(col + v * 64));
		EACH(n,
			vec d = load(col + v * sizeof(vec));

			p[v] ^= d;
			q[v] = q_next(q[v], d));
	}
	EACH(n, q[v] = q_last(q[v], true));
}

static __always_inline void sum_block(unsigned int n_cols, size_t off, size_t n,
				      bool far, const void *const *data, char *out)
{
	vec PAV_UNINITIALIZED s[WIDEST];

	EACH(n, s[v] = load((const char *)data[0] + off + v * sizeof(vec)));
	for (unsigned int i = 1; i < n_cols; i++) {
		const char *col = pav_at(data[i], off);

		if (far)
			EACH(n * sizeof(vec) / 64, fetch_ahead(col + v * 64));
		EACH(n, s[v] ^= load(col + v * sizeof(vec)));
	}
	EACH(n, store(out + off + v * sizeof(vec), s[v]));
}

static void sum(unsigned int n, size_t bytes, const void *const *data,
		void *out)
{
	const bool far = bytes > FAR / n;
	size_t off = 0;

	for (; bytes - off >= WIDE * sizeof(vec); off += WIDE * sizeof(vec)) {
		if (far)
			sum_block(n, off, WIDE, true, data, out);
		else
			sum_block(n, off, WIDE, false, data, out);
	}
	for (; off < bytes; off += PAV_RAID6_GRAIN)
		sum_block(n, off, NARROW, false, data, out);
}

static __always_inline void repair_block(unsigned int k, size_t off, size_t n,
					 bool far, const struct pav_raid6_repair *r)
{
	const char *p_in = r->p_in, *q_in = r->q_in;
	char *one = r->one, *two = r->two;
	vec PAV_UNINITIALIZED p[WIDEST], q[WIDEST];

	syndrome(k, off, n, far, r->data, p, q);
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
	const bool far = bytes > FAR / k;
	size_t off = 0;

	for (; bytes - off >= WIDE * sizeof(vec); off += WIDE * sizeof(vec)) {
		if (far)
			repair_block(k, off, WIDE, true, r);
		else
			repair_block(k, off, WIDE, false, r);
	}
	for (; off < bytes; off += PAV_RAID6_GRAIN)
		repair_block(k, off, NARROW, false, r);
}
