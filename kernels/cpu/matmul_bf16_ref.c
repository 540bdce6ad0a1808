/*
 * The products of bf16, in plain C: this is what they mean, and what Intel's TDPBF16PS does.
 */
#include "cpu/cpu.h"

#define LEAST 0x1p-126f                 /* of the normal numbers */

/* A number that is subnormal counts as zero. */
static inline __attribute__((always_inline)) float
flushed(float x)
{
	return fabsf(x) < LEAST ? copysignf(0, x) : x;
}

/* a b + c, rounded once; zero where that is subnormal if exponents went on below: so 2^-126 is only
 * what is at least 2^-126 - 2^-151. */
static inline __attribute__((always_inline)) float
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

/* sum + n products, a multiple of 32: of each 32, those at even and those at odd places apart. */
static CLONES float
steps(float sum, const float *x, const float *w, int n)
{
	for (int k = 0; k < n; k += BF16_STEP) {
		float even = 0, odd = 0;

		for (int i = k; i < k + BF16_STEP; i += 2) {
			even = step(x[i], w[i], even);
			odd = step(x[i + 1], w[i + 1], odd);
		}
		sum = flushed(sum + flushed(even + odd));
	}
	return sum;
}

/* What is converted once for several sums: of rows of x, and of outputs. */
enum { TOKENS = 8, OUTPUTS = 16 };

/* The elements from .. to-1 of row n, or of column n, filled up with zeros to whole steps. */
static void
elements(float *out, const struct mat *w, int n, int from, int to, int transposed)
{
	if (!transposed)
		mat_elements(out, w, n, from, to - from);
	for (int i = from; i < to; i++)
		out[i - from] = bf16_of_float(transposed ? mat_element(w, i, n) : out[i - from]);
	for (int i = to; i < from + bf16_filled(to - from); i++)
		out[i - from] = 0;
}

/* The outputs n0 .. n1-1, at most OUTPUTS, of T rows of x: columns, or rows, are the terms.  In FP8
 * each block has a sum of its own. */
static void
dots(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1, int transposed)
{
	float sum[TOKENS][OUTPUTS] = {{0}}, xs[TOKENS][BLOCK], weight[BLOCK];
	int size = transposed ? w->rows : w->cols, f8 = w->dtype == F8_E4M3, end;

	for (int k = 0; k < size; k = end) {
		end = transposed && f8 ? mat_block_end(w, k, size) :
		    size - k < BLOCK ? size : k + BLOCK;
		for (int t = 0; t < T; t++) {
			struct mat row = {.data = x + t * ldx, .dtype = F32, .rows = 1,
			    .cols = size};

			elements(xs[t], &row, 0, k, end, 0);
		}
		for (int n = n0; n < n1; n++) {
			elements(weight, w, n, k, end, transposed);
			for (int t = 0; t < T; t++) {
				float part = steps(f8 ? 0 : sum[t][n - n0], xs[t], weight,
				    bf16_filled(end - k));

				sum[t][n - n0] = !f8 ? part : fmaf(transposed ? mat_scale(w, k, n) :
				    mat_scale(w, n, k), part, sum[t][n - n0]);
			}
		}
	}
	for (int t = 0; t < T; t++)
		for (int n = n0; n < n1; n++)
			out[t * ldo + n] = canonical(sum[t][n - n0]);
}

static void
products(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int n0, int n1, int transposed)
{
	for (int t = 0; t < T; t += TOKENS)
		for (int n = n0; n < n1; n += OUTPUTS)
			dots(out + t * ldo, ldo, x + t * ldx, ldx,
			    T - t < TOKENS ? T - t : TOKENS, w,
			    n, n1 - n < OUTPUTS ? n1 : n + OUTPUTS, transposed);
}

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	products(out, ldo, x, ldx, T, w, n0, n1, 0);
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	products(out, ldo, x, ldx, T, w, c0, c1, 1);
}

void
matmul_bf16_ref(struct kernels *k)
{
	k->matmul = matmul;
	k->matmul_t = matmul_t;
}
