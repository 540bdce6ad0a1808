/*
 * Sums over the rows of a page for gradients of weights, in plain C: this is what they mean.
 */
#include "cpu/cpu.h"

enum { COLUMNS = 16 };

/* sum[i] += dy[t] x[t][i] over the rows t, one after another. */
static CLONES void
outer_columns(float sum[COLUMNS], const float *dy, ptrdiff_t ldy, const float *x, ptrdiff_t ldx,
    int T, int n)
{
	float s[COLUMNS] = {0};

	for (int t = 0; t < T; t++)
		if (n == COLUMNS)
			for (int i = 0; i < COLUMNS; i++)
				s[i] = fmaf(dy[t * ldy], x[t * ldx + i], s[i]);
		else
			for (int i = 0; i < n; i++)
				s[i] = fmaf(dy[t * ldy], x[t * ldx + i], s[i]);
	memcpy(sum, s, sizeof(s));
}

static int
grad_outer(int64_t *acc, ptrdiff_t lda, const float *dy, ptrdiff_t ldy, int N, const float *x,
    ptrdiff_t ldx, int K, int T)
{
	float sum[COLUMNS];
	int bad = 0;

	for (int n = 0; n < N; n++)
		for (int k = 0; k < K; k += COLUMNS) {
			int m = K - k < COLUMNS ? K - k : COLUMNS;

			outer_columns(sum, dy + n, ldy, x + k, ldx, T, m);
			for (int i = 0; i < m; i++)
				if (!grad_add(&acc[n * lda + k + i], sum[i]))
					bad = -1;
		}
	return bad;
}

static int
grad_columns(int64_t *acc, const float *dy, ptrdiff_t ldy, const float *z, ptrdiff_t ldz, int T,
    int n)
{
	int bad = 0;

	for (int i = 0; i < n; i++) {
		float sum = 0;

		for (int t = 0; t < T; t++)
			sum = z ? fmaf(dy[t * ldy + i], z[t * ldz + i], sum) :
			    sum + dy[t * ldy + i];
		if (!grad_add(&acc[i], sum))
			bad = -1;
	}
	return bad;
}

void
grad_ref(struct kernels *k)
{
	k->grad_outer = grad_outer;
	k->grad_columns = grad_columns;
}
