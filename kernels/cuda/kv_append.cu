/*
 * Before attention: the angles of a batch's positions, the keys and values that it appends to the
 * cache, and the rotation of its queries.
 */
#include "attend.cuh"
#include "tree.cuh"
#include "cpu/fixed_sin.h"

enum { THREADS = 256 };

static __global__ void __launch_bounds__(THREADS)
angles(float *cosine, float *sine, const uint32_t *pos, size_t n, const double *freq, int half, double factor)
{
	const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, row = i / (size_t)half;

	if (i < n) {
		double angle = pos[row] * freq[i % (size_t)half];

		cosine[i] = canonical((float)(fixed_sin_quarter(angle, 1) * factor));
		sine[i] = canonical((float)(fixed_sin_quarter(angle, 0) * factor));
	}
}

int
gpu_angles(struct gpu *g, float *cosine, float *sine, const uint32_t *pos, int T, const double *freq, int half,
    double factor)
{
	const size_t n = (size_t)T * (size_t)half;

	if (n == 0)
		return 0;
	return launch(g, angles, dim3((unsigned)((n + THREADS - 1) / THREADS)), dim3(THREADS), 0, cosine, sine, pos, n, freq,
	    half, factor);
}

struct append_args {
	struct kv_append a;
	const uint32_t *pos;
	const int32_t *list;
	void *const *pages;
	size_t key_pitch, value_pitch;  /* bytes from a key, a value, to the next */
};

/* One pair rotated by its angle, whose numbers are `apart`: rope and rope_half of
 * kernels/cpu/vector_ref.c. */
static __device__ void
rotate(float *x, int apart, float cosine, float sine)
{
	const float a = x[0], b = x[apart];

	x[0] = canonical(fmaf(a, cosine, -(b * sine)));
	x[apart] = canonical(fmaf(b, cosine, a * sine));
}

/* Where pair i of the last numbers of a head begins in these, and how far apart its numbers
 * are. */
static __device__ int
pair_at(const struct kv_append *a, int i)
{
	return a->halves ? i : 2 * i;
}

static __device__ int
pair_apart(const struct kv_append *a)
{
	return a->halves ? a->half : 1;
}

static __device__ void
cache_put(float *at, float x)
{
	*at = x;
}

static __device__ void
cache_put(uint16_t *at, float x)
{
	*at = (uint16_t)(bits_of_float(bf16_of_float(x)) >> 16);
}

/* 1 / sqrt(mean of x^2 + eps) for the block's first warp: its lanes twice. */
static __device__ float
norm_of(const float *x, int n, float eps)
{
	const int own = (int)threadIdx.x % LANES;
	float lane = 0;

	for (int k = 0; k < n; k += LANES) {
		float v = own < n - k ? x[k + own] : 0;

		lane = fmaf(v, v, lane);
	}
	return 1 / sqrtf(tree_threads(lane) / (float)n + eps);
}

/* A head of k or q, of n numbers, as head_make of common/device/cpu_append.c makes it: in x,
 * which has room for one number more. */
static __device__ void
head_make(const struct kv_append *a, int t, float *x, const float *from, int n, const float *bias,
    const float *norm, int normed)
{
	for (int i = (int)threadIdx.x; i < n; i += THREADS) {
		const int zipped = a->zipped && i < n / 2 * 2;
		const float v = from[zipped ? i % (n / 2) * 2 + i / (n / 2) : i];

		x[i] = bias ? canonical(v + bias[i]) : v;
	}
	__syncthreads();
	if (norm) {
		if (threadIdx.x < 32) {
			float r = norm_of(x, normed, a->eps);

			if (threadIdx.x == 0)
				x[n] = r;
		}
		__syncthreads();
		for (int i = (int)threadIdx.x; i < normed; i += THREADS)
			x[i] = canonical(x[i] * x[n] * norm[i]);
		__syncthreads();
	}
	for (int i = (int)threadIdx.x; i < a->half; i += THREADS)
		rotate(x + n - 2 * a->half + pair_at(a, i), pair_apart(a), a->cosine[t * a->half + i],
		    a->sine[t * a->half + i]);
	__syncthreads();
}

/* Key head g of row t and its value, at its position in the cache, too. */
template <typename E> static __device__ void
key_append(const struct append_args *j, int t, int g)
{
	const struct kv_append *a = &j->a;
	const struct kv_shape *s = &a->kv;
	const uint32_t pos = j->pos[t], at = pos % CACHE_PAGE;
	const size_t head = (size_t)t * (size_t)s->heads + (size_t)g, bytes = CACHE_PAGE * (j->key_pitch + j->value_pitch);
	unsigned char *page = (unsigned char *)j->pages[j->list[t] + (int)(pos / CACHE_PAGE)] + (size_t)g * bytes;
	E *key = (E *)(page + at * j->key_pitch), *value = (E *)(page + CACHE_PAGE * j->key_pitch + at * j->value_pitch);
	float *k = a->k + head * (size_t)s->key;
	SHARED(float, x);               /* [key + 1] */

	head_make(a, t, x, k, s->key, a->k_bias ? a->k_bias + g * s->key : NULL, a->norm, s->value);
	for (int i = (int)threadIdx.x; i < s->key; i += THREADS) {
		k[i] = x[i];
		cache_put(key + i, x[i]);
	}
	for (int i = (int)threadIdx.x; !s->shared && i < s->value; i += THREADS) {
		float *v = a->v + head * (size_t)s->value + (size_t)i;

		if (a->v_bias)
			*v = canonical(*v + a->v_bias[g * s->value + i]);
		cache_put(value + i, *v);
	}
}

/* Queries of which only pairs change: pair i of row t, counted over all heads. */
static __device__ void
query_rotate(const struct kv_append *a, int t, int i)
{
	const int pair = i % a->half, h = i / a->half, apart = pair_apart(a);
	const int back = 2 * a->half - pair_at(a, pair);
	const size_t head = (size_t)t * (size_t)a->H + (size_t)h;
	float *q = a->q + (head + 1) * (size_t)a->width - back;

	rotate(q, apart, a->cosine[t * a->half + pair], a->sine[t * a->half + pair]);
	if (a->query) {
		float *query = a->query + (head + 1) * (size_t)a->kv.key - back;

		query[0] = q[0];
		query[apart] = q[apart];
	}
}

/* Queries of which all numbers change: head h of row t. */
static __device__ void
query_make(const struct kv_append *a, int t, int h)
{
	const size_t head = (size_t)t * (size_t)a->H + (size_t)h;
	float *q = a->q + head * (size_t)a->width;
	SHARED(float, x);               /* [width + 1] */

	head_make(a, t, x, q, a->width, a->q_bias ? a->q_bias + h * a->width : NULL, a->q_norm,
	    a->width);
	for (int i = (int)threadIdx.x; i < a->width; i += THREADS) {
		q[i] = x[i];
		if (a->query && i >= a->width - 2 * a->half)
			a->query[(head + 1) * (size_t)a->kv.key - (size_t)(a->width - i)] = x[i];
	}
}

static __host__ __device__ int
by_head(const struct kv_append *a)
{
	return a->q_bias || a->q_norm || a->zipped;
}

/* Block (t, g) is key head g of row t; those from (t, heads) on are for its queries. */
template <typename E> static __global__ void __launch_bounds__(THREADS)
append(struct append_args j)
{
	const int t = (int)blockIdx.x, g = (int)blockIdx.y, h = g - j.a.kv.heads;
	const int i = h * THREADS + (int)threadIdx.x;

	if (h < 0)
		key_append<E>(&j, t, g);
	else if (by_head(&j.a))
		query_make(&j.a, t, h);
	else if (i < j.a.H * j.a.half)
		query_rotate(&j.a, t, i);
}

int
gpu_kv_append(struct gpu *g, const struct kv_append *a, const struct kv_rows *rows, enum precision p)
{
	const struct kv_shape *s = &a->kv;
	const struct append_args j = {*a, rows->pos, rows->list, rows->pages, gpu_kv_pitch(s->key, p),
	    s->shared ? 0 : gpu_kv_pitch(s->value, p)};
	const int blocks = by_head(a) ? a->H : (a->H * a->half + THREADS - 1) / THREADS;
	const dim3 grid((unsigned)rows->n, (unsigned)(s->heads + blocks));
	const size_t shared = ((size_t)(s->key > a->width ? s->key : a->width) + 1) * sizeof(float);

	if (rows->n == 0)
		return 0;
	if (p == PRECISION_F32)
		return launch(g, append<float>, grid, dim3(THREADS), shared, j);
	return launch(g, append<uint16_t>, grid, dim3(THREADS), shared, j);
}
