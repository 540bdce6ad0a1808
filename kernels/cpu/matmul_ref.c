/*
 * The products in plain C: their specification.
 */
#include "cpu/cpu.h"

/* lane[i] = the sum of x[k] w[k] over k = from+i, from+i+16, ...; every lane has equally many
 * terms, and from `to` on they are 0 times 0. */
static void
lanes_of(float lane[LANES], const float *x, const struct mat *w, int n, int from, int to)
{
	memset(lane, 0, LANES * sizeof(*lane));
	for (int k = from; k < to; k += LANES)
		for (int i = 0; i < LANES; i++)
			lane[i] = i < to - k ? fmaf(mat_element(w, n, k + i), x[k + i], lane[i]) :
			    fmaf(0, 0, lane[i]);
}

static float
dot(const float *x, const struct mat *w, int n)
{
	float sum[LANES] = {0}, block[LANES];

	if (w->dtype != F8_E4M3) {
		lanes_of(sum, x, w, n, 0, w->cols);
		return tree(sum);
	}
	for (int k = 0; k < w->cols; k += BLOCK) {
		lanes_of(block, x, w, n, k, w->cols - k < BLOCK ? w->cols : k + BLOCK);
		for (int i = 0; i < LANES; i++)
			sum[i] = fmaf(mat_scale(w, n, k), block[i], sum[i]);
	}
	return tree(sum);
}

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	for (int t = 0; t < T; t++)
		for (int n = n0; n < n1; n++)
			out[t * ldo + n] = canonical(dot(x + t * ldx, w, n));
}

/* Down the column c; in FP8, each block of rows is a chain of its own. */
static float
chain(const float *x, const struct mat *w, int c)
{
	float sum = 0, block;
	int end;

	for (int r = 0; r < w->rows; r = end) {
		end = w->dtype == F8_E4M3 ? mat_block_end(w, r, w->rows) : w->rows;
		block = 0;
		for (int i = r; i < end; i++)
			block = fmaf(mat_element(w, i, c), x[i], block);
		sum = w->dtype == F8_E4M3 ? fmaf(mat_scale(w, r, c), block, sum) : block;
	}
	return sum;
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	for (int t = 0; t < T; t++)
		for (int c = c0; c < c1; c++)
			out[t * ldo + c] = canonical(chain(x + t * ldx, w, c));
}

static void
row(float *out, const struct mat *w, int r)
{
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
