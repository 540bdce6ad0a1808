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

/* One pair rotated by its angle: rope of kernels/cpu/vector_ref.c. */
static __device__ void
rotate(float *to, const float *from, float cosine, float sine)
{
	const float a = from[0], b = from[1];

	to[0] = canonical(fmaf(a, cosine, -(b * sine)));
	to[1] = canonical(fmaf(b, cosine, a * sine));
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

/* Key head g of row t, in place and at its position in the cache, and its value. */
template <typename E> static __device__ void
key_append(const struct append_args *j, int t, int g)
{
	const struct kv_append *a = &j->a;
	const struct kv_shape *s = &a->kv;
	const uint32_t pos = j->pos[t], at = pos % CACHE_PAGE;
	const size_t head = (size_t)t * (size_t)s->heads + (size_t)g, bytes = CACHE_PAGE * (j->key_pitch + j->value_pitch);
	const int kept = s->key - 2 * a->half;
	unsigned char *page = (unsigned char *)j->pages[j->list[t] + (int)(pos / CACHE_PAGE)] + (size_t)g * bytes;
	E *key = (E *)(page + at * j->key_pitch), *value = (E *)(page + CACHE_PAGE * j->key_pitch + at * j->value_pitch);
	float *k = a->k + head * (size_t)s->key;
	SHARED(float, x);               /* [key + 1]: the last is the norm's factor */

	for (int i = (int)threadIdx.x; i < s->key; i += THREADS)
		x[i] = k[i];
	__syncthreads();
	if (a->norm && threadIdx.x < 32) {
		float r = norm_of(x, s->value, a->eps);

		if (threadIdx.x == 0)
			x[s->key] = r;
	}
	for (int i = (int)threadIdx.x; i < a->half; i += THREADS)
		rotate(x + kept + 2 * i, x + kept + 2 * i, a->cosine[t * a->half + i], a->sine[t * a->half + i]);
	__syncthreads();
	for (int i = (int)threadIdx.x; i < s->key; i += THREADS) {
		float y = a->norm && i < s->value ? canonical(x[i] * x[s->key] * a->norm[i]) : x[i];

		k[i] = y;
		cache_put(key + i, y);
	}
	for (int i = (int)threadIdx.x; !s->shared && i < s->value; i += THREADS)
		cache_put(value + i, a->v[head * (size_t)s->value + (size_t)i]);
}

/* Pair i of row t's queries, counted over all heads. */
static __device__ void
query_rotate(const struct kv_append *a, int t, int i)
{
	const int pair = i % a->half, h = i / a->half, back = 2 * (a->half - pair);
	const size_t head = (size_t)t * (size_t)a->H + (size_t)h;
	float *q = a->q + (head + 1) * (size_t)a->width - back;

	rotate(q, q, a->cosine[t * a->half + pair], a->sine[t * a->half + pair]);
	if (a->query) {
		float *query = a->query + (head + 1) * (size_t)a->kv.key - back;

		query[0] = q[0];
		query[1] = q[1];
	}
}

/* Block (t, g) is key head g of row t; those from (t, heads) on rotate its queries. */
template <typename E> static __global__ void __launch_bounds__(THREADS)
append(struct append_args j)
{
	const int t = (int)blockIdx.x, g = (int)blockIdx.y, i = (g - j.a.kv.heads) * THREADS + (int)threadIdx.x;

	if (g < j.a.kv.heads)
		key_append<E>(&j, t, g);
	else if (i < j.a.H * j.a.half)
		query_rotate(&j.a, t, i);
}

int
gpu_kv_append(struct gpu *g, const struct kv_append *a, const struct kv_rows *rows, enum precision p)
{
	const struct kv_shape *s = &a->kv;
	const struct append_args j = {*a, rows->pos, rows->list, rows->pages, gpu_kv_pitch(s->key, p),
	    s->shared ? 0 : gpu_kv_pitch(s->value, p)};
	const dim3 grid((unsigned)rows->n, (unsigned)(s->heads + (a->H * a->half + THREADS - 1) / THREADS));
	const size_t shared = (size_t)(s->key + 1) * sizeof(float);

	if (rows->n == 0)
		return 0;
	if (p == PRECISION_F32)
		return launch(g, append<float>, grid, dim3(THREADS), shared, j);
	return launch(g, append<uint16_t>, grid, dim3(THREADS), shared, j);
}
