/*
 * The products in plain C: their specification.
 */
#include "cpu/cpu.h"

/* Rows of x at a time: each weight is converted once for all of them; and columns of w. */
enum { TOKENS = 32, COLUMNS = 16 };

/* lane[i] += w[k] x[k] over k = i, i+16, ... < n; every lane has equally many terms, and those from
 * n on are 0 times 0. */
static inline __attribute__((always_inline)) void
lanes_of(float lane[LANES], const float *x, const float *w, int n)
{
	int k;

	for (k = 0; k + LANES <= n; k += LANES)
		for (int i = 0; i < LANES; i++)
			lane[i] = fmaf(w[k + i], x[k + i], lane[i]);
	for (int i = 0; k < n && i < LANES; i++)
		lane[i] = i < n - k ? fmaf(w[k + i], x[k + i], lane[i]) : fmaf(0, 0, lane[i]);
}

/* The output n of T rows of x. */
CLONES static void
dots(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n)
{
	float sum[TOKENS][LANES] = {{0}}, weight[BLOCK], block[LANES];

	for (int k = 0; k < w->cols; k += BLOCK) {
		int m = w->cols - k < BLOCK ? w->cols - k : BLOCK;

		mat_elements(weight, w, n, k, m);
		for (int t = 0; t < T; t++) {
			if (w->dtype != F8_E4M3) {
				lanes_of(sum[t], x + t * ldx + k, weight, m);
				continue;
			}
			memset(block, 0, sizeof(block));
			lanes_of(block, x + t * ldx + k, weight, m);
			for (int i = 0; i < LANES; i++)
				sum[t][i] = fmaf(mat_scale(w, n, k), block[i], sum[t][i]);
		}
	}
	for (int t = 0; t < T; t++)
		out[t * ldo + n] = canonical(tree(sum[t]));
}

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1)
{
	for (int t = 0; t < T; t += TOKENS)
		for (int n = n0; n < n1; n++)
			dots(out + t * ldo, ldo, x + t * ldx, ldx,
			    T - t < TOKENS ? T - t : TOKENS, w, n);
}

/* Each sum + its terms w[i][] x[i], i < n, one after another. */
static inline __attribute__((always_inline)) void
chains(float sum[COLUMNS], const float *x, float w[][COLUMNS], int n)
{
	float s[COLUMNS];

	memcpy(s, sum, sizeof(s));
	for (int i = 0; i < n; i++)
		for (int c = 0; c < COLUMNS; c++)
			s[c] = fmaf(w[i][c], x[i], s[c]);
	memcpy(sum, s, sizeof(s));
}

/* Down n columns from c on, for T rows of x; in FP8, each block of rows is a chain of its own. */
CLONES static void
columns(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int c, int n)
{
	float sum[TOKENS][COLUMNS] = {{0}}, weight[BLOCK][COLUMNS] = {{0}}, block[COLUMNS];
	int end;

	for (int r = 0; r < w->rows; r = end) {
		end = mat_block_end(w, r, w->rows);
		for (int i = r; i < end; i++)
			mat_elements(weight[i - r], w, i, c, n);
		for (int t = 0; t < T; t++) {
			if (w->dtype != F8_E4M3) {
				chains(sum[t], x + t * ldx + r, weight, end - r);
				continue;
			}
			memset(block, 0, sizeof(block));
			chains(block, x + t * ldx + r, weight, end - r);
			for (int i = 0; i < n; i++)
				sum[t][i] = fmaf(mat_scale(w, r, c + i), block[i], sum[t][i]);
		}
	}
	for (int t = 0; t < T; t++)
		for (int i = 0; i < n; i++)
			out[t * ldo + c + i] = canonical(sum[t][i]);
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int c0, int c1)
{
	for (int t = 0; t < T; t += TOKENS)
		for (int c = c0; c < c1; c += COLUMNS)
			columns(out + t * ldo, ldo, x + t * ldx, ldx,
			    T - t < TOKENS ? T - t : TOKENS, w, c,
			    c1 - c < COLUMNS ? c1 - c : COLUMNS);
}

static void
row(float *out, const struct mat *w, int r)
{
	r = mat_zipped(w, r);
	for (int i = 0; i < w->cols; i++) {
		out[i] = mat_element(w, r, i);
		if (w->dtype == F8_E4M3)
			out[i] *= mat_scale(w, r, i);
		out[i] = canonical(out[i]);
	}
}

void
matmul_ref(struct kernels *k)
{
	k->matmul = matmul;
	k->matmul_t = matmul_t;
	k->row = row;
}
