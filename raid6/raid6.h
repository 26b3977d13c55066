/* SPDX-License-Identifier: GPL-2.0 */
/*
 * P+Q parity of a row of cells, its repair, and the checksum of the cells.
 *
 * P = d_0 + d_1 + ... and Q = d_0 + g d_1 + g^2 d_2 + ... over GF(2^8), with the
 * polynomial x^8+x^4+x^3+x^2+1 (0x11d) and g = 2: the same bytes as Linux md and
 * ISA-L. Any two cells of a row can be rebuilt from the others.
 *
 * The same sources build in the kernel and in user space. Nothing here allocates,
 * sleeps, locks or keeps state; all functions but the self-test may run concurrently.
 *
 * Vector registers: encode, encode_fused, recover and selftest use them (except with
 * the implementation "scalar"). In the kernel the caller brackets such calls, as
 * many as it likes, by pav_raid6_begin() and pav_raid6_end(); between the two it
 * must not sleep, and it must not be in a hard interrupt. pav_crc32c() uses general
 * registers only and may run anywhere.
 */
#ifndef PAV_RAID6_H
#define PAV_RAID6_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <asm/fpu/api.h>
#define pav_raid6_begin() kernel_fpu_begin()
#define pav_raid6_end() kernel_fpu_end()
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define pav_raid6_begin() ((void)0)
#define pav_raid6_end() ((void)0)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Data cells in a row of full width. A narrow stripe may have a single data cell, so
 * the functions below take k from 1 to PAV_RAID6_MAX_DATA.
 */
#define PAV_RAID6_MIN_DATA 2
#define PAV_RAID6_MAX_DATA 30

/* Lengths are multiples of this many bytes. Addresses need no alignment. */
#define PAV_RAID6_GRAIN 64

struct pav_raid6_repair;

/*
 * One way of doing the arithmetic. The operations are for raid6.c, which checks the
 * arguments; everybody else calls the pav_raid6_ functions.
 */
struct pav_raid6_impl {
	const char *name;
	/* Do this processor and this kernel have what it takes? */
	bool (*usable)(void);
	void (*encode)(unsigned int k, size_t bytes, const void *const *data,
		       void *p, void *q);
	void (*encode_fused)(unsigned int k, size_t bytes,
			     const void *const *src, void *const *dst, void *p,
			     void *q, uint32_t *crc);
	/* out = sum of n blocks, n >= 1; out is none of them */
	void (*sum)(unsigned int n, size_t bytes, const void *const *data,
		    void *out);
	void (*repair)(unsigned int k, size_t bytes,
		       const struct pav_raid6_repair *r);
};

/* All implementations, slowest first, NULL at the end. Not all may be usable. */
extern const struct pav_raid6_impl *const pav_raid6_impls[];

/*
 * The implementation of that name, or the fastest usable one if name is NULL.
 * NULL if there is no such implementation or this machine cannot run it.
 */
const struct pav_raid6_impl *pav_raid6_select(const char *name);

/*
 * Writes P and Q of k data blocks of @bytes each. data[i] == NULL is a block of
 * zeroes. p and q overlap nothing else. Returns 0, or -EINVAL (nothing written) if k
 * is not in 1..PAV_RAID6_MAX_DATA, or @bytes is 0 or no multiple of PAV_RAID6_GRAIN.
 */
int pav_raid6_encode(const struct pav_raid6_impl *impl, unsigned int k,
		     size_t bytes, const void *const *data, void *p, void *q);

/*
 * Copies, encodes and checksums in one pass over the data. For each i < k, src[i] is
 * copied to dst[i], unless dst is NULL, dst[i] is NULL or dst[i] == src[i]. crc[0..k-1]
 * become the CRC32C of the data blocks, crc[k] that of P, crc[k+1] that of Q.
 * src[i] == NULL is a block of zeroes, with which dst[i], if given, is filled.
 *
 * If src[i] changes meanwhile, the copy, its checksum and the parity still agree with
 * one another. (Without a copy they cannot.)
 *
 * No destination overlaps anything, except dst[i] == src[i]. Returns as
 * pav_raid6_encode().
 */
int pav_raid6_encode_fused(const struct pav_raid6_impl *impl, unsigned int k,
			   size_t bytes, const void *const *src,
			   void *const *dst, void *p, void *q, uint32_t *crc);

/*
 * Rebuilds cells a and b of a row in place, or cell a alone if b is -1; a < b.
 * cells[0..k-1] are data, cells[k] is P, cells[k+1] is Q; each of @bytes. Only the
 * cells that are rebuilt are written. A surviving data cell may be NULL: zeroes.
 * A surviving P or Q that is not needed (the other one of a single loss) may be
 * NULL too.
 *
 * Returns 0, or -EINVAL (nothing written) for a wrong k or @bytes as above, or a
 * wrong pair.
 */
int pav_raid6_recover(const struct pav_raid6_impl *impl, unsigned int k,
		      size_t bytes, void *const *cells, int a, int b);

/*
 * Encodes a small row and repairs every loss in it, against values computed bit by
 * bit. Has buffers of its own: one caller at a time. Returns 0, or -EIO if the implementation does not do what it should. Takes
 * well under a millisecond; meant for module load.
 */
int pav_raid6_selftest(const struct pav_raid6_impl *impl);

/*
 * CRC32C (Castagnoli) as iSCSI, NVMe and ext4 have it: pav_crc32c(0, "123456789", 9)
 * is 0xe3069283. The inversions are inside, and calls chain:
 * pav_crc32c(pav_crc32c(0, a), b) is the checksum of a followed by b.
 */
uint32_t pav_crc32c(uint32_t seed, const void *buf, size_t len);

#ifdef __cplusplus
}
#endif

#endif
