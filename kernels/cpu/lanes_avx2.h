/*
 * One register of AVX2, FMA and F16C: 8 floats, half the lanes of a sum.
 * lanes_avx512.h says the same for AVX-512; *_lanes.h are written in these words.
 */
#ifndef DS_LANES_H
#define DS_LANES_H

#include <immintrin.h>

#include "cpu/cpu.h"

#define KERNELS_ISA(name) name##_avx2
/* in a register: compilers would load it for each use */
#define KEEP(r) __asm__("" : "+v"(r))

typedef __m256 reg;
typedef __m256i bytes;

enum {
	W = 8,                  /* floats in a register */
	MR = 3, NR = 4,         /* matmul: many rows of x by rows of w summed in registers, */
	NS = 4,                 /* of w where blocks have sums of their own */
	LEVELS = 0,             /* Q4: scales whose levels are made ready: 16 are more than a register */
	GEMV_ROWS = 6,                /* rows of x for which weights are not written down as float32 */
	TB = 4,                 /* matmul_t: rows of x in registers, */
	CB = 2                  /* by registers side by side */
};

/* Rows of w side by side, at most 4, for T <= GEMV_ROWS; how many of T rows of x go first, the
 * others after them with the same rows of w: more have no room in registers; what DO(T, t) makes
 * for each such T; DO(m) for each m <= MR, TB. */
#define GEMV_BESIDE(T) ((T) == 1 ? 4 : (T) <= 3 ? 2 : 1)
#define GEMV_HALF(T, t) (T)
#define EACH_GEMV(DO, t) DO(1, t); DO(2, t); DO(3, t); DO(4, t); DO(5, t); DO(6, t)
#define EACH_TB(DO) DO(1); DO(2); DO(3); DO(4)
#define EACH_MR(DO) DO(1); DO(2); DO(3)

/* The first n of 8. */
static inline __m256i
first(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

static inline reg r_zero(void) { return _mm256_setzero_ps(); }
static inline reg r_set(float x) { return _mm256_set1_ps(x); }
static inline reg r_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void r_store(float *p, reg x) { _mm256_storeu_ps(p, x); }
static inline reg r_add(reg a, reg b) { return _mm256_add_ps(a, b); }
static inline reg r_sub(reg a, reg b) { return _mm256_sub_ps(a, b); }
static inline reg r_mul(reg a, reg b) { return _mm256_mul_ps(a, b); }
static inline reg r_div(reg a, reg b) { return _mm256_div_ps(a, b); }
static inline reg r_fma(reg a, reg b, reg c) { return _mm256_fmadd_ps(a, b, c); }
static inline reg r_fmaddsub(reg a, reg b, reg c) { return _mm256_fmaddsub_ps(a, b, c); }
static inline reg r_max(reg a, reg b) { return _mm256_max_ps(a, b); }           /* a > b ? a : b */
static inline reg r_abs(reg x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), x); }
static inline reg r_neg(reg x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.f)); }
static inline reg r_swap(reg x) { return _mm256_permute_ps(x, 0xb1); }          /* within pairs */

static inline reg
r_rint(reg x)
{
	return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* p 2^n, by the exponent's bits. */
static inline reg
r_scale2(reg p, reg n)
{
	return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p),
	    _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
}

/* a > b ? yes : no */
static inline reg
r_above(reg a, reg b, reg yes, reg no)
{
	return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

/* x, or the written kind of NaN where of is not a number. */
static inline reg
r_nan(reg x, reg of)
{
	return _mm256_blendv_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
	    _mm256_cmp_ps(of, of, _CMP_UNORD_Q));
}

/* The first n lanes, +0 in the others; n may be anything. */
static inline reg r_first(reg x, int n) { return _mm256_and_ps(x, _mm256_castsi256_ps(first(n))); }
static inline reg r_load_n(const float *p, int n) { return _mm256_maskload_ps(p, first(n)); }
static inline void r_store_n(float *p, reg x, int n) { _mm256_maskstore_ps(p, first(n), x); }

/* Each of n floats twice, for pairs. */
static inline reg
r_pairs_n(const float *p, int n)
{
	const __m256i twice = _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0);

	return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_maskload_ps(p, _mm256_castsi256_si128(first(n)))),
	    twice);
}

static inline reg
of_bf16(__m128i h)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* As a half, an E4M3 is 256 times too small; 0x7f and 0xff are not numbers. */
static inline reg
of_f8(__m128i b)
{
	__m128i h = _mm_and_si128(_mm_slli_epi16(_mm_cvtepi8_epi16(b), 7), _mm_set1_epi16((short)0xbfff));
	reg x = _mm256_mul_ps(_mm256_cvtph_ps(h), _mm256_set1_ps(256));
	__m128i nan = _mm_cmpeq_epi8(_mm_or_si128(b, _mm_set1_epi8((char)0x80)), _mm_set1_epi8((char)0xff));

	return _mm256_blendv_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
	    _mm256_castsi256_ps(_mm256_cvtepi8_epi32(nan)));
}

/* n < W elements of the given size, then zeros. */
static inline __m128i
some(const void *p, int n, int size)
{
	__m128i v = _mm_setzero_si128();

	if (n > 0)
		memcpy(&v, p, (size_t)(n < W ? n : W) * (size_t)size);
	return v;
}

static inline reg r_load_bf16(const void *p) { return of_bf16(_mm_loadu_si128(p)); }
static inline reg r_load_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
static inline reg r_load_f8(const void *p) { return of_f8(_mm_loadl_epi64(p)); }
static inline reg r_load_bf16_n(const void *p, int n) { return of_bf16(some(p, n, 2)); }
static inline reg r_load_f16_n(const void *p, int n) { return _mm256_cvtph_ps(some(p, n, 2)); }
static inline reg r_load_f8_n(const void *p, int n) { return of_f8(some(p, n, 1)); }

/* 16 of FP8, 256 times too small, what is not a number unmarked. */
static inline void
r_load2_f8(const void *p, reg *a, reg *b)
{
	__m256i h = _mm256_slli_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(p)), 7);

	h = _mm256_and_si256(h, _mm256_set1_epi16((short)0xbfff));
	*a = _mm256_cvtph_ps(_mm256_castsi256_si128(h));
	*b = _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1));
}

/* W codes of Q8, and 32 of Q4. */
static inline reg
of_i8(__m128i b)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b));
}

static inline reg r_load_q8(const void *p) { return of_i8(_mm_loadl_epi64(p)); }
static inline reg r_load_q8_n(const void *p, int n) { return of_i8(some(p, n, 1)); }

static inline void
r_load32_q4(const void *p, reg to[4])
{
	const __m128i levels = _mm_loadu_si128((const void *)quant_levels), low = _mm_set1_epi8(15);
	__m128i b = _mm_loadu_si128(p);
	__m128i c = _mm_shuffle_epi8(levels, _mm_and_si128(b, low));
	__m128i d = _mm_shuffle_epi8(levels, _mm_and_si128(_mm_srli_epi16(b, 4), low));

	to[0] = of_i8(c);
	to[1] = of_i8(_mm_srli_si128(c, 8));
	to[2] = of_i8(d);
	to[3] = of_i8(_mm_srli_si128(d, 8));
}

/* LEVELS is 0: it is never called. */
static inline void
r_load32_q4_of(const void *p, const reg *a, const reg *b, reg to[4])
{
	(void)a, (void)b;
	r_load32_q4(p, to);
}

/* Bit 7 of some byte of b is set where one of those seen is no number in FP8:
 * in 0x7f and 0xff alone, adding 1 turns it over. */
static inline bytes b_zero(void) { return _mm256_setzero_si256(); }
static inline int b_nan(bytes b) { return _mm256_movemask_epi8(b) != 0; }

static inline bytes
b_see32(bytes b, __m256i v)
{
	return _mm256_or_si256(b, _mm256_xor_si256(v, _mm256_add_epi8(v, _mm256_set1_epi8(1))));
}

static inline bytes
b_see(bytes b, const unsigned char *p, int n)
{
	__m256i v[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };

	if (n >= 64)
		return b_see32(b_see32(b, _mm256_loadu_si256((const void *)p)),
		    _mm256_loadu_si256((const void *)(p + 32)));
	memcpy(v, p, (size_t)n);
	return b_see32(b_see32(b, v[0]), v[1]);
}

/* to = the trees of 16 sums: each step halves the lanes and doubles the sums
 * in a register. */
static inline void
r_tree16(reg to[2], reg s[16][2])
{
	const __m256i order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
	reg a[4];

	_Pragma("GCC unroll 2")
	for (int half = 0; half < 2; half++, s += 8) {
		_Pragma("GCC unroll 4")
		for (int i = 0; i < 4; i++) {
			reg x = r_add(s[2 * i][0], s[2 * i][1]), y = r_add(s[2 * i + 1][0], s[2 * i + 1][1]);

			a[i] = r_add(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
		}
		_Pragma("GCC unroll 2")
		for (int i = 0; i < 2; i++) {
			__m256d x = _mm256_castps_pd(a[2 * i]), y = _mm256_castps_pd(a[2 * i + 1]);

			a[i] = r_add(_mm256_castpd_ps(_mm256_unpacklo_pd(x, y)),
			    _mm256_castpd_ps(_mm256_unpackhi_pd(x, y)));
		}
		to[half] = _mm256_permutevar8x32_ps(r_add(_mm256_shuffle_ps(a[0], a[1], 0x88),
		    _mm256_shuffle_ps(a[0], a[1], 0xdd)), order);
	}
}

/* Four contributions to acc: the sums.  AVX2 converts no double to 64 bits; so v = c 2^40
 * is cut into a multiple of 2^32 and a rest below 2^31 (both by adding a number
 * that leaves no bits for less), and only the rest is rounded. */
static inline __m256i
fixed_add4(int64_t *acc, __m128 c)
{
	const __m256d high = _mm256_set1_pd(0x1.8p84), low = _mm256_set1_pd(0x1.8p52);
	__m256d v = _mm256_mul_pd(_mm256_cvtps_pd(c), _mm256_set1_pd(FIXED_ONE));
	__m256d h = _mm256_add_pd(v, high);
	__m256d l = _mm256_add_pd(_mm256_sub_pd(v, _mm256_sub_pd(h, high)), low);
	__m256i hi = _mm256_sub_epi64(_mm256_castpd_si256(h), _mm256_castpd_si256(high));
	__m256i lo = _mm256_sub_epi64(_mm256_castpd_si256(l), _mm256_castpd_si256(low));
	__m256i sum = _mm256_add_epi64(_mm256_slli_epi64(hi, 32), lo);

	sum = _mm256_add_epi64(_mm256_loadu_si256((const void *)acc), sum);
	_mm256_storeu_si256((void *)acc, sum);
	return sum;
}

/* h + acc / 2^40 for four: the halves of acc become doubles by being put into
 * the low bits of 2^84 + 2^63 and 2^52; their one sum rounds. */
static inline __m128
fixed_finish4(__m128 h, const int64_t *acc)
{
	__m256i a = _mm256_loadu_si256((const void *)acc);
	__m256i hi = _mm256_xor_si256(_mm256_srli_epi64(a, 32), _mm256_castpd_si256(_mm256_set1_pd(0x1p84 + 0x1p63)));
	__m256i lo = _mm256_blend_epi32(a, _mm256_castpd_si256(_mm256_set1_pd(0x1p52)), 0xaa);
	__m256d v = _mm256_sub_pd(_mm256_castsi256_pd(hi), _mm256_set1_pd(0x1p84 + 0x1p63 + 0x1p52));

	v = _mm256_mul_pd(_mm256_add_pd(v, _mm256_castsi256_pd(lo)), _mm256_set1_pd(1 / FIXED_ONE));
	return _mm256_cvtpd_ps(_mm256_add_pd(_mm256_cvtps_pd(h), v));
}

/* acc[i] += c[i] in fixed point, for the W lanes of c. */
static inline void
r_fixed_add(int64_t *acc, reg c)
{
	fixed_add4(acc, _mm256_castps256_ps128(c));
	fixed_add4(acc + 4, _mm256_extractf128_ps(c, 1));
}

/* As r_fixed_add.  A sign is set in bad[0] where |c| is not below 2^18, of 32 bits, and in bad[1]
 * where a sum leaves -GRAD_MAX .. GRAD_MAX-1. */
static inline void
r_grad_add(int64_t *acc, reg c, bytes bad[2])
{
	const bytes most = _mm256_set1_epi32(0x487fffff), max = _mm256_set1_epi64x(GRAD_MAX);
	bytes a = fixed_add4(acc, _mm256_castps256_ps128(c));
	bytes b = fixed_add4(acc + 4, _mm256_extractf128_ps(c, 1));

	c = r_abs(c);
	bad[0] = _mm256_or_si256(bad[0], _mm256_sub_epi32(most, _mm256_castps_si256(c)));
	a = _mm256_or_si256(_mm256_add_epi64(a, max), _mm256_add_epi64(b, max));
	bad[1] = _mm256_or_si256(bad[1], a);
}

static inline int
r_grad_bad(const bytes bad[2])
{
	return _mm256_movemask_ps(_mm256_castsi256_ps(bad[0])) != 0 ||
	    _mm256_movemask_pd(_mm256_castsi256_pd(bad[1])) != 0;
}

/* h + acc / 2^40 */
static inline reg
r_fixed_finish(reg h, const int64_t *acc)
{
	return _mm256_set_m128(fixed_finish4(_mm256_extractf128_ps(h, 1), acc + 4),
	    fixed_finish4(_mm256_castps256_ps128(h), acc));
}

#include "cpu/bytes_avx2.h"

#endif
