/*
 * The block types of GGUF in plain C: what a weight is.  Each operation is rounded to float32 in
 * the order of the package gguf of PyPI (gguf/quants.py), whose float32 a weight equals.
 *
 * b is a block, g a group of 16 columns of it, i a column of the group.
 */
#ifndef DS_BLOCKS_H
#define DS_BLOCKS_H

#include <stdint.h>
#include <string.h>

#include "cpu/gguf_grids.h"

#define IQ4_LEVELS -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
#define MXFP4_LEVELS 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

static inline unsigned
block_u16(const unsigned char *p)
{
	return p[0] | (unsigned)p[1] << 8;
}

static inline uint32_t
block_u32(const unsigned char *p)
{
	return block_u16(p) | (uint32_t)block_u16(p + 2) << 16;
}

static inline float
block_f16(const unsigned char *p)
{
	return float_of_f16((uint16_t)block_u16(p));
}

/* --- blocks of 32 columns --- */

/* Column i of group g of 16 bytes: the low halves are the columns 0..15, the high ones 16..31. */
static inline int
block_half(const unsigned char *p, int g, int i)
{
	return p[i] >> 4 * g & 15;
}

static inline int
block_bit(const unsigned char *p, int k)
{
	return p[k / 8] >> k % 8 & 1;
}

/* The scale of a type that has one, at the beginning of the block. */
static inline float
scale_first(const unsigned char *b, int g)
{
	(void)g;
	return block_f16(b);
}

static inline int
code_Q8_0(const unsigned char *b, int g, int i)
{
	return (signed char)b[2 + 16 * g + i];
}

static inline int
code_Q4_0(const unsigned char *b, int g, int i)
{
	return block_half(b + 2, g, i) - 8;
}

static inline float
element_Q4_1(const unsigned char *b, int g, int i)
{
	return block_f16(b) * (float)block_half(b + 4, g, i) + block_f16(b + 2);
}

static inline float
element_Q5_0(const unsigned char *b, int g, int i)
{
	int q = block_half(b + 6, g, i) | block_bit(b + 2, 16 * g + i) << 4;

	return block_f16(b) * (float)(q - 16);
}

static inline float
element_Q5_1(const unsigned char *b, int g, int i)
{
	int q = block_half(b + 8, g, i) | block_bit(b + 4, 16 * g + i) << 4;

	return block_f16(b) * (float)q + block_f16(b + 2);
}

static inline int
code_IQ4_NL(const unsigned char *b, int g, int i)
{
	static const signed char levels[16] = { IQ4_LEVELS };

	return levels[block_half(b + 2, g, i)];
}

/* Half of 2^(e - 127): the levels are twice those of E2M1. */
static inline float
block_e8m0(unsigned char e)
{
	return float_of_bits(e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23);
}

static inline float
scale_MXFP4(const unsigned char *b, int g)
{
	(void)g;
	return block_e8m0(b[0]);
}

static inline int
code_MXFP4(const unsigned char *b, int g, int i)
{
	static const signed char levels[16] = { MXFP4_LEVELS };

	return levels[block_half(b + 1, g, i)];
}

/* --- blocks of 256 columns --- */

/* The two bits of a column where each 32 bytes are 128 columns. */
static inline int
block_two(const unsigned char *p, int g, int i)
{
	return p[g / 8 * 32 + g % 2 * 16 + i] >> g / 2 % 4 * 2 & 3;
}

/* The half of a column where each 32 bytes are 64 columns. */
static inline int
block_half64(const unsigned char *p, int g, int i)
{
	return p[g / 4 * 32 + g % 2 * 16 + i] >> g / 2 % 2 * 4 & 15;
}

/* The bit of a column where bit k of 32 bytes is column 32 k and those after it. */
static inline int
block_bit32(const unsigned char *p, int g, int i)
{
	return p[g % 2 * 16 + i] >> g / 2 & 1;
}

static inline float
element_Q2_K(const unsigned char *b, int g, int i)
{
	float d = block_f16(b + 80) * (float)(b[g] & 15);
	float m = block_f16(b + 82) * (float)(b[g] >> 4);

	return d * (float)block_two(b + 16, g, i) - m;
}

static inline float
element_Q3_K(const unsigned char *b, int g, int i)
{
	const unsigned char *scales = b + 96;
	int scale = (scales[g % 8] >> g / 8 * 4 & 15) | (scales[8 + g % 4] >> g / 4 * 2 & 3) << 4;
	int q = block_two(b + 32, g, i) - (block_bit32(b, g, i) ? 0 : 4);

	return block_f16(b + 108) * (float)(scale - 32) * (float)q;
}

/* The scale and minimum of the 32 columns s of Q4_K and Q5_K: 6 bits each in 12 bytes. */
static inline int
block_scale(const unsigned char *p, int s)
{
	return s < 4 ? p[s] & 63 : (p[s + 4] & 15) | p[s - 4] >> 6 << 4;
}

static inline int
block_minimum(const unsigned char *p, int s)
{
	return s < 4 ? p[s + 4] & 63 : p[s + 4] >> 4 | p[s] >> 6 << 4;
}

static inline float
scale_K(const unsigned char *b, int g)
{
	return block_f16(b) * (float)block_scale(b + 4, g / 2);
}

static inline float
minimum_K(const unsigned char *b, int g)
{
	return block_f16(b + 2) * (float)block_minimum(b + 4, g / 2);
}

static inline int
code_Q4_K(const unsigned char *b, int g, int i)
{
	return block_half64(b + 16, g, i);
}

static inline int
code_Q5_K(const unsigned char *b, int g, int i)
{
	return block_half64(b + 48, g, i) | block_bit32(b + 16, g, i) << 4;
}

static inline float
scale_Q6_K(const unsigned char *b, int g)
{
	return block_f16(b + 208) * (float)(signed char)b[192 + g];
}

static inline int
code_Q6_K(const unsigned char *b, int g, int i)
{
	int low = b[g / 8 * 64 + g % 4 * 16 + i] >> g / 4 % 2 * 4 & 15;

	return (low | block_two(b + 128, g, i) << 4) - 32;
}

static inline float
scale_IQ4_XS(const unsigned char *b, int g)
{
	int s = g / 2;
	int scale = (b[4 + s / 2] >> s % 2 * 4 & 15) | (int)(block_u16(b + 2) >> 2 * s & 3) << 4;

	return block_f16(b) * (float)(scale - 32);
}

static inline int
code_IQ4_XS(const unsigned char *b, int g, int i)
{
	static const signed char levels[16] = { IQ4_LEVELS };

	return levels[block_half(b + 8 + g / 2 * 16, g % 2, i)];
}

static inline float
element_TQ1_0(const unsigned char *b, int g, int i)
{
	static const unsigned char powers[5] = { 1, 3, 9, 27, 81 };
	int k = 16 * g + i, q;

	if (k < 160)
		q = b[k % 32] * powers[k / 32];
	else if (k < 240)
		q = b[32 + i] * powers[g - 10];
	else
		q = b[48 + i % 4] * powers[i / 4];
	return block_f16(b + 52) * (float)(((q & 255) * 3 >> 8) - 1);
}

static inline float
element_TQ2_0(const unsigned char *b, int g, int i)
{
	return block_f16(b + 64) * (float)(block_two(b, g, i) - 1);
}

/* --- grids: 8 columns, or 4, are an entry of a table --- */

static inline float
block_grid2(unsigned entry, int k)
{
	static const float values[4] = { 8, 25, 43, 0 };

	return values[entry >> 2 * k & 3];
}

/* x, or -x where bit k of 7 signs is set; bit 7 makes the number of set bits even. */
static inline float
block_sign7(float x, unsigned signs, int k)
{
	return (k < 7 ? signs >> k & 1 : (unsigned)__builtin_parity(signs)) ? -x : x;
}

static inline float
element_IQ2_XXS(const unsigned char *b, int g, int i)
{
	const unsigned char *p = b + 2 + g / 2 * 8;
	uint32_t signs = block_u32(p + 4);
	float d = block_f16(b) * (0.5f + (float)(signs >> 28)) * 0.25f;
	int k = g % 2 * 2 + i / 8;

	return block_sign7(d * block_grid2(grid_iq2_xxs[p[k]], i % 8), signs >> 7 * k & 127, i % 8);
}

static inline float
element_IQ2_XS(const unsigned char *b, int g, int i)
{
	unsigned q = block_u16(b + 2 + 2 * (2 * g + i / 8));
	float d = block_f16(b) * (0.5f + (float)(b[66 + g / 2] >> g % 2 * 4 & 15)) * 0.25f;

	return block_sign7(d * block_grid2(grid_iq2_xs[q & 511], i % 8), q >> 9, i % 8);
}

static inline float
element_IQ2_S(const unsigned char *b, int g, int i)
{
	int k = 2 * g + i / 8, q = b[2 + k] | (b[66 + k / 4] >> k % 4 * 2 & 3) << 8;
	float d = block_f16(b) * (0.5f + (float)(b[74 + g / 2] >> g % 2 * 4 & 15)) * 0.25f;
	float x = d * block_grid2(grid_iq2_s[q], i % 8);

	return block_bit(b + 34, 16 * g + i) ? -x : x;
}

static inline float
element_IQ3_XXS(const unsigned char *b, int g, int i)
{
	static const float values[8] = { 4, 12, 20, 28, 36, 44, 52, 62 };
	uint32_t signs = block_u32(b + 66 + g / 2 * 4);
	float d = block_f16(b) * (0.5f + (float)(signs >> 28)) * 0.5f;
	unsigned entry = grid_iq3_xxs[b[2 + 4 * g + i / 4]];
	float x = d * values[entry >> i % 4 * 4 & 7];

	return block_sign7(x, signs >> 7 * (g % 2 * 2 + i / 8) & 127, i % 8);
}

static inline float
element_IQ3_S(const unsigned char *b, int g, int i)
{
	int k = 4 * g + i / 4;
	float d = block_f16(b) * (float)(1 + 2 * (b[106 + g / 4] >> g / 2 % 2 * 4 & 15));
	unsigned entry = grid_iq3_s[b[2 + k] | block_bit(b + 66, k) << 8];
	float x = d * (float)(2 * (entry >> i % 4 * 4 & 7) + 1);

	return block_bit(b + 74, 16 * g + i) ? -x : x;
}

static inline float
block_grid1(unsigned entry, int k)
{
	return (float)((int)(entry >> 2 * k & 3) - 1);
}

static inline float
element_IQ1_S(const unsigned char *b, int g, int i)
{
	unsigned h = block_u16(b + 34 + g / 2 * 2);
	int k = 2 * g + i / 8;
	float d = block_f16(b) * (float)(2 * (h >> 12 & 7) + 1);
	unsigned entry = grid_iq1[b[2 + k] | (h >> k % 4 * 3 & 7) << 8];

	return d * (block_grid1(entry, i % 8) + (h & 0x8000 ? -0.125f : 0.125f));
}

static inline float
element_IQ1_M(const unsigned char *b, int g, int i)
{
	const unsigned char *s = b + 48;
	unsigned d16 = s[1] >> 4 | s[3] >> 4 << 4 | (unsigned)s[5] >> 4 << 8 |
	    (unsigned)s[7] >> 4 << 12;
	unsigned scale = block_u16(s + g / 4 * 2) >> g % 4 * 3 & 7;
	int k = 2 * g + i / 8;
	unsigned h = (unsigned)b[32 + k / 2] >> k % 2 * 4;
	float d = float_of_f16((uint16_t)d16) * (float)(2 * scale + 1);

	return d * (block_grid1(grid_iq1[b[k] | (h & 7) << 8], i % 8) + (h & 8 ? -0.125f : 0.125f));
}

/* --- weights that are an integer of 8 bits times a scale, less a minimum --- */

static inline float
minimum_none(const unsigned char *b, int g)
{
	(void)b;
	(void)g;
	return 0;
}

/* X(name, columns that share a scale, functions of scale and minimum). */
#define EACH_CODED_BLOCK(X) \
	X(Q8_0, 32, scale_first, minimum_none) X(Q4_0, 32, scale_first, minimum_none) \
	X(IQ4_NL, 32, scale_first, minimum_none) X(MXFP4, 32, scale_MXFP4, minimum_none) \
	X(Q4_K, 32, scale_K, minimum_K) X(Q5_K, 32, scale_K, minimum_K) \
	X(Q6_K, 16, scale_Q6_K, minimum_none) X(IQ4_XS, 32, scale_IQ4_XS, minimum_none)

/* The float32 of a weight.  (Without a minimum, - 0 changes nothing.) */
#define CODED(name, shared, scale, minimum) \
static inline float \
element_##name(const unsigned char *b, int g, int i) \
{ \
	return scale(b, g) * (float)code_##name(b, g, i) - minimum(b, g); \
}
EACH_CODED_BLOCK(CODED)
#undef CODED

/* --- all of them --- */

/* Columns of a block. */
static inline int
block_cols(enum dtype t)
{
	switch (t) {
#define CASE(name, type, cols, bytes) case name: return cols;
	EACH_BLOCK_TYPE(CASE)
#undef CASE
	default:
		return 1;
	}
}

/* Column k of a row. */
static inline float
block_element(enum dtype t, const unsigned char *row, int k)
{
	switch (t) {
#define CASE(name, type, cols, bytes) \
	case name: return element_##name(row + (size_t)(k / cols) * bytes, k % cols / 16, k % 16);
	EACH_BLOCK_TYPE(CASE)
#undef CASE
	default:
		return 0;
	}
}

/* The same of the types of EACH_CODED_BLOCK: the code of a column. */
static inline int
block_code(enum dtype t, const unsigned char *row, int k)
{
	const int cols = block_cols(t);
	const unsigned char *b = row + (size_t)(k / cols) * row_bytes(t, cols);

	switch (t) {
#define CASE(name, shared, scale, minimum) \
	case name: return code_##name(b, k % cols / 16, k % 16);
	EACH_CODED_BLOCK(CASE)
#undef CASE
	default:
		return 0;
	}
}

/* What multiplies the code of a column, and what is subtracted. */
struct block_coded {
	float scale, minimum;
};

static inline struct block_coded
block_coded(enum dtype t, const unsigned char *row, int k)
{
	const int cols = block_cols(t), g = k % cols / 16;
	const unsigned char *b = row + (size_t)(k / cols) * row_bytes(t, cols);

	switch (t) {
#define CASE(name, shared, scale, minimum) \
	case name: return (struct block_coded){scale(b, g), minimum(b, g)};
	EACH_CODED_BLOCK(CASE)
#undef CASE
	default:
		return (struct block_coded){0, 0};
	}
}

#endif
