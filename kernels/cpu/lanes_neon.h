/*
 * One register of NEON (Advanced SIMD of aarch64): 4 floats, a quarter of the lanes of a sum.
 * lanes_avx512.h says the same for AVX-512; *_lanes.h are written in these words.
 */
#ifndef DS_LANES_H
#define DS_LANES_H

#include <arm_neon.h>

#include "cpu/cpu.h"

#define KERNELS_ISA(name) name##_neon
/* in a register: compilers would load it for each use */
#define KEEP(r) __asm__("" : "+w"(r))

typedef float32x4_t reg;
typedef uint8x16_t bytes;

enum {
	W = 4,                  /* floats in a register */
	MR = 4, NR = 6,         /* matmul: many rows of x by rows of w summed in registers, */
	NS = 3,                 /* of w where blocks have sums of their own */
	LEVELS = 0,             /* Q4: scales whose levels are made ready: a register has too few */
	GEMV_ROWS = 6,          /* rows of x for which weights are not written down as float32 */
	TB = 6,                 /* matmul_t: rows of x in registers, */
	CB = 4                  /* by registers side by side */
};

/* As in lanes_avx2.h: twice as many registers, with half as many floats. */
#define GEMV_BESIDE(T) ((T) == 1 ? 4 : (T) <= 3 ? 2 : 1)
#define GEMV_HALF(T, t) (T)
#define EACH_GEMV(DO, t) DO(1, t); DO(2, t); DO(3, t); DO(4, t); DO(5, t); DO(6, t)
#define EACH_TB(DO) DO(1); DO(2); DO(3); DO(4); DO(5); DO(6)
#define EACH_MR(DO) DO(1); DO(2); DO(3); DO(4)

/* The first n of 4. */
static inline uint32x4_t
first(int n)
{
	static const int32_t order[4] = {0, 1, 2, 3};

	return vcltq_s32(vld1q_s32(order), vdupq_n_s32(n));
}

static inline reg r_zero(void) { return vdupq_n_f32(0); }
static inline reg r_set(float x) { return vdupq_n_f32(x); }
static inline reg r_load(const float *p) { return vld1q_f32(p); }
static inline void r_store(float *p, reg x) { vst1q_f32(p, x); }
static inline reg r_add(reg a, reg b) { return vaddq_f32(a, b); }
static inline reg r_sub(reg a, reg b) { return vsubq_f32(a, b); }
static inline reg r_mul(reg a, reg b) { return vmulq_f32(a, b); }
static inline reg r_div(reg a, reg b) { return vdivq_f32(a, b); }
static inline reg r_fma(reg a, reg b, reg c) { return vfmaq_f32(c, a, b); }
/* a > b ? a : b */
static inline reg r_max(reg a, reg b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline reg r_abs(reg x) { return vabsq_f32(x); }
static inline reg r_neg(reg x) { return vnegq_f32(x); }
static inline reg r_swap(reg x) { return vrev64q_f32(x); }                      /* within pairs */
static inline reg r_rint(reg x) { return vrndnq_f32(x); }

/* a b - c and a b + c, in turn. */
static inline reg
r_fmaddsub(reg a, reg b, reg c)
{
	const uint32x4_t sign = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000));

	c = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(c), sign));
	return vfmaq_f32(c, a, b);
}

/* p 2^n, by the exponent's bits. */
static inline reg
r_scale2(reg p, reg n)
{
	int32x4_t e = vshlq_n_s32(vcvtnq_s32_f32(n), 23);

	return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), e));
}

/* a > b ? yes : no */
static inline reg
r_above(reg a, reg b, reg yes, reg no)
{
	return vbslq_f32(vcgtq_f32(a, b), yes, no);
}

/* x, or the written kind of NaN where of is not a number. */
static inline reg
r_nan(reg x, reg of)
{
	return vbslq_f32(vceqq_f32(of, of), x, vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000)));
}

/* The first n lanes, +0 in the others; n may be anything. */
static inline reg
r_first(reg x, int n)
{
	return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), first(n)));
}

static inline reg
r_load_n(const float *p, int n)
{
	reg x = r_zero();

	if (n >= W)
		return vld1q_f32(p);
	if (n >= 2)
		x = vcombine_f32(vld1_f32(p), vdup_n_f32(0));
	if (n == 1)
		x = vld1q_lane_f32(p, x, 0);
	return n == 3 ? vld1q_lane_f32(p + 2, x, 2) : x;
}

static inline void
r_store_n(float *p, reg x, int n)
{
	if (n >= W)
		vst1q_f32(p, x);
	else if (n >= 2)
		vst1_f32(p, vget_low_f32(x));
	if (n == 1)
		vst1q_lane_f32(p, x, 0);
	if (n == 3)
		vst1q_lane_f32(p + 2, x, 2);
}

/* Each of n floats twice, for pairs. */
static inline reg
r_pairs_n(const float *p, int n)
{
	reg x = r_load_n(p, n < 2 ? n : 2);

	return vzip1q_f32(x, x);
}

/* n < W elements of the given size, then zeros. */
static inline uint8x8_t
some(const void *p, int n, int size)
{
	uint64_t v = 0;

	if (n > 0)
		memcpy(&v, p, (size_t)(n < W ? n : W) * (size_t)size);
	return vcreate_u8(v);
}

static inline uint8x8_t
four_bytes(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return vcreate_u8(v);
}

static inline reg
of_bf16(uint8x8_t h)
{
	return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(h), 16));
}

static inline reg of_f16(uint8x8_t h) { return vcvt_f32_f16(vreinterpret_f16_u8(h)); }

/* As halves, E4M3 are 256 times too small; 0x7f and 0xff are not numbers. */
static inline float16x8_t
halves_f8(uint8x8_t b)
{
	int16x8_t h = vshlq_n_s16(vmovl_s8(vreinterpret_s8_u8(b)), 7);

	return vreinterpretq_f16_s16(vandq_s16(h, vdupq_n_s16((short)0xbfff)));
}

static inline reg
of_f8(uint8x8_t b)
{
	uint8x8_t nan = vceq_u8(vorr_u8(b, vdup_n_u8(0x80)), vdup_n_u8(0xff));
	int32x4_t mask = vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(nan))));
	reg x = vmulq_f32(vcvt_f32_f16(vget_low_f16(halves_f8(b))), vdupq_n_f32(256));

	return vbslq_f32(vreinterpretq_u32_s32(mask),
	    vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000)), x);
}

static inline reg r_load_bf16(const void *p) { return of_bf16(vld1_u8(p)); }
static inline reg r_load_f16(const void *p) { return of_f16(vld1_u8(p)); }
static inline reg r_load_f8(const void *p) { return of_f8(four_bytes(p)); }
static inline reg r_load_bf16_n(const void *p, int n) { return of_bf16(some(p, n, 2)); }
static inline reg r_load_f16_n(const void *p, int n) { return of_f16(some(p, n, 2)); }
static inline reg r_load_f8_n(const void *p, int n) { return of_f8(some(p, n, 1)); }

/* 8 of FP8, 256 times too small, what is not a number unmarked. */
static inline void
r_load2_f8(const void *p, reg *a, reg *b)
{
	float16x8_t h = halves_f8(vld1_u8(p));

	*a = vcvt_f32_f16(vget_low_f16(h));
	*b = vcvt_high_f32_f16(h);
}

/* W codes of Q8, and 32 of Q4. */
static inline reg
of_i8(uint8x8_t b)
{
	return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(b)))));
}

static inline void
of_16_i8(reg to[4], int8x16_t b)
{
	int16x8_t low = vmovl_s8(vget_low_s8(b)), high = vmovl_high_s8(b);

	to[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
	to[1] = vcvtq_f32_s32(vmovl_high_s16(low));
	to[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
	to[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

static inline reg r_load_q8(const void *p) { return of_i8(four_bytes(p)); }
static inline reg r_load_q8_n(const void *p, int n) { return of_i8(some(p, n, 1)); }

static inline void
r_load32_q4(const void *p, reg to[8])
{
	const int8x16_t levels = vld1q_s8(quant_levels);
	uint8x16_t b = vld1q_u8(p);

	of_16_i8(to, vqtbl1q_s8(levels, vandq_u8(b, vdupq_n_u8(15))));
	of_16_i8(to + 4, vqtbl1q_s8(levels, vshrq_n_u8(b, 4)));
}

/* LEVELS is 0: it is never called. */
static inline void
r_load32_q4_of(const void *p, const reg *a, const reg *b, reg to[8])
{
	(void)a, (void)b;
	r_load32_q4(p, to);
}

/* Bit 7 of some byte of b is set where one of those seen is no number in FP8:
 * in 0x7f and 0xff alone, adding 1 turns it over. */
static inline bytes b_zero(void) { return vdupq_n_u8(0); }
static inline int b_nan(bytes b) { return vmaxvq_u8(b) >= 0x80; }

static inline bytes
b_see(bytes b, const unsigned char *p, int n)
{
	unsigned char v[64] = {0};

	if (n < 64)
		p = memcpy(v, p, (size_t)n);
	for (int i = 0; i < 64; i += 16) {
		bytes s = vld1q_u8(p + i);

		b = vorrq_u8(b, veorq_u8(s, vaddq_u8(s, vdupq_n_u8(1))));
	}
	return b;
}

/* The lanes of two sums halved and halved again, so that each has two left. */
static inline reg
two_trees(const reg a[4], const reg b[4])
{
	float64x2_t x = vreinterpretq_f64_f32(r_add(r_add(a[0], a[2]), r_add(a[1], a[3])));
	float64x2_t y = vreinterpretq_f64_f32(r_add(r_add(b[0], b[2]), r_add(b[1], b[3])));

	return r_add(vreinterpretq_f32_f64(vtrn1q_f64(x, y)),
	    vreinterpretq_f32_f64(vtrn2q_f64(x, y)));
}

/* to = the trees of 16 sums. */
static inline void
r_tree16(reg to[4], reg s[16][4])
{
	_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++, s += 4)
		to[i] = vpaddq_f32(two_trees(s[0], s[1]), two_trees(s[2], s[3]));
}

/* Two contributions to acc: the sums. */
static inline int64x2_t
fixed_add2(int64_t *acc, float64x2_t c)
{
	int64x2_t sum = vcvtnq_s64_f64(vmulq_f64(c, vdupq_n_f64(FIXED_ONE)));

	sum = vaddq_s64(vld1q_s64(acc), sum);
	vst1q_s64(acc, sum);
	return sum;
}

/* acc[i] += c[i] in fixed point, for the W lanes of c. */
static inline void
r_fixed_add(int64_t *acc, reg c)
{
	fixed_add2(acc, vcvt_f64_f32(vget_low_f32(c)));
	fixed_add2(acc + 2, vcvt_high_f64_f32(c));
}

/* As r_fixed_add.  A sign is set in bad[0] where |c| is not below 2^18, of 32 bits, and in bad[1]
 * where a sum leaves -GRAD_MAX .. GRAD_MAX-1. */
static inline void
r_grad_add(int64_t *acc, reg c, bytes bad[2])
{
	const int32x4_t most = vdupq_n_s32(0x487fffff);
	const int64x2_t max = vdupq_n_s64(GRAD_MAX);
	int64x2_t a = fixed_add2(acc, vcvt_f64_f32(vget_low_f32(c)));
	int64x2_t b = fixed_add2(acc + 2, vcvt_high_f64_f32(c));
	int32x4_t left = vsubq_s32(most, vreinterpretq_s32_f32(r_abs(c)));

	bad[0] = vorrq_u8(bad[0], vreinterpretq_u8_s32(left));
	a = vorrq_s64(vaddq_s64(a, max), vaddq_s64(b, max));
	bad[1] = vorrq_u8(bad[1], vreinterpretq_u8_s64(a));
}

static inline int
r_grad_bad(const bytes bad[2])
{
	int64x2_t sums = vreinterpretq_s64_u8(bad[1]);

	return vminvq_s32(vreinterpretq_s32_u8(bad[0])) < 0 ||
	    (vgetq_lane_s64(sums, 0) | vgetq_lane_s64(sums, 1)) < 0;
}

/* h + acc / 2^40 */
static inline reg
r_fixed_finish(reg h, const int64_t *acc)
{
	const float64x2_t one = vdupq_n_f64(1 / FIXED_ONE);
	float64x2_t a = vmulq_f64(vcvtq_f64_s64(vld1q_s64(acc)), one);
	float64x2_t b = vmulq_f64(vcvtq_f64_s64(vld1q_s64(acc + 2)), one);

	a = vaddq_f64(vcvt_f64_f32(vget_low_f32(h)), a);
	b = vaddq_f64(vcvt_high_f64_f32(h), b);
	return vcvt_high_f32_f64(vcvt_f32_f64(a), b);
}

#include "cpu/bytes_neon.h"

#endif
