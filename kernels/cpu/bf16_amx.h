/*
 * Conversion for tiles: weights of every kind, and x, become BF16.  AVX-512 with VBMI
 * and BF16.
 */
#ifndef DS_BF16_AMX_H
#define DS_BF16_AMX_H

#include "cpu/lanes_avx512.h"

#define ALWAYS static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#include "cpu/transpose_avx512.h"

enum {
	PAIR = 32,              /* rows of a panel: two tiles */
	PANEL = 512,            /* and its columns at most: 32 KB, which L1 holds */
	STEP = PAIR * 32        /* from 32 of its columns to the next */
};

/* What the codes of w mean in BF16. */
struct codes {
	unsigned char low[128], high[128];      /* F8_E4M3 without its sign: the two bytes */
	float scale[256];                       /* Q8: by group */
	uint16_t level[256][16];                /* Q4: by group and code */
} __attribute__((aligned(64)));

typedef __m512i words;

/* 32 numbers, a before b. */
ALWAYS words
w_of(reg a, reg b)
{
	return (words)_mm512_cvtne2ps_pbh(b, a);
}

ALWAYS __mmask32
first32(int n)
{
	return n >= 32 ? 0xffffffff : n <= 0 ? 0 : (1u << n) - 1;
}

ALWAYS __mmask64
first64(int n)
{
	return n >= 64 ? ~0ull : n <= 0 ? 0 : (1ull << n) - 1;
}

static inline void
codes_fill(struct codes *c, const struct mat *w)
{
	if (w->dtype == F8_E4M3)
		for (int i = 0; i < 128; i++) {
			uint32_t b = bits_of_float(float_of_f8((uint8_t)i)) >> 16;

			c->low[i] = (unsigned char)b;
			c->high[i] = (unsigned char)(b >> 8);
		}
	if (w->dtype == Q8)
		for (int i = 0; i < 256; i++)
			c->scale[i] = float_of_f8((uint8_t)i) * w->factor;
	if (w->dtype == Q4) {
		reg levels = of_i8(_mm_loadu_si128((const void *)quant_levels));

		for (int i = 0; i < 256; i++)
			_mm256_store_si256((__m256i *)c->level[i], (__m256i)_mm512_cvtneps_pbh(
			    r_mul(levels, r_set(float_of_f8((uint8_t)i) * w->factor))));
	}
}

/*
 * n columns of a row, from p on, each 32 of them `step` after the 32 before; then zeros.
 */

ALWAYS void
row_f32(uint16_t *restrict to, ptrdiff_t step, const void *p, int n)
{
	const float *x = p;

	for (int k = 0; k < n; k += 32, to += step)
		_mm512_store_si512(to, w_of(r_load_n(x + k, n - k), r_load_n(x + k + 16, n - k - 16)));
}

ALWAYS void
row_f16(uint16_t *restrict to, ptrdiff_t step, const void *p, int n)
{
	const uint16_t *x = p;

	for (int k = 0; k < n; k += 32, to += step)
		_mm512_store_si512(to, w_of(r_load_f16_n(x + k, n - k), r_load_f16_n(x + k + 16, n - k - 16)));
}

ALWAYS void
row_bf16(uint16_t *restrict to, ptrdiff_t step, const void *p, int n)
{
	const uint16_t *x = p;

	for (int k = 0; k < n; k += 32, to += step)
		_mm512_store_si512(to, _mm512_maskz_loadu_epi16(first32(n - k), x + k));
}

/* 64 bytes are looked up at once, low and high halves apart. */
ALWAYS void
row_f8(uint16_t *restrict to, ptrdiff_t step, const void *p, int n, const struct codes *restrict c)
{
	const words low0 = _mm512_load_si512(c->low), low1 = _mm512_load_si512(c->low + 64);
	const words high0 = _mm512_load_si512(c->high), high1 = _mm512_load_si512(c->high + 64);
	const words sign = _mm512_set1_epi8((char)0x80);
	const words order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);   /* a lane's first half to the first 32 columns */

	for (int k = 0; k < n; k += 64, to += 2 * step) {
		words b = _mm512_permutexvar_epi64(order, _mm512_maskz_loadu_epi8(first64(n - k), (const unsigned char *)p + k));
		words low = _mm512_permutex2var_epi8(low0, b, low1), high = _mm512_permutex2var_epi8(high0, b, high1);

		high = _mm512_ternarylogic_epi64(high, b, sign, 0xf8);           /* high | (b & sign) */
		_mm512_store_si512(to, _mm512_unpacklo_epi8(low, high));
		if (n - k > 32)
			_mm512_store_si512(to + step, _mm512_unpackhi_epi8(low, high));
	}
}

/* An index; gcc 12 would read it by way of a mask register. */
ALWAYS size_t
byte(const unsigned char *p)
{
	size_t i = *p;

	__asm__ ("" : "+r" (i));
	return i;
}

ALWAYS void
row_q8(uint16_t *restrict to, ptrdiff_t step, const unsigned char *p, const unsigned char *groups, int n, const struct codes *restrict c)
{
	for (int k = 0; k < n; k += 32, to += step)
		_mm512_store_si512(to, _mm512_maskz_mov_epi16(first32(n - k), w_of(     /* 0 by a negative scale is no +0 */
		    r_mul(r_load_q8_n(p + k, n - k), r_set(c->scale[byte(groups + k / 16)])),
		    r_mul(r_load_q8_n(p + k + 16, n - k - 16), r_set(c->scale[byte(groups + k / 16 + (n - k > 16))])))));
}

/* The 16 numbers of each of two groups are a table of 32. */
ALWAYS void
row_q4(uint16_t *restrict to, ptrdiff_t step, const unsigned char *p, const unsigned char *groups, int n, const struct codes *restrict c)
{
	const words count = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
	const words table = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(16), 1);
	const words mask = _mm512_set1_epi16(15);

	for (int k = 0; k < n; k += 32, to += step) {
		words b = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(p + k / 2))));
		const uint16_t *g0 = c->level[byte(groups + k / 16)], *g1 = c->level[byte(groups + k / 16 + (n - k > 16))];
		words t = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_load_si256((const void *)g0)),
		    _mm256_load_si256((const void *)g1), 1);

		b = _mm512_ternarylogic_epi64(_mm512_srlv_epi16(b, count), mask, table, 0xea);   /* (b & mask) | table */
		_mm512_store_si512(to, _mm512_maskz_permutexvar_epi16(first32(n - k), b, t));
	}
}

/* Rows r .. r+PAIR-1 of w, zeros from `end` on, by n columns from k on, a multiple of 32: [n /
 * 32][PAIR][32]. */
ALWAYS void
panel_of(uint16_t *restrict to, const struct mat *restrict w, const struct codes *restrict c, int r, int end, int rows, int k, int n, enum dtype t)
{
	for (int i = 0; i < rows; i++, to += 32) {
		const unsigned char *p = mat_at(w, r + i < end ? r + i : r) + dtype_row(t, k);
		const unsigned char *g = t == Q8 || t == Q4 ? w->groups + (size_t)(r + i < end ? r + i : r) * mat_groups(w) + k / 16 : NULL;

		if (r + i >= end)
			for (int j = 0; j < n; j += 32)
				_mm512_store_si512(to + j / 32 * STEP, _mm512_setzero_si512());
		else if (t == F32)
			row_f32(to, STEP, p, n);
		else if (t == BF16)
			row_bf16(to, STEP, p, n);
		else if (t == F16)
			row_f16(to, STEP, p, n);
		else if (t == Q8)
			row_q8(to, STEP, p, g, n, c);
		else if (t == Q4)
			row_q4(to, STEP, p, g, n, c);
		else
			row_f8(to, STEP, p, n, c);
	}
}

static void
panel(uint16_t *to, const struct mat *w, const struct codes *c, int r, int end, int rows, int k, int n)
{
#define PANEL_OF(t) panel_of(to, w, c, r, end, rows, k, n, t)
	WITH_DTYPE(w->dtype, PANEL_OF);
}

#endif
