/*
 * The products of bf16, in plain C: this is what they mean, and what Intel's TDPBF16PS does.
 */
#include "cpu/cpu.h"

#define LEAST 0x1p-126f                 /* of the normal numbers */

/* A number that is subnormal counts as zero. */
static float
flushed(float x)
{
	return fabsf(x) < LEAST ? copysignf(0, x) : x;
}

/* a b + c, rounded once; zero where that is subnormal if exponents went on below: so 2^-126 is only
 * what is at least 2^-126 - 2^-151. */
static float
step(float a, float b, float c)
{
	float r = fmaf(a, b, c);

	if (fabsf(r) == LEAST) {                                /* a b is exact, and so is the difference where it matters */
		double beyond = fma(a, b, c - copysign(0x1p-126 - 0x1p-151, r));

		if (r > 0 ? beyond < 0 : beyond > 0)
			return copysignf(0, r);
	}
	return flushed(r);
}

/* sum + the products of 32 pairs of numbers, those at even and those at odd places apart. */
static float
steps(float sum, const float x[BF16_STEP], const float w[BF16_STEP])
{
	float even = 0, odd = 0;

	for (int i = 0; i < BF16_STEP; i += 2) {
		even = step(x[i], w[i], even);
		odd = step(x[i + 1], w[i + 1], odd);
	}
	return flushed(sum + flushed(even + odd));
}

/* The sum over the indices from .. to-1: columns of row n, or rows of column n. */
static float
sum_of(const float *x, const struct mat *w, int n, int from, int to, int transposed)
{
	float sum = 0;

	for (int k = from; k < to; k += BF16_STEP) {
		float a[BF16_STEP] = {0}, b[BF16_STEP] = {0};

		for (int i = 0; i < BF16_STEP && k + i < to; i++) {
			a[i] = bf16_of_float(x[k + i]);
			b[i] = bf16_of_float(transposed ? mat_element(w, k + i, n) : mat_element(w, n, k + i));
		}
		sum = steps(sum, a, b);
	}
	return sum;
}

/* FP8: each block has a sum of its own. */
static float
dot(const float *x, const struct mat *w, int n, int transposed)
{
	int size = transposed ? w->rows : w->cols, end;
	float sum = 0;

	if (w->dtype != F8_E4M3)
		return sum_of(x, w, n, 0, size, transposed);
	for (int k = 0; k < size; k = end) {
		end = transposed ? mat_block_end(w, k, size) : size - k < BLOCK ? size : k + BLOCK;
		sum = fmaf(transposed ? mat_scale(w, k, n) : mat_scale(w, n, k), sum_of(x, w, n, k, end, transposed), sum);
	}
	return sum;
}

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	for (int t = 0; t < T; t++)
		for (int n = n0; n < n1; n++)
			out[t * ldo + n] = canonical(dot(x + t * ldx, w, n, 0));
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	for (int t = 0; t < T; t++)
		for (int c = c0; c < c1; c++)
			out[t * ldo + c] = canonical(dot(x + t * ldx, w, c, 1));
}

void
matmul_bf16_ref(struct kernels *k)
{
	k->matmul = matmul;
	k->matmul_t = matmul_t;
}
