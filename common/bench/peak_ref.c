/* Plain C, for machines without vectors or DS_KERNELS=ref. */
#include <math.h>
#include <string.h>

#include "bench/limit.h"

static uint64_t
read_all(const void *p, size_t n, size_t distance)
{
	const unsigned char *s = p;
	uint64_t a[4] = {0}, v[4];

	for (size_t i = 0; i < n; i += sizeof(v)) {
		if (distance)
			__builtin_prefetch(s + i + distance);
		memcpy(v, s + i, sizeof(v));
		for (int j = 0; j < 4; j++)
			a[j] ^= v[j];
	}
	return a[0] ^ a[1] ^ a[2] ^ a[3];
}

static double
multiply_adds(long rounds)
{
	volatile float start = 1, factor = 0.5f;
	float a[PEAK_CHAINS], f = factor;

	for (int j = 0; j < PEAK_CHAINS; j++)
		a[j] = start;
	for (long i = 0; i < rounds; i++)
		for (int j = 0; j < PEAK_CHAINS; j++)
			a[j] = fmaf(a[j], f, f);
	for (int j = 0; j < PEAK_CHAINS; j++)
		start = a[j];
	return 2.0 * PEAK_CHAINS * (double)rounds;
}

static double
integers(long rounds)
{
	volatile int8_t start = 3, factor = -5;
	int32_t sums[PEAK_CHAINS] = {0};
	int8_t a = start, b = factor;

	for (long i = 0; i < rounds; i++)
		for (int j = 0; j < PEAK_CHAINS; j++) {
			sums[j] += a * b;
			__asm__ volatile("" : "+r"(sums[j]));   /* keep each product */
		}
	for (int j = 0; j < PEAK_CHAINS; j++)
		start = (int8_t)sums[j];
	return 2.0 * PEAK_CHAINS * (double)rounds;
}

peak_loop *
peak_i8_ref(void)
{
	return integers;
}

const struct peak peak_ref = {read_all, multiply_adds};
