/*
 * The body of peak_avx2.c, peak_avx512.c and peak_neon.c, for vectors of WIDTH bytes, which asm
 * takes IN_REGISTER. GCC compiles its vector types to the instruction set of the file.
 */
#include <string.h>

#include "bench/limit.h"

typedef uint64_t words __attribute__((vector_size(WIDTH)));
typedef float lanes __attribute__((vector_size(WIDTH)));

static uint64_t
read_all(const void *p, size_t n, size_t distance)
{
	const unsigned char *s = p;
	words a = {0}, b = {0}, c = {0}, d = {0};
	uint64_t x = 0;

	for (size_t i = 0; i < n; i += 4 * WIDTH) {
		words v[4];

		for (size_t j = 0; distance && j < 4 * WIDTH; j += 64)
			__builtin_prefetch(s + i + j + distance);
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

/* One variable per chain, so that it stays in a register. The empty asm hides from the compiler
 * that all chains are equal. */
#define CHAINS12(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
#if PEAK_CHAINS == 12
#define CHAINS CHAINS12
#else
#define CHAINS(X) CHAINS12(X) X(m) X(o) X(p) X(q) X(r) X(s) X(t) X(u)
#endif
#define BEGIN(v) lanes v = half;
#define ADVANCE(v) FMA(v, half); __asm__ volatile("" : IN_REGISTER(v));

static double
multiply_adds(long rounds)
{
	lanes half = {0};

	half += 0.5f;
	CHAINS(BEGIN)
	for (long n = 0; n < rounds; n++) {
		CHAINS(ADVANCE)
	}
	return 2.0 * PEAK_CHAINS * WIDTH / 4 * (double)rounds;
}
