/* SPDX-License-Identifier: GPL-2.0 */
/* Running checksums for template_encode.h, by the crc32 instruction. */
#ifndef PAV_RAID6_CRC_WORDS_H
#define PAV_RAID6_CRC_WORDS_H

typedef uint64_t crc_state;

static __always_inline crc_state crc_begin(uint32_t crc)
{
	return (uint32_t)~crc;
}

static __always_inline crc_state crc_next(crc_state s, const char *at, vec d)
{
	(void)d;
	_Pragma("GCC unroll 8") for (size_t i = 0; i < sizeof(vec); i += 8)
		s = pav_crc32c_word(s, at + i);
	return s;
}

static __always_inline uint32_t crc_end(crc_state s)
{
	return ~(uint32_t)s;
}

#endif
