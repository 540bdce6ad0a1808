/*
 * What a batch's rows bring before attention: the angles of their positions, what they leave in the cache, and the
 * rotated part of their queries; as rope_angles of attention/rope.c and row_enter of attention/mla.c.
 */
#include "attend.cuh"
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

struct enter_job {
	float *kv, *q, *query;
	const float *weight;
	float eps;
	const float *cosine, *sine;     /* [T][half] */
	const uint32_t *pos;
	const int32_t *list;
	void *const *pages;
	size_t pitch;                   /* bytes of a row of the cache */
	int H, nope, R, half;
};

/* Pair i turned by its angle: rope of kernels/cpu/vector_ref.c. */
static __device__ void
turn(float *to, const float *from, float cosine, float sine)
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
	for (int bit = LANES / 2; bit > 0; bit /= 2)    /* the tree */
		lane += __shfl_xor_sync(0xffffffff, lane, bit);
	return 1 / sqrtf(lane / (float)n + eps);
}

/* Row t of kv, in place and in its place in the cache. */
template <typename E> static __device__ void
latent_enter(const struct enter_job *j, int t)
{
	const int rope = 2 * j->half;
	const uint32_t pos = j->pos[t];
	float *kv = j->kv + (size_t)t * (size_t)(j->R + rope);
	E *to = (E *)((unsigned char *)j->pages[j->list[t] + (int)(pos / GPU_PAGE)] + pos % GPU_PAGE * j->pitch);
	SHARED(float, row);

	for (int i = (int)threadIdx.x; i < j->R + rope; i += THREADS)
		row[i] = kv[i];
	__syncthreads();
	if (threadIdx.x < 32) {
		float r = norm_of(row, j->R, j->eps);

		if (threadIdx.x == 0)
			row[j->R + rope] = r;
	}
	for (int i = (int)threadIdx.x; i < j->half; i += THREADS)
		turn(row + j->R + 2 * i, row + j->R + 2 * i, j->cosine[t * j->half + i], j->sine[t * j->half + i]);
	__syncthreads();
	for (int i = (int)threadIdx.x; i < j->R + rope; i += THREADS) {
		float x = i < j->R ? canonical(row[i] * row[j->R + rope] * j->weight[i]) : row[i];

		kv[i] = x;
		cache_put(to + i, x);
	}
}

/* Pair i of row t's queries, all heads counted through. */
static __device__ void
query_turn(const struct enter_job *j, int t, int i)
{
	const int rope = 2 * j->half, pair = i % j->half, h = i / j->half;
	const size_t head = (size_t)t * (size_t)j->H + (size_t)h;
	float *q = j->q + head * (size_t)(j->nope + rope) + j->nope + 2 * pair;
	float *query = j->query + head * (size_t)(j->R + rope) + j->R + 2 * pair;

	turn(q, q, j->cosine[t * j->half + pair], j->sine[t * j->half + pair]);
	query[0] = q[0];
	query[1] = q[1];
}

/* Block (t, 0) is row t's latent and key, (t, 1 ..) are its queries. */
template <typename E> static __global__ void __launch_bounds__(THREADS)
enter(struct enter_job j)
{
	const int t = (int)blockIdx.x, i = ((int)blockIdx.y - 1) * THREADS + (int)threadIdx.x;

	if (blockIdx.y == 0)
		latent_enter<E>(&j, t);
	else if (i < j.H * j.half)
		query_turn(&j, t, i);
}

int
gpu_enter(struct gpu *g, float *kv, float *q, float *query, const float *weight, float eps, const float *cosine,
    const float *sine, const struct gpu_rows *rows, int H, int nope, int R, int rope, enum precision p)
{
	const int half = rope / 2;
	const struct enter_job j = {kv, q, query, weight, eps, cosine, sine, rows->pos, rows->list, rows->pages,
	    gpu_cache_row(R, rope, p), H, nope, R, half};
	const dim3 grid((unsigned)rows->n, 1 + (unsigned)((H * half + THREADS - 1) / THREADS));
	const size_t shared = (size_t)(R + rope + 1) * sizeof(float);

	if (rows->n == 0)
		return 0;
	if (p == PRECISION_F32)
		return launch(g, enter<float>, grid, dim3(THREADS), shared, j);
	return launch(g, enter<uint16_t>, grid, dim3(THREADS), shared, j);
}
