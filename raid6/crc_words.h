/* SPDX-License-Identifier: GPL-2.0 */
/* crc_block() for template_fused.h by the crc32 instruction. */
#ifndef PAV_RAID6_CRC_WORDS_H
#define PAV_RAID6_CRC_WORDS_H

static __always_inline uint32_t crc_block(uint32_t crc, const char *at,
					  size_t len)
{
	uint64_t c = crc;

	_Pragma("GCC unroll 64") for (size_t i = 0; i < len; i += 8)
		c = pav_crc32c_word(c, at + i);
	return (uint32_t)c;
}

#endif
