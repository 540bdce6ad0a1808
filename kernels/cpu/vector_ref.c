/*
 * Norms, softmax and what else goes over a vector once, in plain C: this is
 * what they mean.
 */
#include "cpu/fixed_exp.h"

static void
exp_all(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = exp_one(x[i]);
}

/* The lane sum of a[i] b[i], through the tree. */
static float
dot(const float *a, const float *b, int n)
{
	float lane[LANES] = {0};

	for (int k = 0; k < n; k += LANES)
		for (int i = 0; i < LANES; i++)
			lane[i] = i < n - k ? fmaf(a[k + i], b[k + i], lane[i]) :
			    fmaf(0, 0, lane[i]);
	return tree(lane);
}

static void
rmsnorm(float *out, const float *x, const float *weight, int n, float eps)
{
	float r = 1 / sqrtf(dot(x, x, n) / (float)n + eps);

	for (int i = 0; i < n; i++)
		out[i] = canonical(x[i] * r * weight[i]);
}

static void
layernorm(float *out, const float *x, const float *weight, const float *bias, int n, float eps)
{
	float lane[LANES] = {0}, square[LANES] = {0}, mean, r;

	for (int k = 0; k < n; k += LANES)
		for (int i = 0; i < LANES; i++)
			lane[i] += i < n - k ? x[k + i] : 0;
	mean = tree(lane) / (float)n;
	for (int k = 0; k < n; k += LANES)
		for (int i = 0; i < LANES; i++) {
			float d = i < n - k ? x[k + i] - mean : 0;

			square[i] = fmaf(d, d, square[i]);
		}
	r = 1 / sqrtf(tree(square) / (float)n + eps);
	for (int i = 0; i < n; i++)
		out[i] = canonical(fmaf((x[i] - mean) * r, weight[i], bias[i]));
}

static void
index_scores(float *out, const float *p, ptrdiff_t ldp, const float *weight, int H, int n)
{
	for (int i = 0; i < n; i++) {
		float sum = 0;

		for (int h = 0; h < H; h++) {
			float v = p[h * ldp + i];

			sum = fmaf(weight[h], v > 0 ? v : 0, sum);
		}
		out[i] = canonical(sum);
	}
}

static void
rope(float *x, const float *cosine, const float *sine, int half)
{
	for (int i = 0; i < half; i++) {
		float a = x[2 * i], b = x[2 * i + 1];

		x[2 * i] = canonical(fmaf(a, cosine[i], -(b * sine[i])));
		x[2 * i + 1] = canonical(fmaf(b, cosine[i], a * sine[i]));
	}
}

static void
rope_half(float *x, const float *cosine, const float *sine, int half)
{
	for (int i = 0; i < half; i++) {
		float a = x[i], b = x[half + i];

		x[i] = canonical(fmaf(a, cosine[i], -(b * sine[i])));
		x[half + i] = canonical(fmaf(b, cosine[i], a * sine[i]));
	}
}

/* The largest number of x, a zero always +0; -inf where there is none. */
static float
largest(const float *x, int n)
{
	float m = -INFINITY;

	for (int i = 0; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m + 0;
}

/* x[i] = exp(x[i] - m): the sum of them. */
static float
exp_sum(float *x, int n, float m)
{
	float lane[LANES] = {0}, shift = m == -INFINITY ? 0 : m;

	for (int k = 0; k < n; k += LANES)
		for (int i = 0; i < LANES && k + i < n; i++) {
			x[k + i] = exp_one(x[k + i] - shift);
			lane[i] += x[k + i];
		}
	return canonical(tree(lane));
}

static void
softmax_block(float *p, int n, float scale, float *max, float *sum)
{
	for (int i = 0; i < n; i++)
		p[i] *= scale;
	*max = largest(p, n);
	*sum = exp_sum(p, n, *max);
}

static void
softmax_join(float *o, float *max, float *sum, const float *bo, float bmax, float bsum, int n)
{
	float m = bmax > *max ? bmax : *max;
	float a = *max == -INFINITY ? 0 : exp_one(*max - m);
	float b = bmax == -INFINITY ? 0 : exp_one(bmax - m);

	for (int i = 0; i < n; i++)
		o[i] = canonical(fmaf(a, o[i], b * bo[i]));
	*sum = canonical(fmaf(a, *sum, b * bsum));
	*max = canonical(m);
}

static void
softmax(float *x, int n)
{
	float sum = exp_sum(x, n, largest(x, n));

	for (int i = 0; i < n; i++)
		x[i] = canonical(x[i] / sum);
}

static void
scale(float *x, float factor, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = canonical(x[i] * factor);
}

static void
add(float *x, const float *y, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = canonical(x[i] + y[i]);
}

static void
silu_mul(float *gate, const float *up, int n)
{
	for (int i = 0; i < n; i++)
		gate[i] = silu_mul_one(gate[i], up[i]);
}

static void
sigmoid(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = canonical(1 / (1 + exp_one(-x[i])));
}

static int
fixed_add(int64_t *acc, const float *y, float weight, int n)
{
	int64_t term;
	int bad = 0;

	for (int i = 0; i < n; i++)
		if (fixed_of_float(y[i] * weight, &term))       /* the sum may wrap: acc can come from outside */
			acc[i] = (int64_t)((uint64_t)acc[i] + (uint64_t)term);
		else
			bad = -1;
	return bad;
}

static void
fixed_finish(float *h, const int64_t *acc, int n)
{
	for (int i = 0; i < n; i++)
		h[i] = canonical((float)((double)h[i] + (double)acc[i] * (1 / FIXED_ONE)));
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
vector_ref(struct kernels *k)
{
	k->rmsnorm = rmsnorm;
	k->layernorm = layernorm;
	k->index_scores = index_scores;
	k->rope = rope;
	k->rope_half = rope_half;
	k->softmax_block = softmax_block;
	k->softmax_join = softmax_join;
	k->scale = scale;
	k->add = add;
	k->silu_mul = silu_mul;
	k->sigmoid = sigmoid;
	k->softmax = softmax;
	k->exp = exp_all;
	k->fixed_exp_sum = fixed_exp_sum;
	k->fixed_add = fixed_add;
	k->fixed_finish = fixed_finish;
	k->rmsnorm_back = rmsnorm_back;
	k->softmax_back = softmax_back;
	k->silu_back = silu_back;
}
