/*
 * Backward passes, in plain C: this is what they mean.
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
			sum = z ? fmaf(dy[t * ldy + i], z[t * ldz + i], sum) : sum + dy[t * ldy + i];
		if (!grad_add(&acc[i], sum))
			bad = -1;
	}
	return bad;
}

/* The lane sum of a[i] b[i], through the tree. */
static float
dot(const float *a, const float *b, int n)
{
	float lane[LANES] = {0};

	for (int k = 0; k < n; k += LANES)
		for (int i = 0; i < LANES; i++)
			lane[i] = i < n - k ? fmaf(a[k + i], b[k + i], lane[i]) : fmaf(0, 0, lane[i]);
	return tree(lane);
}

static void
rmsnorm_back(float *dx, float *xhat, const float *x, const float *weight, const float *dy, int n,
    float eps)
{
	float lane[LANES] = {0}, r = 1 / sqrtf(dot(x, x, n) / (float)n + eps), mean;

	for (int k = 0; k < n; k += LANES)
		for (int i = 0; i < LANES; i++) {
			float h = i < n - k ? x[k + i] * r : 0;

			lane[i] = fmaf(h, i < n - k ? weight[k + i] * dy[k + i] : 0, lane[i]);
		}
	mean = tree(lane) / (float)n;
	for (int i = 0; i < n; i++) {
		float h = x[i] * r, g = weight[i] * dy[i];

		xhat[i] = canonical(h);
		dx[i] = canonical(fmaf(-h, mean, g) * r);
	}
}

static void
softmax_back(float *dp, const float *p, int n, float scale)
{
	float sum = dot(p, dp, n);

	for (int i = 0; i < n; i++)
		dp[i] = canonical(p[i] * (dp[i] - sum) * scale);
}

static void
silu_back(float *gate, float *up, float *a, int n)
{
	for (int i = 0; i < n; i++) {
		float g = gate[i], u = up[i], da = a[i], e = 1 + exp_one(-g);
		float silu = g / e, sigmoid = 1 / e;

		gate[i] = canonical(da * u * fmaf(silu, 1 - sigmoid, sigmoid));
		up[i] = canonical(da * silu);
		a[i] = canonical(silu * u);
	}
}

void
grad_ref(struct kernels *k)
{
	k->grad_outer = grad_outer;
	k->grad_columns = grad_columns;
	k->rmsnorm_back = rmsnorm_back;
	k->softmax_back = softmax_back;
	k->silu_back = silu_back;
}
