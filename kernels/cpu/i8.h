/*
 * What the products of i8 are made of, in plain C: ds-arithmetic(7), <i8>, is the contract.  Rows
 * of x become integers of 8 bits with a scale for each 32 columns.  Weights are integers already.
 */
#ifndef DS_I8_H
#define DS_I8_H

#include "cpu/cpu.h"

/* Columns of x that share a scale, lanes of a sum, the largest code of x. */
enum { I8_GROUP = 32, I8_LANES = 4, I8_MOST = 127 };

#define I8_LEAST 0x1p-100f              /* a group of smaller numbers counts as zeros */

/* A product as in struct kernels, for weights that have a width (i8_width). */
typedef void i8_product(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, int n0, int n1);

/* The product of an instruction set that is fastest on this machine, which runs the set; NULL: the
 * machine lacks what it needs, and the set below is used. */
i8_product *i8_ref(void);
i8_product *i8_avx2(void);
i8_product *i8_vnni_avx2(void);        /* (i8_avx2 looks for AVX-VNNI) */
i8_product *i8_avx512(void);
i8_product *i8_amx(void);
i8_product *i8_neon(void);
i8_product *i8_dot(void);
i8_product *i8_i8mm(void);

/* The codes of n <= I8_GROUP numbers, filled up with zeros, and their scale. */
static inline float
i8_round(signed char code[I8_GROUP], const float *x, int n)
{
	float most = 0, inverse;
	int finite = 1;

	memset(code, 0, I8_GROUP);
	for (int i = 0; i < n; i++) {
		finite &= fabsf(x[i]) < INFINITY;
		most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
	}
	if (!finite)
		return float_of_bits(0x7fc00000);
	if (most < I8_LEAST)
		return 0;
	inverse = I8_MOST / most;
	for (int i = 0; i < n; i++)
		code[i] = (signed char)rintf(x[i] * inverse);
	return most / I8_MOST;
}

/* Columns of a matrix that share a scale; 0: products of i8 do not have the type. */
static inline int
i8_width(enum dtype t)
{
	switch (t) {
	case Q8:
	case Q4:
		return QUANT_GROUP;
#define CASE(name, shared, scale, minimum) case name: return shared;
	EACH_CODED_BLOCK(CASE)
#undef CASE
	default:
		return 0;
	}
}

/* Groups of a row that share a scale. */
static inline int
i8_groups(const struct mat *w)
{
	return (w->cols + i8_width(w->dtype) - 1) / i8_width(w->dtype);
}

static inline int
i8_has_minimum(enum dtype t)
{
	return t == Q4_K || t == Q5_K;
}

/* The scale and minimum of group g of row n: a weight is code * scale - minimum. */
static inline struct block_coded
i8_coded(const struct mat *w, int n, int g)
{
	if (is_block(w->dtype))
		return block_coded(w->dtype, mat_at(w, n), g * i8_width(w->dtype));
	return (struct block_coded){mat_quant_scale(w, n, g * QUANT_GROUP), 0};
}

/* The code of column k of row n. */
static inline int
i8_code(const struct mat *w, int n, int k)
{
	return is_block(w->dtype) ? block_code(w->dtype, mat_at(w, n), k) : mat_quant_code(w, n, k);
}

/* The end of every sum: a zero is +0. */
static inline float
i8_sum(const float l[I8_LANES])
{
	return canonical((l[0] + l[2]) + (l[1] + l[3]) + 0);
}

#endif
