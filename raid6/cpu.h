/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the processor can do, and the system lets us use. PAV_CPU_HAS(AVX2, "avx2")
 * takes the kernel's name of the feature and the compiler's.
 */
#ifndef PAV_RAID6_CPU_H
#define PAV_RAID6_CPU_H

#ifdef __KERNEL__
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/fpu/types.h>
#define PAV_CPU_HAS(kernel_name, compiler_name) \
	boot_cpu_has(X86_FEATURE_##kernel_name)
/* Does a context switch save the registers we are about to use? */
#define PAV_CPU_SAVES_AVX() \
	cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL)
#define PAV_CPU_SAVES_AVX512()                                  \
	cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM | \
			  XFEATURE_MASK_AVX512, NULL)
#else
/* The compiler's library asks XGETBV as well. */
#define PAV_CPU_HAS(kernel_name, compiler_name) \
	(!!__builtin_cpu_supports(compiler_name))
#define PAV_CPU_SAVES_AVX() true
#define PAV_CPU_SAVES_AVX512() true
#endif

#endif
