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

/* a b + c, rounded once; zero where that is subnormal if exponents went on below, as they do for
 * terms 2^64 times higher: so 2^-126 is only what is at least 2^-126 - 2^-151.  (Terms that overflow
 * there have no such sum: a and b have 8 bits.) */
static inline __attribute__((always_inline)) float
step(float a, float b, float c)
{
	float r = fmaf(a, b, c), higher = fmaf(a * 0x1p64f, b, c * 0x1p64f);

	return fabsf(r) <= LEAST && fabsf(higher) < LEAST * 0x1p64f ? copysignf(0, r) : r;
}

/* What is converted once for several sums: of rows of x, and of outputs. */
enum { TOKENS = 16, OUTPUTS = 16 };

/* Each of T sums + its n products, a multiple of 32: of each 32, those at even and those at odd
 * places apart. */
static inline __attribute__((always_inline)) void
steps(float sum[TOKENS], float x[][TOKENS], const float *w, int n, int T)
{
	for (int k = 0; k < n; k += BF16_STEP) {
		float even[TOKENS] = {0}, odd[TOKENS] = {0};

		for (int i = k; i < k + BF16_STEP; i += 2)
			for (int t = 0; t < T; t++) {
				even[t] = step(x[i][t], w[i], even[t]);
				odd[t] = step(x[i + 1][t], w[i + 1], odd[t]);
			}
		for (int t = 0; t < T; t++)
			sum[t] = flushed(sum[t] + flushed(even[t] + odd[t]));
	}
}

/* The elements from .. to-1 of row n, or of column n, filled up with zeros to whole steps. */
static inline __attribute__((always_inline)) void
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
static CLONES void
dots(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1, int transposed)
{
	float sum[OUTPUTS][TOKENS] = {{0}}, xs[BLOCK][TOKENS] = {{0}}, weight[BLOCK];
	int size = transposed ? w->rows : w->cols, f8 = w->dtype == F8_E4M3, end;

	for (int k = 0; k < size; k = end) {
		end = transposed && f8 ? mat_block_end(w, k, size) :
		    size - k < BLOCK ? size : k + BLOCK;
		for (int t = 0; t < T; t++) {
			struct mat row = {.data = x + t * ldx, .dtype = F32, .rows = 1,
			    .cols = size};

			elements(weight, &row, 0, k, end, 0);
			for (int i = 0; i < bf16_filled(end - k); i++)
				xs[i][t] = weight[i];
		}
		for (int n = n0; n < n1; n++) {
			float block[TOKENS] = {0}, *s = sum[n - n0];

			elements(weight, w, n, k, end, transposed);
			if (T == 1)     /* (as fast in vectors; with sanitizers there are none) */
				steps(f8 ? block : s, xs, weight, bf16_filled(end - k), 1);
			else
				steps(f8 ? block : s, xs, weight, bf16_filled(end - k), TOKENS);
			for (int t = 0; f8 && t < T; t++)
				s[t] = fmaf(transposed ? mat_scale(w, k, n) : mat_scale(w, n, k),
				    block[t], s[t]);
		}
	}
	for (int t = 0; t < T; t++)
		for (int n = n0; n < n1; n++)
			out[t * ldo + n] = canonical(sum[n - n0][t]);
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
