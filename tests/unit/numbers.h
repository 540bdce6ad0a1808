/*
 * For checks of kernels: TAP, numbers that hurt, and memory with guards.
 */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels.h"
#include "sanitized.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/*
 * TAP
 */

static int points, failures;

static inline void __attribute__((format(printf, 2, 3)))
ok(int good, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%sok %d - ", good ? "" : "not ", ++points);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	failures += !good;
}

/*
 * Numbers
 */

static uint64_t seed = 1;

static inline uint32_t
random32(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) ^ (uint32_t)(seed >> 17 << 16);
}

static inline int
below(int n)
{
	return (int)((uint64_t)random32() * (uint32_t)n >> 32);
}

/* The sum of n products, in doubles. */
static inline double
dot(const float *a, const float *b, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static inline void
random_bytes(unsigned char *p, size_t n)
{
	for (uint32_t r; n > 0; p += 4, n -= n < 4 ? n : 4) {
		r = random32();
		memcpy(p, &r, n < 4 ? n : 4);
	}
}

static inline float
of_bits(uint32_t b)
{
	float x;

	memcpy(&x, &b, 4);
	return x;
}

static inline uint32_t
to_bits(float x)
{
	uint32_t b;

	memcpy(&b, &x, 4);
	return b;
}

/* x 2^e, as ldexpf has it, for a power of two that a float32 can be. */
static inline float
scaled_by(float x, int e)
{
	return x * of_bits(e < -126 ? 1u << (149 + e) : (uint32_t)(e + 127) << 23);
}

/* PLAIN is the one without surprises; the others are meant to hurt.  Products of two of EDGE are near 2^-126. */
enum kind { PLAIN, WIDE, TINY, HUGE_X, EDGE, WORST, BITS, KINDS };

static inline float
number(enum kind k)
{
	static const float worst[] = { INFINITY, -INFINITY, NAN, -0.f, 0, 0x1p-149f, -0x1p-149f, 0x1.fffffep-127f,
	    0x1.fffffep127f, -0x1.fffffep127f, 0x1p120f, -0x1p119f, 1, -1, 0x1p-126f, 88.7229f, -87.34f, 0x1p18f };
	float x = (float)((int32_t)random32()) * 0x1p-31f;

	switch (k) {
	case WIDE:
		return scaled_by(x, below(120) - 60);
	case TINY:
		return scaled_by(x, below(40) - 149);
	case HUGE_X:
		return scaled_by(x, 100 + below(28));
	case EDGE:
		return scaled_by(x, -61 - below(below(8) ? 4 : 50));
	case WORST:
		return below(40) ? x : worst[below(COUNT(worst))];
	case BITS:
		return of_bits(random32());
	default:
		return x;
	}
}

static inline void
numbers(float *x, size_t n, enum kind k)
{
	for (size_t i = 0; i < n; i++)
		x[i] = number(k);
}

/* A weight; but for WORST and BITS it is finite. */
static inline void
weight(unsigned char *to, enum dtype t, enum kind k)
{
	uint32_t b, r;

	if (t == F32 || t == BF16) {
		b = to_bits(number(k == WORST && below(8) ? PLAIN : k));
		memcpy(to, (unsigned char *)&b + (t == F32 ? 0 : 2), t == F32 ? 4 : 2);
		return;
	}
	r = random32();
	if (t == F16) {
		if (k < WORST || (k == WORST && below(300)))
			r &= 0xbfff;
		memcpy(to, &r, 2);
	} else {
		if ((r & 0x7f) == 0x7f && (k < WORST || (k == WORST && below(5))))
			r ^= 1;
		*to = (unsigned char)r;
	}
}

/*
 * Memory that ends where a page begins that must not be touched.  What lies
 * before it must not change either.
 */

enum { SLOT = 1 << 22, BEFORE = 256 };

struct slot {
	unsigned char *map;
	size_t n;
};

static inline void *
place(struct slot *s, size_t n)
{
	if (!s->map) {
		s->map = mmap(NULL, SLOT + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (s->map == MAP_FAILED || mprotect(s->map + SLOT, 65536, PROT_NONE) < 0 || n + BEFORE > SLOT) {
			printf("Bail out! no memory to test in\n");
			exit(1);
		}
	}
	s->n = n + BEFORE;
	memset(s->map + SLOT - s->n, 0xa5, s->n);
	return s->map + SLOT - n;
}

/* Equal bytes, before the outputs and between their rows included. */
static inline int
same_bytes(const struct slot *a, const struct slot *b)
{
	const unsigned char *p = a->map + SLOT - a->n, *q = b->map + SLOT - b->n;

	if (a->n != b->n || memcmp(p, q, a->n) != 0)
		return 0;
	for (size_t i = 0; i < BEFORE; i++)
		if (p[i] != 0xa5)
			return 0;
	return 1;
}

/* Every NaN in it is the one that the contract names. */
static inline int
canonical_nans(const struct slot *a)
{
	const unsigned char *p = a->map + SLOT - a->n;
	uint32_t x;

	for (size_t i = BEFORE; i + 4 <= a->n; i += 4) {
		memcpy(&x, p + i, 4);
		if ((x & 0x7fffffff) > 0x7f800000 && x != 0x7fc00000)
			return 0;
	}
	return 1;
}

static inline int
same(const struct slot *a, const struct slot *b)
{
	return same_bytes(a, b) && canonical_nans(a);
}

static struct slot s_w, s_scale, s_groups;        /* of matrix() */

static inline float *
floats(struct slot *s, int n, enum kind k)
{
	float *p = place(s, (size_t)n * 4);

	numbers(p, (size_t)n, k);
	return p;
}

/* Where a block has the high bytes of its scales; 0: none. */
static const unsigned char scale_bytes[DTYPES_ALL][2] = {
	[Q8_0] = {1}, [Q4_0] = {1}, [Q4_1] = {1, 3}, [Q5_0] = {1}, [Q5_1] = {1, 3}, [IQ4_NL] = {1},
	[Q2_K] = {81, 83}, [Q3_K] = {109}, [Q4_K] = {1, 3}, [Q5_K] = {1, 3}, [Q6_K] = {209},
	[IQ4_XS] = {1}, [IQ2_XXS] = {1}, [IQ2_XS] = {1}, [IQ2_S] = {1}, [IQ3_XXS] = {1},
	[IQ3_S] = {1}, [IQ1_S] = {1}, [IQ1_M] = {55}, [TQ1_0] = {53}, [TQ2_0] = {65} };

/* n blocks of random bytes; but for WORST and BITS the scales are finite. */
static inline void
random_blocks(unsigned char *p, size_t n, enum dtype t, enum kind k)
{
	size_t bytes = dtype_row(t, dtype_cols(t));

	random_bytes(p, n * bytes);
	for (; n > 0; n--, p += bytes)
		for (int i = 0; i < 2; i++)
			if (k < WORST || below(20))
				p[scale_bytes[t][i]] &= scale_bytes[t][i] || t == MXFP4 ? 0xbf :
				    0xff;
}

/* A matrix that begins at row `row0` of the one that its scales were made for. */
static inline struct mat
matrix(int rows, int cols, enum dtype t, enum kind k, int row0)
{
	struct mat w = { .rows = rows, .cols = cols, .dtype = t, .row0 = row0 };
	size_t n = (size_t)rows * (size_t)cols, groups;
	unsigned char *p = place(&s_w, (size_t)rows * dtype_row(t, cols));

	w.data = p;
	if (dtype_cols(t) > 1) {
		random_blocks(p, n / (size_t)dtype_cols(t), t, k);
		return w;
	}
	if (t == Q8 || t == Q4) {
		random_bytes(p, (size_t)rows * dtype_row(t, cols));
		groups = (size_t)rows * (((size_t)cols + 15) / 16);
		w.groups = p = place(&s_groups, groups);
		for (size_t i = 0; i < groups; i++)
			weight(p + i, F8_E4M3, k);
		w.factor = below(40) == 0 ? 0 : ldexpf(1, k == PLAIN ? -below(12) : k == TINY ? -100 + below(20) : k == HUGE_X ? 113 - below(20) :
		    below(214) - 100);
		return w;
	}
	for (size_t i = 0, size = dtype_size(t); i < n; i++)
		weight(p + i * size, t, k);
	if (t == F8_E4M3 && below(8)) {
		w.scale_cols = (cols + 127) / 128;
		w.scale = floats(&s_scale, (row0 + rows + 127) / 128 * w.scale_cols, k == BITS ? WORST : k);
	}
	return w;
}

static const enum dtype weights[] = { F32, BF16, F16, F8_E4M3, Q8, Q4 };
#define DTYPE_ITEM(name, type, cols, bytes) name,
static const enum dtype block_types[] __attribute__((unused)) = { EACH_BLOCK_TYPE(DTYPE_ITEM) };
static const int sizes[] = { 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 200, 256, 257, 300, 520, 1100 };
static const int batches[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 31, 33, 35, 67 };

static inline float
scaled(enum kind k)
{
	return number(k) * (k == PLAIN ? 20 : 1);
}
