/*
 * The body of peak_i8_neon.c, peak_i8_dot.c and peak_i8_i8mm.c: STEP(v, x) adds PRODUCTS of 8-bit
 * integers of x to v.
 */
#include <arm_neon.h>

#include "bench/limit.h"

#define CHAINS(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) \
	X(k) X(l) X(m) X(o) X(p) X(q) X(r) X(s) X(t) X(u)
#define BEGIN(v) int32x4_t v = vdupq_n_s32(0);
#define ADVANCE(v) v = STEP(v, one); __asm__ volatile("" : "+w"(v), "+w"(one));

static double
multiply_adds(long rounds)
{
	int8x16_t one = vdupq_n_s8(1);

	CHAINS(BEGIN)
	for (long n = 0; n < rounds; n++) {
		CHAINS(ADVANCE)
	}
	return 2.0 * PEAK_CHAINS * PRODUCTS * (double)rounds;
}
