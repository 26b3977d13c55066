// SPDX-License-Identifier: GPL-2.0
/* AVX2 and GFNI: 32 bytes at a time, a multiplication an instruction. */
#include "impl.h"
#include "cpu.h"

#define VEC_BYTES 32
#define WIDE 4
#include "vec.h"
#include "by_gfni.h"
#include "crc_fold.h"
#include "template.h"
#include "template_encode.h"

static bool usable(void)
{
	return PAV_CPU_HAS(GFNI, "gfni") &&
	       PAV_CPU_HAS(VPCLMULQDQ, "vpclmulqdq") && PAV_CPU_HAS(AVX2, "avx2") &&
	       PAV_CPU_HAS(XMM4_2, "sse4.2") && PAV_CPU_SAVES_AVX();
}

const struct pav_raid6_impl pav_raid6_avx2gfni =
	PAV_RAID6_IMPL("avx2gfni");
