/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Encode, plain and fused with copy and checksum, tile by tile; goes with template.h.
 * Besides what that names, it wants
 *
 *	add_now()		an addition that is not put off
 *	store_past()		a store past the caches, to an aligned address
 *	crc_state		the state of one running checksum
 *	crc_begin(crc)		takes up a checksum where it stood
 *	crc_next(s, at, d)	carries it on over the vector d, which is also at @at
 *	crc_end(s)		and puts it down
 *
 * In a tile a checksum stays in registers; those of several columns run side by side,
 * which hides the latency of their steps. Data that is copied is loaded once, and what
 * was loaded is stored, summed up and encoded: the source may be changing.
 */

/* Bytes of each column that are worked on at a time: P, Q and a few runs fit in L1. */
#define TILE PAV_RAID6_ZEROES
/* Columns at a time */
#define GROUP 4
/* Vectors of a column at a time */
#define STEP (2 * NARROW)

/* As EACH, for j = 0..n-1 up to GROUP */
#define COLUMNS(n, ...)                      \
	do {                                 \
		PICK(j, 0, n, __VA_ARGS__)   \
		PICK(j, 1, n, __VA_ARGS__)   \
		PICK(j, 2, n, __VA_ARGS__)   \
		PICK(j, 3, n, __VA_ARGS__)   \
	} while (0)

struct walk {
	const void *const *src;
	void *const *dst;
	char *p;
	char *q;
	uint32_t *crc;
};

/* What is done to the columns of a group; compile-time constants all. */
struct mode {
	bool first; /* begin P and Q, else go on */
	bool copy; /* to dst[] */
	bool sum; /* checksums into crc[] */
};

struct columns {
	const char *from[GROUP];
	char *to[GROUP];
	char *p;
	char *q;
	crc_state state[GROUP];
};

/* n vectors of column @i of the group; @begin: P and Q begin here. */
static __always_inline void add(struct columns *c, unsigned int i, bool begin,
				struct mode m, size_t at, size_t n, vec *p,
				vec *q)
{
	const char *from = pav_at(c->from[i], at);
	char *to = m.copy ? pav_at(c->to[i], at) : NULL;
	const char *summed = m.copy ? to : from;

	EACH(n, const size_t here = v * sizeof(vec);
	     const vec d = m.copy ? load_once(from + here) : load(from + here);

	     if (m.copy)
		     store(to + here, d);
	     p[v] = begin ? d : add_now(p[v], d);
	     q[v] = begin ? q_first(d) : q_next(q[v], d);
	     if (m.sum)
		     c->state[i] = crc_next(c->state[i], summed + here, d));
}

/* n vectors of each column */
static __always_inline void step(struct columns *c, unsigned int cols,
				 struct mode m, bool last, size_t at, size_t n)
{
	vec PAV_UNINITIALIZED p[WIDEST], q[WIDEST];
	char *p_at = pav_at(c->p, at), *q_at = pav_at(c->q, at);

	if (!m.first)
		EACH(n, p[v] = load(p_at + v * sizeof(vec));
		     q[v] = load(q_at + v * sizeof(vec)));
	COLUMNS(cols, add(c, cols - 1 - j, m.first && j == 0, m, at, n, p, q));
	EACH(n, store(p_at + v * sizeof(vec), p[v]);
	     store(q_at + v * sizeof(vec), q_last(q[v], last)));
}

/* Columns i..i+cols-1, @len bytes from @off on. */
static __always_inline void group(const struct walk *w, unsigned int i,
				  unsigned int cols, struct mode m, size_t off,
				  size_t len)
{
	const bool last = i == 0;
	struct columns PAV_UNINITIALIZED c;
	size_t at = 0;

	COLUMNS(cols, const char *src = w->src[i + j];

		c.from[j] = src ? src + off : pav_raid6_zeroes;
		if (m.copy) c.to[j] = (char *)w->dst[i + j] + off;
		if (m.sum) c.state[j] = crc_begin(w->crc[i + j]));
	c.p = w->p + off;
	c.q = w->q + off;

	for (; len - at >= STEP * sizeof(vec); at += STEP * sizeof(vec))
		step(&c, cols, m, last, at, STEP);
	if (at < len)
		step(&c, cols, m, last, at, NARROW);

	if (m.sum)
		COLUMNS(cols, w->crc[i + j] = crc_end(c.state[j]));
}

/* All columns of a tile, GROUP at a time. m.first is set here. */
static __always_inline void tile(const struct walk *w, unsigned int k,
				 struct mode m, size_t off, size_t len)
{
	unsigned int i = k - 1 - (k - 1) % GROUP;

	m.first = true;
	switch (k - i) {
	case 1:
		group(w, i, 1, m, off, len);
		break;
	case 2:
		group(w, i, 2, m, off, len);
		break;
	case 3:
		group(w, i, 3, m, off, len);
		break;
	default:
		group(w, i, 4, m, off, len);
	}
	m.first = false;
	while (i) {
		i -= GROUP;
		group(w, i, GROUP, m, off, len);
	}
}

static __always_inline size_t tile_len(size_t bytes, size_t off)
{
	return bytes - off < TILE ? bytes - off : TILE;
}

/* For data from beyond the second-level cache, and aligned P and Q. */
static void encode_far(unsigned int k, size_t bytes, const void *const *data,
		       char *p, char *q)
{
	vec PAV_UNINITIALIZED sp[WIDEST], sq[WIDEST];
	size_t off = 0;

	for (; bytes - off >= FAR_STEP * sizeof(vec); off += FAR_STEP * sizeof(vec)) {
		syndrome(k, off, FAR_STEP, true, false, data, sp, sq);
		EACH(FAR_STEP, store_past(p + off + v * sizeof(vec), sp[v]);
		     store_past(q + off + v * sizeof(vec), sq[v]));
	}
	for (; off < bytes; off += PAV_RAID6_GRAIN) {
		syndrome(k, off, NARROW, false, false, data, sp, sq);
		EACH(NARROW, store_past(p + off + v * sizeof(vec), sp[v]);
		     store_past(q + off + v * sizeof(vec), sq[v]));
	}
	asm volatile("sfence" : : : "memory");
}

static void encode(unsigned int k, size_t bytes, const void *const *data,
		   void *p, void *q)
{
	const struct walk w = { .src = data, .p = p, .q = q };

	const uintptr_t misaligned = ((uintptr_t)p | (uintptr_t)q) &
				     (sizeof(vec) - 1);

	if (bytes > FAR / k && !misaligned) {
		encode_far(k, bytes, data, p, q);
		return;
	}
	for (size_t off = 0; off < bytes; off += TILE)
		tile(&w, k, (struct mode){ 0 }, off, tile_len(bytes, off));
}

static bool is_copied(const struct walk *w, unsigned int i)
{
	return w->dst && w->dst[i] && w->dst[i] != w->src[i];
}

/* As tile(), one column at a time: some are copied, some not. */
static void mixed_tile(const struct walk *w, unsigned int k, size_t off,
		       size_t len)
{
	const bool copy = is_copied(w, k - 1);

	if (copy)
		group(w, k - 1, 1,
		      (struct mode){ .first = true, .copy = true, .sum = true },
		      off, len);
	else
		group(w, k - 1, 1, (struct mode){ .first = true, .sum = true },
		      off, len);
	for (unsigned int i = k - 1; i-- > 0;) {
		if (is_copied(w, i))
			group(w, i, 1,
			      (struct mode){ .copy = true, .sum = true }, off,
			      len);
		else
			group(w, i, 1, (struct mode){ .sum = true }, off, len);
	}
}

/* Checksums of P and Q, when a tile of them is done. */
static __always_inline void sum_parity(const struct walk *w, unsigned int k,
				       size_t off, size_t len)
{
	const char *p = w->p + off, *q = w->q + off;
	crc_state sp = crc_begin(w->crc[k]), sq = crc_begin(w->crc[k + 1]);

	for (size_t at = 0; at < len; at += PAV_RAID6_GRAIN) {
		EACH(NARROW, size_t here = at + v * sizeof(vec);
		     sp = crc_next(sp, p + here, load(p + here));
		     sq = crc_next(sq, q + here, load(q + here)));
	}
	w->crc[k] = crc_end(sp);
	w->crc[k + 1] = crc_end(sq);
}

static void encode_fused(unsigned int k, size_t bytes, const void *const *src,
			 void *const *dst, void *p, void *q, uint32_t *crc)
{
	const struct walk w = {
		.src = src, .dst = dst, .p = p, .q = q, .crc = crc
	};
	unsigned int copies = 0;

	memset(crc, 0, (k + 2) * sizeof(*crc));
	for (unsigned int i = 0; i < k; i++)
		copies += is_copied(&w, i);
	for (size_t off = 0; off < bytes; off += TILE) {
		size_t len = tile_len(bytes, off);

		if (copies == k)
			tile(&w, k, (struct mode){ .copy = true, .sum = true },
			     off, len);
		else if (copies == 0)
			tile(&w, k, (struct mode){ .sum = true }, off, len);
		else
			mixed_tile(&w, k, off, len);
		sum_parity(&w, k, off, len);
	}
}
