/* VPDPBUSD of AVX-512 VNNI: each adds 64 products to 16 sums.  In assembly, because the flags of
 * the file allow no VNNI. */
#include "bench/limit.h"

#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define ZERO(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define DOT(n) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #n "\n\t"
#define CLOBBERED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
	"xmm10", "xmm11", "xmm12", "xmm13"

static double
dot(long rounds)
{
	__asm__ volatile(EACH(ZERO) ZERO(12) ZERO(13) : : : CLOBBERED);
	for (long i = 0; i < rounds; i++)
		__asm__ volatile(EACH(DOT) : : : CLOBBERED);
	return 2.0 * PEAK_CHAINS * 64 * (double)rounds;
}

peak_loop *
peak_i8_avx512(void)
{
	return __builtin_cpu_supports("avx512vnni") ? dot : peak_i8_avx2();
}
