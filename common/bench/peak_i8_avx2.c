/*
 * Products of 8-bit integers in 256 bits: VPMADDUBSW, VPMADDWD and VPADDD, or VPDPBUSD of AVX-VNNI.
 * In assembly, because the flags of the file allow no AVX-VNNI.
 */
#include <cpuid.h>

#include "bench/limit.h"

#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define ZERO(n) "vpxor %%ymm" #n ", %%ymm" #n ", %%ymm" #n "\n\t"
#define MADD(n) "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n\tvpmaddwd %%ymm14, %%ymm15, %%ymm15\n\t" \
	"vpaddd %%ymm15, %%ymm" #n ", %%ymm" #n "\n\t"
#define DOT(n) "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" #n "\n\t"
#define CLOBBERED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
	"xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define LOOP(STEP) \
	for (long i = 0; i < rounds; i++) \
		__asm__ volatile(EACH(STEP) : : : CLOBBERED)
#define BEGIN() \
	__asm__ volatile(EACH(ZERO) "vpcmpeqd %%ymm14, %%ymm14, %%ymm14\n\t" \
	    "vpabsb %%ymm14, %%ymm12\n\tvpabsb %%ymm14, %%ymm13\n\t" \
	    "vpabsw %%ymm14, %%ymm14" : : : CLOBBERED)

static double
madd(long rounds)
{
	BEGIN();
	LOOP(MADD);
	return 2.0 * PEAK_CHAINS * 32 * (double)rounds;
}

static double
dot(long rounds)
{
	BEGIN();
	LOOP(DOT);
	return 2.0 * PEAK_CHAINS * 32 * (double)rounds;
}

peak_loop *
peak_i8_avx2(void)
{
	enum { AVX_VNNI = 1 << 4 };     /* in EAX of leaf 7.1 */
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX_VNNI) ? dot : madd;
}
