/* Tiles: each TDPBF16PS computes 16 by 16 sums of 32 products, each TDPBSSD of 64. */
#include <cpuid.h>

#include "bench/limit.h"

#define SUMS 6                          /* of the eight tiles; the other two are the factors */

/* Configure all tiles as 16 rows of 64 bytes, all zeros. */
static void
begin(void)
{
	struct {
		unsigned char palette, start, zero[14];
		uint16_t bytes[16];
		unsigned char rows[16];
	} c __attribute__((aligned(64))) = {.palette = 1};

	for (int i = 0; i < SUMS + 2; i++) {
		c.bytes[i] = 64;
		c.rows[i] = 16;
	}
	__asm__ volatile("ldtilecfg %0\n\t"
	    "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
	    "tilezero %%tmm4\n\ttilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7" : : "m"(c));
}

#define ROUND(TDP) \
	__asm__ volatile(TDP " %%tmm7, %%tmm6, %%tmm0\n\t" TDP " %%tmm7, %%tmm6, %%tmm1\n\t" \
	    TDP " %%tmm7, %%tmm6, %%tmm2\n\t" TDP " %%tmm7, %%tmm6, %%tmm3\n\t" \
	    TDP " %%tmm7, %%tmm6, %%tmm4\n\t" TDP " %%tmm7, %%tmm6, %%tmm5" : :)

double
peak_amx(long rounds)
{
	begin();
	for (long i = 0; i < rounds; i++)
		ROUND("tdpbf16ps");
	__asm__ volatile("tilerelease");
	return 2.0 * SUMS * 16 * 16 * 32 * (double)rounds;
}

static double
integers(long rounds)
{
	begin();
	for (long i = 0; i < rounds; i++)
		ROUND("tdpbssd");
	__asm__ volatile("tilerelease");
	return 2.0 * SUMS * 16 * 16 * 64 * (double)rounds;
}

peak_loop *
peak_i8_amx(void)
{
	enum { AMX_INT8 = 1 << 25 };    /* in EDX of leaf 7 */
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_INT8) ? integers :
	    peak_i8_avx512();
}
