/*
 * Norms, softmax and what else goes over a vector once, in registers: to be
 * included after lanes_avx2.h or lanes_avx512.h.  Each function does to an
 * element what vector_ref.c does, and adds in the same order.
 */
#include "cpu/fixed_exp.h"

enum { REGS = LANES / W };

static inline reg
r_canon(reg x)
{
	return r_nan(x, x);
}

static inline float
r_tree(const reg lane[REGS])
{
	float l[LANES];

	for (int j = 0; j < REGS; j++)
		r_store(l + j * W, lane[j]);
	return tree(l);
}

static inline reg
r_exp(reg x)
{
	reg n = r_rint(r_mul(x, r_set(EXP_LOG2E)));
	reg r = r_fma(n, r_set(-EXP_LN2_LO), r_fma(n, r_set(-EXP_LN2_HI), x));
	reg p = r_fma(r_set(EXP_C4), r, r_set(EXP_C3));

	p = r_fma(p, r, r_set(EXP_C2));
	p = r_fma(p, r, r_set(EXP_C1));
	p = r_fma(p, r, r_set(EXP_C0));
	p = r_add(r_fma(p, r_mul(r, r), r), r_set(1));
	p = r_above(x, r_set(EXP_MAX), r_set(INFINITY), r_scale2(p, n));
	return r_nan(r_above(r_set(EXP_MIN), x, r_zero(), p), x);
}

/* A function over all elements: EXPR of v, the register at p + i. */
#define EACH(p, n, EXPR) do {                                           \
	int i = 0;                                                      \
	for (; i + W <= (n); i += W) {                                  \
		const int left = W;                                     \
		reg v = r_load((p) + i);                                \
		(void)left;                                             \
		r_store((p) + i, r_canon(EXPR));                        \
	}                                                               \
	if (i < (n)) {                                                  \
		const int left = (n) - i;                               \
		reg v = r_load_n((p) + i, left);                        \
		r_store_n((p) + i, r_canon(EXPR), left);                \
	}                                                               \
} while (0)
/* Another vector's elements at the same place. */
#define ALSO(q) (left == W ? r_load((q) + i) : r_load_n((q) + i, left))

static void
exp_all(float *x, int n)
{
	EACH(x, n, r_exp(v));
}

static void
scale(float *x, float factor, int n)
{
	EACH(x, n, r_mul(v, r_set(factor)));
}

static void
add(float *x, const float *y, int n)
{
	EACH(x, n, r_add(v, ALSO(y)));
}

static void
silu_mul(float *gate, const float *up, int n)
{
	EACH(gate, n, r_mul(r_div(v, r_add(r_set(1), r_exp(r_neg(v)))), ALSO(up)));
}

static void
sigmoid(float *x, int n)
{
	EACH(x, n, r_div(r_set(1), r_add(r_set(1), r_exp(r_neg(v)))));
}

/* The lane sum of a[i] b[i], through the tree. */
static float
dot(const float *a, const float *b, int n)
{
	reg lane[REGS];
	int k;

	for (int j = 0; j < REGS; j++)
		lane[j] = r_zero();
	for (k = 0; k + LANES <= n; k += LANES)
		for (int j = 0; j < REGS; j++)
			lane[j] = r_fma(r_load(a + k + j * W), r_load(b + k + j * W), lane[j]);
	for (int j = 0; k < n && j < REGS; j++) {
		int left = n - k - j * W;

		lane[j] = r_fma(r_load_n(a + k + j * W, left), r_load_n(b + k + j * W, left),
		    lane[j]);
	}
	return r_tree(lane);
}

static void
rmsnorm(float *out, const float *x, const float *weight, int n, float eps)
{
	reg r = r_set(1 / sqrtf(dot(x, x, n) / (float)n + eps));
	int k;

	for (k = 0; k + W <= n; k += W)
		r_store(out + k, r_canon(r_mul(r_mul(r_load(x + k), r), r_load(weight + k))));
	if (k < n)
		r_store_n(out + k, r_canon(r_mul(r_mul(r_load_n(x + k, n - k), r), r_load_n(weight + k, n - k))), n - k);
}

static void
layernorm(float *out, const float *x, const float *weight, const float *bias, int n, float eps)
{
	reg lane[REGS], mean, r;

	for (int j = 0; j < REGS; j++)
		lane[j] = r_zero();
	for (int k = 0; k < n; k += LANES)
		for (int j = 0; j < REGS; j++)
			lane[j] = r_add(lane[j], r_load_n(x + k + j * W, n - k - j * W));
	mean = r_set(r_tree(lane) / (float)n);
	for (int j = 0; j < REGS; j++)
		lane[j] = r_zero();
	for (int k = 0; k < n; k += LANES)
		for (int j = 0; j < REGS; j++) {
			int left = n - k - j * W;
			reg v = r_first(r_sub(r_load_n(x + k + j * W, left), mean), left);

			lane[j] = r_fma(v, v, lane[j]);
		}
	r = r_set(1 / sqrtf(r_tree(lane) / (float)n + eps));
	for (int k = 0; k < n; k += W) {
		reg v = r_mul(r_sub(r_load_n(x + k, n - k), mean), r);

		v = r_fma(v, r_load_n(weight + k, n - k), r_load_n(bias + k, n - k));
		r_store_n(out + k, r_canon(v), n - k);
	}
}

static void
index_scores(float *out, const float *p, ptrdiff_t ldp, const float *weight, int H, int n)
{
	for (int i = 0; i < n; i += W) {
		reg sum = r_zero();

		for (int h = 0; h < H; h++) {
			reg v = r_max(r_load_n(p + h * ldp + i, n - i), r_zero());

			sum = r_fma(r_set(weight[h]), v, sum);
		}
		r_store_n(out + i, r_canon(sum), n - i);
	}
}

static void
rope(float *x, const float *cosine, const float *sine, int half)
{
	for (int i = 0; i < half; i += W / 2) {
		int n = half - i < W / 2 ? half - i : W / 2;
		reg v = r_load_n(x + 2 * i, 2 * n);

		v = r_fmaddsub(v, r_pairs_n(cosine + i, n), r_mul(r_swap(v), r_pairs_n(sine + i, n)));
		r_store_n(x + 2 * i, r_canon(v), 2 * n);
	}
}

static void
rope_half(float *x, const float *cosine, const float *sine, int half)
{
	for (int i = 0; i < half; i += W) {
		const int n = half - i;
		reg a = r_load_n(x + i, n), b = r_load_n(x + half + i, n);
		reg c = r_load_n(cosine + i, n), s = r_load_n(sine + i, n);

		r_store_n(x + i, r_canon(r_fma(a, c, r_neg(r_mul(b, s)))), n);
		r_store_n(x + half + i, r_canon(r_fma(b, c, r_mul(a, s))), n);
	}
}

/* The largest number of x, a zero always +0; -inf where there is none. */
static float
largest(const float *x, int n)
{
	reg m = r_set(-INFINITY);
	float l[W], most = -INFINITY;
	int i;

	for (i = 0; i + W <= n; i += W)
		m = r_max(r_load(x + i), m);
	r_store(l, m);
	for (; i < n; i++)
		most = x[i] > most ? x[i] : most;
	for (i = 0; i < W; i++)
		most = l[i] > most ? l[i] : most;
	return most + 0;
}

/* x[i] = exp(x[i] - m): the sum of them. */
static float
exp_sum(float *x, int n, float m)
{
	reg lane[REGS], shift = r_set(m == -INFINITY ? 0 : m), v;
	int k;

	for (int j = 0; j < REGS; j++)
		lane[j] = r_zero();
	for (k = 0; k + LANES <= n; k += LANES)
		for (int j = 0; j < REGS; j++) {
			v = r_exp(r_sub(r_load(x + k + j * W), shift));
			r_store(x + k + j * W, v);
			lane[j] = r_add(lane[j], v);
		}
	for (int j = 0; k < n && j < REGS; j++) {
		int left = n - k - j * W;

		v = r_first(r_exp(r_sub(r_load_n(x + k + j * W, left), shift)), left);
		r_store_n(x + k + j * W, v, left);
		lane[j] = r_add(lane[j], v);
	}
	return canonical(r_tree(lane));
}

static void
softmax_block(float *p, int n, float factor, float *max, float *sum)
{
	scale(p, factor, n);
	*max = largest(p, n);
	*sum = exp_sum(p, n, *max);
}

static void
softmax_join(float *o, float *max, float *sum, const float *bo, float bmax, float bsum, int n)
{
	float m = bmax > *max ? bmax : *max;
	float a = *max == -INFINITY ? 0 : exp_one(*max - m);
	float b = bmax == -INFINITY ? 0 : exp_one(bmax - m);

	EACH(o, n, r_fma(r_set(a), v, r_mul(r_set(b), ALSO(bo))));
	*sum = canonical(fmaf(a, *sum, b * bsum));
	*max = canonical(m);
}

static void
softmax(float *x, int n)
{
	float sum = exp_sum(x, n, largest(x, n));

	EACH(x, n, r_div(v, r_set(sum)));
}

static int
fixed_add(int64_t *acc, const float *y, float weight, int n)
{
	reg bad = r_zero(), v;
	float l[W];
	int i;

	for (i = 0; i < n; i += W) {
		v = r_abs(r_mul(r_load_n(y + i, n - i), r_set(weight)));
		bad = r_above(r_set(FIXED_MAX), v, bad, r_set(1));      /* not below, or not a number */
	}
	r_store(l, bad);
	for (i = 0; i < W; i++)
		if (l[i] != 0)
			return -1;
	for (i = 0; i + W <= n; i += W)
		r_fixed_add(acc + i, r_mul(r_load(y + i), r_set(weight)));
	if (i < n) {
		int64_t some[W] = {0};

		memcpy(some, acc + i, (size_t)(n - i) * sizeof(*acc));
		r_fixed_add(some, r_mul(r_load_n(y + i, n - i), r_set(weight)));
		memcpy(acc + i, some, (size_t)(n - i) * sizeof(*acc));
	}
	return 0;
}

static void
fixed_finish(float *h, const int64_t *acc, int n)
{
	int i;

	for (i = 0; i + W <= n; i += W)
		r_store(h + i, r_canon(r_fixed_finish(r_load(h + i), acc + i)));
	if (i < n) {
		int64_t some[W] = {0};

		memcpy(some, acc + i, (size_t)(n - i) * sizeof(*acc));
		r_store_n(h + i, r_canon(r_fixed_finish(r_load_n(h + i, n - i), some)), n - i);
	}
}

static void
rmsnorm_back(float *dx, float *xhat, const float *x, const float *weight, const float *dy, int n,
    float eps)
{
	reg lane[REGS], r = r_set(1 / sqrtf(dot(x, x, n) / (float)n + eps)), mean;

	for (int j = 0; j < REGS; j++)
		lane[j] = r_zero();
	for (int k = 0; k < n; k += LANES)
		for (int j = 0; j < REGS; j++) {
			int at = k + j * W, left = n - at;
			reg g = r_mul(r_load_n(weight + at, left), r_load_n(dy + at, left));
			reg h = r_mul(r_load_n(x + at, left), r);

			/* (0 r is no zero where r is not finite) */
			lane[j] = r_fma(r_first(h, left), g, lane[j]);
		}
	mean = r_set(r_tree(lane) / (float)n);
	for (int i = 0; i < n; i += W) {
		int left = n - i;
		reg h = r_mul(r_load_n(x + i, left), r);
		reg g = r_mul(r_load_n(weight + i, left), r_load_n(dy + i, left));

		r_store_n(xhat + i, r_canon(h), left);
		r_store_n(dx + i, r_canon(r_mul(r_fma(r_neg(h), mean, g), r)), left);
	}
}

static void
softmax_back(float *dp, const float *p, int n, float factor)
{
	float sum = dot(p, dp, n);

	EACH(dp, n, r_mul(r_mul(ALSO(p), r_sub(v, r_set(sum))), r_set(factor)));
}

static void
silu_back(float *gate, float *up, float *a, int n)
{
	for (int i = 0; i < n; i += W) {
		int left = n - i;
		reg g = r_load_n(gate + i, left), u = r_load_n(up + i, left);
		reg da = r_load_n(a + i, left), e = r_add(r_set(1), r_exp(r_neg(g)));
		reg silu = r_div(g, e), sigmoid = r_div(r_set(1), e);
		reg slope = r_fma(silu, r_sub(r_set(1), sigmoid), sigmoid);

		r_store_n(gate + i, r_canon(r_mul(r_mul(da, u), slope)), left);
		r_store_n(up + i, r_canon(r_mul(da, silu)), left);
		r_store_n(a + i, r_canon(r_mul(silu, u)), left);
	}
}

void
KERNELS_ISA(vector)(struct kernels *k)
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
