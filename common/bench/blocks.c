#include "bench/blocks.h"

#include <math.h>

/* Where the scales of a block lie, and what a weight of scale 1 is in size: a power of two. */
static const struct blocks {
	enum dtype dtype, smaller;
	int scale, minimum;             /* byte of an F16, or -1 */
	int size;                       /* log2 of codes times inner scales */
	int minimum_size;               /* the same of inner minima, so that means are about 0 */
} all[] = {
	{Q8_0, BF16, 0, -1, 6, 0},
	{Q4_0, BF16, 0, -1, 2, 0},
	{IQ4_NL, BF16, 0, -1, 6, 0},
	{MXFP4, BF16, -1, -1, 1, 0},    /* a byte, the exponent */
	{Q4_K, Q4_0, 0, 2, 8, 5},
	{Q5_K, Q8_0, 0, 2, 9, 5},
	{Q6_K, Q8_0, 208, -1, 10, 0},
	{IQ4_XS, IQ4_NL, 0, -1, 10, 0},
};

static const struct blocks *
blocks_of(enum dtype t)
{
	const struct blocks *b = all;

	while (b->dtype != t)
		b++;
	return b;
}

enum dtype
blocks_type(enum dtype t, int cols)
{
	while (t != BF16 && cols % dtype_cols(t) != 0)
		t = blocks_of(t)->smaller;
	return t;
}

/* The F16 of 2^e. */
static void
put_power(unsigned char *to, int e)
{
	unsigned bits = e >= -14 ? (unsigned)(e + 15) << 10 : e >= -24 ? 1u << (e + 24) : 1;

	to[0] = (unsigned char)bits;
	to[1] = (unsigned char)(bits >> 8);
}

void
blocks_scale(enum dtype t, int cols, unsigned char *block)
{
	const struct blocks *b = blocks_of(t);
	int e = -(int)ceil(log2(sqrt(cols)));

	if (b->scale < 0) {
		block[0] = (unsigned char)(127 + e - b->size);
		return;
	}
	put_power(block + b->scale, e - b->size);
	if (b->minimum >= 0)
		put_power(block + b->minimum, e - b->minimum_size);
}
