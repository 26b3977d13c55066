// SPDX-License-Identifier: GPL-2.0
/* AVX-512: 64 bytes at a time, by byte shuffles. */
#include "impl.h"
#include "cpu.h"

#define VEC_BYTES 64
#define WIDE 4
#include "vec.h"
#include "by_shuffle.h"
#include "crc_words.h"
#include "template.h"
#include "template_encode.h"

static bool usable(void)
{
	return PAV_CPU_HAS(AVX512F, "avx512f") &&
	       PAV_CPU_HAS(AVX512BW, "avx512bw") &&
	       PAV_CPU_HAS(XMM4_2, "sse4.2") && PAV_CPU_SAVES_AVX512();
}

const struct pav_raid6_impl pav_raid6_avx512 = PAV_RAID6_IMPL("avx512");
