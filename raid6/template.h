/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The operations on a row, once for all instruction sets. The file that includes this
 * one has defined
 *
 *	vec			a vector type, sizeof(vec) <= PAV_RAID6_GRAIN
 *	WIDE			vectors that repair works on side by side, up to WIDEST
 *	load(), store()		at any address
 *	load_once()		a load that is not repeated
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
 * because it then writes P and Q past the caches; see COLUMNS_BELOW for how that many
 * columns can still be read in time.
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
/* Vectors of a column at a time then: two lines of the cache, if there are registers for them */
#define FAR_STEP (128 / sizeof(vec) < WIDEST ? 128 / sizeof(vec) : WIDEST)

/*
 * COLUMNS_BELOW(k, statement) does the statement for column = k-1..0, k <= 30, each time
 * in code of its own. Processors foresee what a load will want next by the address of
 * the instruction: one that went round all columns would look erratic to them. With one
 * for each column no prefetching by us comes near to what they do.
 */
#define CASE(i, ...)                          \
	case i + 1: {                         \
		enum { column = i };          \
		__VA_ARGS__;                  \
	}                                     \
		__attribute__((__fallthrough__))
#define CASES_5(i, ...)                       \
	CASE(i + 4, __VA_ARGS__);             \
	CASE(i + 3, __VA_ARGS__);             \
	CASE(i + 2, __VA_ARGS__);             \
	CASE(i + 1, __VA_ARGS__);             \
	CASE(i, __VA_ARGS__)
#define COLUMNS_BELOW(k, ...)                 \
	do {                                  \
		switch (k) {                  \
			CASES_5(25, __VA_ARGS__); \
			CASES_5(20, __VA_ARGS__); \
			CASES_5(15, __VA_ARGS__); \
			CASES_5(10, __VA_ARGS__); \
			CASES_5(5, __VA_ARGS__); \
			CASES_5(0, __VA_ARGS__); \
		case 0:;                      \
		}                             \
	} while (0)

static __always_inline void xor_column(const void *data, size_t off, size_t n,
				       vec *s)
{
	const char *col = pav_at(data, off);

	EACH(n, s[v] ^= load(col + v * sizeof(vec)));
}

/* Adds the column at @data to both sums; if @sparse it may be NULL, for zeroes. */
static __always_inline void add_column(const void *data, size_t off, size_t n,
				       bool sparse, vec *p, vec *q)
{
	const char *col;

	if (sparse && !data) {
		EACH(n, q[v] = q_next(q[v], (vec){ 0 }));
		return;
	}
	col = pav_at(data, off);
	EACH(n,
		const vec d = load_once(col + v * sizeof(vec));

		p[v] ^= d;
		q[v] = q_next(q[v], d));
}

/* Adds up columns k-1..0 at @off into p and q. @far: the data are not in the second-level cache. */
static __always_inline void syndrome(unsigned int k, size_t off, size_t n,
				     bool far, bool sparse, const void *const *data,
				     vec *p, vec *q)
{
	EACH(n, p[v] = (vec){ 0 };
	     q[v] = q_first(p[v]));
	if (far)
		COLUMNS_BELOW(k, add_column(data[column], off, n, sparse, p, q));
	else
		for (unsigned int i = k; i-- > 0;)
			add_column(data[i], off, n, sparse, p, q);
	EACH(n, q[v] = q_last(q[v], true));
}

static __always_inline void sum_block(unsigned int n_cols, size_t off, size_t n,
				      bool far, const void *const *data, char *out)
{
	vec PAV_UNINITIALIZED s[WIDEST];

	EACH(n, s[v] = (vec){ 0 });
	if (far)
		COLUMNS_BELOW(n_cols, xor_column(data[column], off, n, s));
	else
		for (unsigned int i = n_cols; i-- > 0;)
			xor_column(data[i], off, n, s);
	EACH(n, store(out + off + v * sizeof(vec), s[v]));
}

static void sum(unsigned int n, size_t bytes, const void *const *data,
		void *out)
{
	size_t off = 0;

	if (bytes > FAR / n) {
		for (; bytes - off >= FAR_STEP * sizeof(vec);
		     off += FAR_STEP * sizeof(vec))
			sum_block(n, off, FAR_STEP, true, data, out);
	} else {
		for (; bytes - off >= WIDE * sizeof(vec);
		     off += WIDE * sizeof(vec))
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

	syndrome(k, off, n, far, true, r->data, p, q);
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

	if (bytes > FAR / k) {
		for (; bytes - off >= FAR_STEP * sizeof(vec);
		     off += FAR_STEP * sizeof(vec))
			repair_block(k, off, FAR_STEP, true, r);
	} else {
		for (; bytes - off >= WIDE * sizeof(vec);
		     off += WIDE * sizeof(vec))
			repair_block(k, off, WIDE, false, r);
	}
	for (; off < bytes; off += PAV_RAID6_GRAIN)
		repair_block(k, off, NARROW, false, r);
}
