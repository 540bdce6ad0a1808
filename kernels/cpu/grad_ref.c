/*
 * Sums over the rows of a page for gradients of weights, in plain C: this is what they mean.
 */
#include "cpu/cpu.h"

static int
grad_outer(int64_t *acc, ptrdiff_t lda, const float *dy, ptrdiff_t ldy, int N, const float *x,
    ptrdiff_t ldx, int K, int T)
{
	int bad = 0;

	for (int n = 0; n < N; n++)
		for (int k = 0; k < K; k++) {
			float sum = 0;

			for (int t = 0; t < T; t++)
				sum = fmaf(dy[t * ldy + n], x[t * ldx + k], sum);
			if (!grad_add(&acc[n * lda + k], sum))
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
