/*
 * One register of AVX-512 (F, BW, DQ, VL): 16 floats, all lanes of a sum.
 * lanes_avx2.h says the same for AVX2; *_lanes.h are written in these words.
 */
#ifndef DS_LANES_H
#define DS_LANES_H

#include <immintrin.h>

#include "cpu/cpu.h"

#define KERNELS_ISA(name) name##_avx512
/* in a register: compilers would load it for each use */
#define KEEP(r) __asm__("" : "+v"(r))

typedef __m512 reg;
typedef __m512i bytes;

enum {
	W = 16,                 /* floats in a register */
	MR = 4, NR = 6,         /* matmul: many rows of x by rows of w summed in registers, */
	NS = 3,                 /* of w where blocks have sums of their own */
	LEVELS = 256,           /* Q4: as many scales have their 16 levels in a register each, to choose from */
	GEMV_ROWS = 8,                /* rows of x for which weights are not written down as float32 */
	TB = 6,                 /* matmul_t: rows of x in registers, */
	CB = 4                  /* by registers side by side */
};

/* Rows of w side by side, at most 4, for T <= GEMV_ROWS; how many of T rows of x go first, where
 * conversions do not cost more than registers save; what DO(T, t) makes for each such T; DO(m) for
 * each m <= MR, TB. */
#define GEMV_BESIDE(T) ((T) <= 5 ? 4 : 2)
#define GEMV_HALF(T, t) \
	((T) == 8 || ((T) > 5 && (t) != F8_E4M3 && (t) != Q8) ? ((T) + 1) / 2 : (T))
#define EACH_GEMV(DO, t) DO(1, t); DO(2, t); DO(3, t); DO(4, t); DO(5, t); DO(6, t); DO(7, t); DO(8, t)
#define EACH_TB(DO) DO(1); DO(2); DO(3); DO(4); DO(5); DO(6)
#define EACH_MR(DO) DO(1); DO(2); DO(3); DO(4)

/* The first n of 16. */
static inline __mmask16
first(int n)
{
	return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

static inline reg r_zero(void) { return _mm512_setzero_ps(); }
static inline reg r_set(float x) { return _mm512_set1_ps(x); }
static inline reg r_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void r_store(float *p, reg x) { _mm512_storeu_ps(p, x); }
static inline reg r_add(reg a, reg b) { return _mm512_add_ps(a, b); }
static inline reg r_sub(reg a, reg b) { return _mm512_sub_ps(a, b); }
static inline reg r_mul(reg a, reg b) { return _mm512_mul_ps(a, b); }
static inline reg r_div(reg a, reg b) { return _mm512_div_ps(a, b); }
static inline reg r_fma(reg a, reg b, reg c) { return _mm512_fmadd_ps(a, b, c); }
static inline reg r_fmaddsub(reg a, reg b, reg c) { return _mm512_fmaddsub_ps(a, b, c); }
static inline reg r_max(reg a, reg b) { return _mm512_max_ps(a, b); }           /* a > b ? a : b */
static inline reg r_abs(reg x) { return _mm512_abs_ps(x); }
static inline reg r_neg(reg x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.f)); }
static inline reg r_swap(reg x) { return _mm512_permute_ps(x, 0xb1); }          /* within pairs */

static inline reg
r_rint(reg x)
{
	return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* p 2^n, by the exponent's bits. */
static inline reg
r_scale2(reg p, reg n)
{
	return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p),
	    _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23)));
}

/* a > b ? yes : no */
static inline reg
r_above(reg a, reg b, reg yes, reg no)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}

/* x, or the written kind of NaN where of is not a number. */
static inline reg
r_nan(reg x, reg of)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(of, of, _CMP_UNORD_Q), x,
	    _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)));
}

/* The first n lanes, +0 in the others; n may be anything. */
static inline reg r_first(reg x, int n) { return _mm512_maskz_mov_ps(first(n), x); }
static inline reg r_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
static inline void r_store_n(float *p, reg x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }

/* Each of n floats twice, for pairs. */
static inline reg
r_pairs_n(const float *p, int n)
{
	const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);

	return _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_maskz_loadu_ps((__mmask8)first(n), p)));
}

static inline reg
of_bf16(__m256i h)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* As a half, an E4M3 is 256 times too small; 0x7f and 0xff are not numbers. */
static inline reg
of_f8(__m128i b)
{
	__m256i h = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(b), 7), _mm256_set1_epi16((short)0xbfff));
	reg x = _mm512_mul_ps(_mm512_cvtph_ps(h), _mm512_set1_ps(256));
	__mmask16 nan = _mm_cmpeq_epi8_mask(_mm_or_si128(b, _mm_set1_epi8((char)0x80)), _mm_set1_epi8((char)0xff));

	return _mm512_mask_blend_ps(nan, x, _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)));
}

static inline reg r_load_bf16(const void *p) { return of_bf16(_mm256_loadu_si256(p)); }
static inline reg r_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
static inline reg r_load_f8(const void *p) { return of_f8(_mm_loadu_si128(p)); }
static inline reg r_load_bf16_n(const void *p, int n) { return of_bf16(_mm256_maskz_loadu_epi16(first(n), p)); }
static inline reg r_load_f16_n(const void *p, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p)); }
static inline reg r_load_f8_n(const void *p, int n) { return of_f8(_mm_maskz_loadu_epi8(first(n), p)); }

/* 32 of FP8, 256 times too small, what is not a number unmarked. */
static inline void
r_load2_f8(const void *p, reg *a, reg *b)
{
	__m512i h = _mm512_slli_epi16(_mm512_cvtepi8_epi16(_mm256_loadu_si256(p)), 7);

	h = _mm512_and_si512(h, _mm512_set1_epi16((short)0xbfff));
	*a = _mm512_cvtph_ps(_mm512_castsi512_si256(h));
	*b = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
}

/* W codes of Q8, and 32 of Q4. */
static inline reg
of_i8(__m128i b)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b));
}

static inline reg r_load_q8(const void *p) { return of_i8(_mm_loadu_si128(p)); }
static inline reg r_load_q8_n(const void *p, int n) { return of_i8(_mm_maskz_loadu_epi8(first(n), p)); }

static inline void
r_load32_q4(const void *p, reg to[2])
{
	const reg levels = of_i8(_mm_loadu_si128((const void *)quant_levels));  /* stays in a register */
	__m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128(p));

	to[0] = _mm512_permutexvar_ps(b, levels);       /* of an index only its low 4 bits count */
	to[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(b, 4), levels);
}

/* The weights of 32 codes of Q4, from the levels of their two groups. */
static inline void
r_load32_q4_of(const void *p, const reg *a, const reg *b, reg to[2])
{
	__m512i i = _mm512_cvtepu8_epi32(_mm_loadu_si128(p));

	to[0] = _mm512_permutexvar_ps(i, *a);
	to[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(i, 4), *b);
}

/* Bit 7 of some byte of b is set where one of those seen is no number in FP8:
 * in 0x7f and 0xff alone, adding 1 turns it over. */
static inline bytes b_zero(void) { return _mm512_setzero_si512(); }
static inline int b_nan(bytes b) { return _mm512_movepi8_mask(b) != 0; }

static inline bytes
b_see(bytes b, const unsigned char *p, int n)
{
	__m512i v = n >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8((1ull << n) - 1, p);

	return _mm512_ternarylogic_epi64(b, v, _mm512_add_epi8(v, _mm512_set1_epi8(1)), 0xf6);  /* b | (v ^ v+1) */
}

/* to = the trees of 16 sums: each step halves the lanes and doubles the sums
 * in a register. */
static inline void
r_tree16(reg to[1], reg s[16][1])
{
	const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
	reg a[8];

	_Pragma("GCC unroll 8")
	for (int i = 0; i < 8; i++)
		a[i] = r_add(_mm512_shuffle_f32x4(s[2 * i][0], s[2 * i + 1][0], 0x44),
		    _mm512_shuffle_f32x4(s[2 * i][0], s[2 * i + 1][0], 0xee));
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++)
		a[i] = r_add(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x88),
		    _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xdd));
	_Pragma("GCC unroll 2")
	for (int i = 0; i < 2; i++) {
		__m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]);

		a[i] = r_add(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
	}
	to[0] = _mm512_permutexvar_ps(order, r_add(_mm512_shuffle_ps(a[0], a[1], 0x88),
	    _mm512_shuffle_ps(a[0], a[1], 0xdd)));
}

/* acc[i] += c[i] in fixed point, for the W lanes of c. */
static inline void
r_fixed_add(int64_t *acc, reg c)
{
	const __m512d one = _mm512_set1_pd(FIXED_ONE);
	__m512i a = _mm512_cvtpd_epi64(_mm512_mul_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(c)), one));
	__m512i b = _mm512_cvtpd_epi64(_mm512_mul_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(c, 1)), one));

	_mm512_storeu_si512(acc, _mm512_add_epi64(_mm512_loadu_si512(acc), a));
	_mm512_storeu_si512(acc + 8, _mm512_add_epi64(_mm512_loadu_si512(acc + 8), b));
}

/* As r_fixed_add, with the conversion of a product that is exact.  A sign is set in bad[0] where
 * |c| is not below 2^18, of 32 bits, and in bad[1] where a sum leaves -GRAD_MAX .. GRAD_MAX-1. */
static inline void
r_grad_add(int64_t *acc, reg c, bytes bad[2])
{
	const bytes most = _mm512_set1_epi32(0x487fffff), max = _mm512_set1_epi64(GRAD_MAX);
	bytes magnitude = _mm512_castps_si512(r_abs(c)), a, b;

	c = r_mul(c, r_set(0x1p40f));
	a = _mm512_cvtps_epi64(_mm512_castps512_ps256(c));
	b = _mm512_cvtps_epi64(_mm512_extractf32x8_ps(c, 1));
	a = _mm512_add_epi64(_mm512_loadu_si512(acc), a);
	b = _mm512_add_epi64(_mm512_loadu_si512(acc + 8), b);
	_mm512_storeu_si512(acc, a);
	_mm512_storeu_si512(acc + 8, b);
	bad[0] = _mm512_or_si512(bad[0], _mm512_sub_epi32(most, magnitude));
	a = _mm512_or_si512(_mm512_add_epi64(a, max), _mm512_add_epi64(b, max));
	bad[1] = _mm512_or_si512(bad[1], a);
}

static inline int
r_grad_bad(const bytes bad[2])
{
	return _mm512_movepi32_mask(bad[0]) != 0 || _mm512_movepi64_mask(bad[1]) != 0;
}

/* h + acc / 2^40 */
static inline reg
r_fixed_finish(reg h, const int64_t *acc)
{
	const __m512d one = _mm512_set1_pd(1 / FIXED_ONE);
	__m512d a = _mm512_mul_pd(_mm512_cvtepi64_pd(_mm512_loadu_si512(acc)), one);
	__m512d b = _mm512_mul_pd(_mm512_cvtepi64_pd(_mm512_loadu_si512(acc + 8)), one);

	a = _mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(h)), a);
	b = _mm512_add_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(h, 1)), b);
	return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a)), _mm512_cvtpd_ps(b), 1);
}

#include "cpu/bytes_avx2.h"

#endif
