/*
 * What the kernels of all instruction sets share: the arithmetic of one element, in plain C.
 * ds-arithmetic(7) is the contract.  This is C and C++, since the GPU's kernels (cuda/) include it
 * too.
 */
#ifndef DS_CPU_H
#define DS_CPU_H

#include <math.h>
#include <string.h>

#include "kernels.h"

#ifdef __CUDACC__
#define EVERYWHERE static __host__ __device__ __forceinline__
#else
#define EVERYWHERE static inline
#endif

enum { LANES = 16, BLOCK = FP8_BLOCK, BF16_STEP = 32 };    /* lanes of a sum; side of an FP8 block; products in a step of bf16 */

/* Each fills in the functions that it has; the _ref ones together have all.  The products of bf16
 * replace those of f32. */
void matmul_ref(struct kernels *k);
void matmul_bf16_ref(struct kernels *k);
void matmul_bf16_avx2(struct kernels *k);
void matmul_bf16_avx512(struct kernels *k);
void matmul_bf16_amx(struct kernels *k);
void vector_ref(struct kernels *k);
void quantize_ref(struct kernels *k);
void grad_ref(struct kernels *k);
void matmul_avx2(struct kernels *k);
void vector_avx2(struct kernels *k);
void quantize_avx2(struct kernels *k);
void grad_avx2(struct kernels *k);
void matmul_avx512(struct kernels *k);
void matmul_vbmi(struct kernels *k);
void vector_avx512(struct kernels *k);
void quantize_avx512(struct kernels *k);
void grad_avx512(struct kernels *k);
void matmul_neon(struct kernels *k);
void matmul_bf16_neon(struct kernels *k);
void vector_neon(struct kernels *k);
void grad_neon(struct kernels *k);

/* Compiled twice on x86-64, where fmaf is an instruction only if the processor has it. */
#ifdef __x86_64__
#define CLONES __attribute__((target_clones("fma", "default")))
#else
#define CLONES
#endif

/* exp: where it leaves the normal numbers, log2(e), ln 2 in two parts, and the
 * polynomial (e^r - 1 - r) / r^2, lowest power first. */
#define EXP_MAX 0x1.62e42ep+6f          /* the largest x whose exp is finite */
#define EXP_MIN -0x1.5d589ep+6f         /* the smallest x whose exp is a normal number */
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HI 0x1.62e430p-1f
#define EXP_LN2_LO -0x1.05c610p-29f
#define EXP_C0 0x1.000000p-1f
#define EXP_C1 0x1.5554dcp-3f
#define EXP_C2 0x1.55551ap-5f
#define EXP_C3 0x1.120b7ep-7f
#define EXP_C4 0x1.6d1118p-10f

#define FIXED_MAX 0x1p18f               /* contributions stay below */
#define FIXED_ONE 0x1p40
#define GRAD_MAX ((int64_t)1 << 62)     /* sums of gradients stay below */

/* (A union, since ASan protects a variable that memcpy writes, for each call that is inlined.) */
EVERYWHERE float
float_of_bits(uint32_t bits)
{
	union { uint32_t bits; float x; } u = {bits};

	return u.x;
}

EVERYWHERE uint32_t
bits_of_float(float x)
{
	union { float x; uint32_t bits; } u = {x};

	return u.bits;
}

/* x, every kind of NaN made the one that is written. */
EVERYWHERE float
canonical(float x)
{
	return x != x ? float_of_bits(0x7fc00000) : x;
}

EVERYWHERE float
float_of_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
	float x;

	if (e == 31)
		return float_of_bits(sign | 0x7f800000 | m << 13);
	x = e ? float_of_bits((e + 112) << 23 | m << 13) : (float)m * 0x1p-24f;
	return float_of_bits(sign | bits_of_float(x));
}

/* The nearest BF16, ties to even; what is subnormal is a zero, and a NaN stays one. */
EVERYWHERE float
bf16_of_float(float x)
{
	uint32_t b = bits_of_float(x);

	if ((b & 0x7f800000) == 0)
		return float_of_bits(b & 0x80000000);
	return x != x ? canonical(x) : float_of_bits((b + 0x7fff + (b >> 16 & 1)) & 0xffff0000);
}

/* E4M3 "fn": no infinities, exponent bias 7, 0x7f and 0xff are not numbers. */
EVERYWHERE float
float_of_f8(uint8_t b)
{
	uint32_t sign = (uint32_t)(b & 0x80) << 24, e = b >> 3 & 15, m = b & 7;
	float x;

	if ((b & 0x7f) == 0x7f)
		return float_of_bits(0x7fc00000);
	x = e ? float_of_bits((e + 120) << 23 | m << 20) : (float)m * 0x1p-9f;
	return float_of_bits(sign | bits_of_float(x));
}

/* The nearest E4M3 of |x| <= 448, ties to even; what is not a finite number becomes a NaN. */
EVERYWHERE uint8_t
f8_of_float(float x)
{
	uint32_t b = bits_of_float(x), sign = b >> 24 & 0x80, a = b & 0x7fffffff;

	if (a >= 0x7f800000)
		return (uint8_t)(sign | 0x7f);
	if (a < 0x3c800000)             /* below 2^-6: a multiple of 2^-9 */
		return (uint8_t)(sign | (uint32_t)rintf(float_of_bits(a) * 0x1p9f));
	return (uint8_t)(sign | (((a + 0x7ffff + (a >> 20 & 1)) >> 20) - (120 << 3)));
}

/* The least power of two, 2^-126 at least, by which a number up to `most` is at most 448 E4M3. */
EVERYWHERE float
f8_scale(float most)
{
	uint32_t e = (bits_of_float(most) + 0x1fffff) >> 23;    /* one more where it is above 1.75 of its power of two */

	return float_of_bits((e > 9 ? e - 8 : 1) << 23);
}

/* The end of every sum of products or over a vector: 16 lanes to one. */
EVERYWHERE float
tree(const float l[LANES])
{
	float s8[8], s4[4];

	for (int i = 0; i < 8; i++)
		s8[i] = l[i] + l[i + 8];
	for (int i = 0; i < 4; i++)
		s4[i] = s8[i] + s8[i + 4];
	return (s4[0] + s4[2]) + (s4[1] + s4[3]);
}

/* exp, within 1 ulp: x = n ln 2 + r, a polynomial in r, times 2^n. */
EVERYWHERE float
exp_one(float x)
{
	float n, r, p;

	if (x > EXP_MAX)
		return INFINITY;
	if (x < EXP_MIN)
		return 0;
	if (x != x)
		return canonical(x);
	n = rintf(x * EXP_LOG2E);
	r = fmaf(n, -EXP_LN2_LO, fmaf(n, -EXP_LN2_HI, x));
	p = fmaf(EXP_C4, r, EXP_C3);
	p = fmaf(p, r, EXP_C2);
	p = fmaf(p, r, EXP_C1);
	p = fmaf(p, r, EXP_C0);
	p = fmaf(p, r * r, r) + 1;
	return float_of_bits(bits_of_float(p) + ((uint32_t)(int)n << 23));      /* p 2^n */
}

/* silu(gate) up */
EVERYWHERE float
silu_mul_one(float gate, float up)
{
	return canonical(gate / (1 + exp_one(-gate)) * up);
}

/* What the contribution c adds to a sum in fixed point; 0 where it is refused. */
EVERYWHERE int
fixed_of_float(float c, int64_t *term)
{
	if (!(fabsf(c) < FIXED_MAX))
		return 0;
	*term = llrint((double)c * FIXED_ONE);
	return 1;
}

/* *acc += the contribution c of a page to a gradient; 0 where it or the sum is refused. */
EVERYWHERE int
grad_add(int64_t *acc, float c)
{
	int64_t term;

	if (!fixed_of_float(c, &term))
		return 0;
	*acc = (int64_t)((uint64_t)*acc + (uint64_t)term);
	return *acc >= -GRAD_MAX && *acc < GRAD_MAX;
}

/* CALL(t) for the dtype t of a matrix, which is a constant in each CALL. */
#define WITH_DTYPE(t, CALL) do { \
	switch (t) { \
	case F32: CALL(F32); break; \
	case BF16: CALL(BF16); break; \
	case F16: CALL(F16); break; \
	case Q8: CALL(Q8); break; \
	case Q4: CALL(Q4); break; \
	default: CALL(F8_E4M3); \
	} \
} while (0)

/* A block type of GGUF. */
EVERYWHERE int
is_block(enum dtype t)
{
	return t > Q4;
}

/* Bytes of an element; 0 where several share bytes. */
EVERYWHERE size_t
element_bytes(enum dtype t)
{
	switch (t) {
	case F32:
	case I32:
		return 4;
	case BF16:
	case F16:
		return 2;
	case I64:
		return 8;
	default:
		return t < Q4;
	}
}

/* Bytes of a row. */
EVERYWHERE size_t
row_bytes(enum dtype t, int cols)
{
	switch (t) {
	case Q4:
		return ((size_t)cols + 31) / 32 * 16;
#define CASE(name, type, in, bytes) case name: return (size_t)cols / in * bytes;
	EACH_BLOCK_TYPE(CASE)
#undef CASE
	default:
		return (size_t)cols * element_bytes(t);
	}
}

/* The scale of the element (row, col); 1 where the matrix has none. */
EVERYWHERE float
mat_scale(const struct mat *w, int row, int col)
{
	size_t r = ((size_t)w->row0 + (size_t)row) / BLOCK;

	return w->scale ? w->scale[r * (size_t)w->scale_cols + (size_t)col / BLOCK] : 1;
}

/* The first element of a row, as bytes. */
EVERYWHERE const unsigned char *
mat_at(const struct mat *w, int row)
{
	return (const unsigned char *)w->data + (size_t)row * row_bytes(w->dtype, w->cols);
}

/* The groups of a row, in Q8 and Q4. */
EVERYWHERE size_t
mat_groups(const struct mat *w)
{
	return ((size_t)w->cols + QUANT_GROUP - 1) / QUANT_GROUP;
}

/* The scale of column `col` of Q8 or Q4. */
EVERYWHERE float
mat_quant_scale(const struct mat *w, int row, int col)
{
	size_t g = (size_t)row * mat_groups(w) + (size_t)col / QUANT_GROUP;

	return float_of_f8(w->groups[g]) * w->factor;
}

/* Its code. */
EVERYWHERE int
mat_quant_code(const struct mat *w, int row, int col)
{
	static const signed char levels[16] = { QUANT_LEVELS };
	const unsigned char *p = mat_at(w, row);
	int half = w->dtype == Q4 ? p[col / 32 * 16 + col % 16] >> (col / 16 % 2 * 4) & 15 : 0;

	return w->dtype == Q4 ? levels[half] : (signed char)p[col];
}

/* An element: the product is exact but where it leaves the range of float32. */
EVERYWHERE float
mat_quant(const struct mat *w, int row, int col)
{
	return (float)mat_quant_code(w, row, col) * mat_quant_scale(w, row, col);
}

#ifndef __CUDACC__
#include "cpu/blocks.h"
#endif

/* The row of data that has the model's row r. */
static inline int
mat_zipped(const struct mat *w, int r)
{
	int half = w->zipped / 2, i = w->zipped ? r % w->zipped : 0;

	return w->zipped ? r - i + (i < half ? 2 * i : 2 * (i - half) + 1) : r;
}

/* Of a turned matrix, the rows of data of the head that has row r: [cols][turned]. */
static inline struct mat
mat_turned(const struct mat *w, int r)
{
	struct mat m = *w;

	m.data = (const unsigned char *)w->data +
	    (size_t)(r / w->turned) * (size_t)w->cols * row_bytes(w->dtype, w->turned);
	m.rows = w->cols;
	m.cols = w->turned;
	m.turned = 0;
	return m;
}

/* An element as float32; the scale of FP8 is not applied.  Not of a turned matrix; GPUs have no
 * block types. */
EVERYWHERE float
mat_plain(const struct mat *w, int r, int k)
{
	const unsigned char *row = mat_at(w, r);
	uint16_t h;
	float x;

	switch (w->dtype) {
	case F32:
		memcpy(&x, row + (size_t)k * 4, 4);
		return x;
	case BF16:
		memcpy(&h, row + (size_t)k * 2, 2);
		return float_of_bits((uint32_t)h << 16);
	case F16:
		memcpy(&h, row + (size_t)k * 2, 2);
		return float_of_f16(h);
	case Q8:
	case Q4:
		return mat_quant(w, r, k);
	case F8_E4M3:
		return float_of_f8(row[k]);
	default:
#ifndef __CUDACC__
		return block_element(w->dtype, row, k);
#else
		return 0;
#endif
	}
}

/* The same of any matrix. */
EVERYWHERE float
mat_element(const struct mat *w, int r, int k)
{
#ifndef __CUDACC__
	if (w->turned) {
		struct mat m = mat_turned(w, r);

		return mat_plain(&m, k, r % w->turned);
	}
#endif
	return mat_plain(w, r, k);
}

/* n elements of row r from column k on. */
static inline void
mat_elements(float *to, const struct mat *w, int r, int k, int n)
{
	const unsigned char *row = mat_at(w, r);
	enum dtype t = w->turned ? DTYPES_ALL : w->dtype;       /* (one by one) */
	uint16_t h;

	if (t == F32)
		memcpy(to, row + (size_t)k * 4, (size_t)n * 4);
	else if (t == BF16)
		for (int i = 0; i < n; i++) {
			memcpy(&h, row + (size_t)(k + i) * 2, 2);
			to[i] = float_of_bits((uint32_t)h << 16);
		}
	else if (t == F8_E4M3)
		for (int i = 0; i < n; i++)
			to[i] = float_of_f8(row[k + i]);
	else
		for (int i = 0; i < n; i++)
			to[i] = mat_element(w, r, k + i);
}

/* n filled up to whole steps of bf16. */
EVERYWHERE int
bf16_filled(int n)
{
	return (n + BF16_STEP - 1) / BF16_STEP * BF16_STEP;
}

/* The end, at most `to`, of the rows from r that share a scale. */
EVERYWHERE int
mat_block_end(const struct mat *w, int r, int to)
{
	int left = BLOCK - (int)(((size_t)w->row0 + (size_t)r) % BLOCK);

	return to - r < left ? to : r + left;
}

#endif
