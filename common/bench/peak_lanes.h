/*
 * The body of peak_avx2.c and peak_avx512.c: WIDTH bytes of a vector.  GCC's vector types become the instructions of
 * the set that the file is compiled for.
 */
#include <string.h>

#include "bench/limit.h"

typedef uint64_t words __attribute__((vector_size(WIDTH)));
typedef float lanes __attribute__((vector_size(WIDTH)));

static uint64_t
read_all(const void *p, size_t n, size_t ahead)
{
	const unsigned char *s = p;
	words a = {0}, b = {0}, c = {0}, d = {0};
	uint64_t x = 0;

	for (size_t i = 0; i < n; i += 4 * WIDTH) {
		words v[4];

		for (size_t j = 0; ahead && j < 4 * WIDTH; j += 64)
			__builtin_prefetch(s + i + j + ahead);
		memcpy(v, s + i, sizeof(v));
		a ^= v[0];
		b ^= v[1];
		c ^= v[2];
		d ^= v[3];
	}
	a ^= b ^ c ^ d;
	for (size_t j = 0; j < WIDTH / 8; j++)
		x ^= a[j];
	return x;
}

/* Kept apart from one another and in registers: the compiler must not see that chains are alike. */
#define KEEP(a) __asm__ volatile("" : "+v"(a))

static double
multiply_adds(long rounds)
{
	lanes f = {0}, a[PEAK_CHAINS];

	f += 0.5f;
	for (int j = 0; j < PEAK_CHAINS; j++)
		a[j] = f;
	for (long i = 0; i < rounds; i++) {
#pragma GCC unroll 16
		for (int j = 0; j < PEAK_CHAINS; j++) {
			FMA(a[j], f);
			KEEP(a[j]);
		}
	}
	return 2.0 * PEAK_CHAINS * WIDTH / 4 * (double)rounds;
}
