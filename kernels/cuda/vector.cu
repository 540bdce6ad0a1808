/*
 * Norms and what else goes over a vector once: the bits of cpu/vector_ref.c.
 */
#include "launch.cuh"
#include "table.h"

#include "cpu/cpu.h"

enum { THREADS = 256, NORM_THREADS = 512 };
enum { STAGED = 8192 };         /* numbers of a row that a norm holds at once */

/* Numbers that are read or written at once: four where all rows begin at 16 bytes, else one. */
template <typename T, int N> struct alignas(sizeof(T) * N) some {
	T v[N];
};

/* All of these, put together by |, are multiples of 16: addresses, and sizes in bytes. */
static int
wide(uintptr_t together)
{
	return together % 16 == 0;
}

static unsigned
blocks(size_t n, int each)
{
	return (unsigned)((n + (size_t)each - 1) / (size_t)each);
}

/*
 * A block for each row.  All threads fetch it, 16 make the lanes of its sum: each of these is one
 * chain of additions, so there is nothing for the others to do meanwhile but to belong to other
 * blocks.
 */
template <int N> static __global__ void
rmsnorm_row(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int n, const float *__restrict__ weight, float eps)
{
	SHARED(float, staged);
	__shared__ float lane[LANES];
	const int t = (int)threadIdx.x;
	float sum = 0, r;

	x += (ptrdiff_t)blockIdx.x * ldx;
	out += (ptrdiff_t)blockIdx.x * ldo;
	for (int from = 0; from < n; from += STAGED) {
		const int here = n - from < STAGED ? n - from : STAGED;

#pragma unroll 4
		for (int i = t * N; i < here; i += NORM_THREADS * N)
			*(some<float, N> *)(staged + i) = *(const some<float, N> *)(x + from + i);
		__syncthreads();
		if (t < LANES) {
#pragma unroll 8
			for (int i = t; i < here; i += LANES)
				sum = fmaf(staged[i], staged[i], sum);
		}
		__syncthreads();
	}
	if (t < LANES)
		lane[t] = sum;
	__syncthreads();
	r = 1 / sqrtf(tree(lane) / (float)n + eps);
	x = n <= STAGED ? staged : x;
#pragma unroll 4
	for (int i = t * N; i < n; i += NORM_THREADS * N) {
		const some<float, N> a = *(const some<float, N> *)(x + i), w = *(const some<float, N> *)(weight + i);
		some<float, N> to;

		for (int j = 0; j < N; j++)
			to.v[j] = canonical(a.v[j] * r * w.v[j]);
		*(some<float, N> *)(out + i) = to;
	}
}

static int
rmsnorm(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, int n, const float *weight, float eps)
{
	const int four = wide((uintptr_t)out | (uintptr_t)x | (uintptr_t)weight |
	    ((uintptr_t)ldo | (uintptr_t)ldx | (uintptr_t)n) * 4);

	if (T == 0 || n == 0)
		return 0;
	return launch(g, four ? rmsnorm_row<4> : rmsnorm_row<1>, (unsigned)T, NORM_THREADS,
	    (size_t)(n < STAGED ? n : STAGED) * sizeof(float), out, ldo, x, ldx, n, weight, eps);
}

template <int N> static __global__ void
add_all(float *x, const float *y, size_t n)
{
	const size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) * N;
	some<float, N> a, b;

	if (i >= n)
		return;
	a = *(some<float, N> *)(x + i);
	b = *(const some<float, N> *)(y + i);
	for (int j = 0; j < N; j++)
		a.v[j] = canonical(a.v[j] + b.v[j]);
	*(some<float, N> *)(x + i) = a;
}

static int
add(struct gpu *g, float *x, const float *y, size_t n)
{
	const int four = wide((uintptr_t)x | (uintptr_t)y | (uintptr_t)n * 4);

	if (n == 0)
		return 0;
	return launch(g, four ? add_all<4> : add_all<1>, blocks(n, four ? 4 * THREADS : THREADS), THREADS, 0, x, y, n);
}

/* A block for each row. */
static __global__ void
bias_row(float *x, const float *__restrict__ b, int n)
{
	x += (size_t)blockIdx.x * (size_t)n;
	for (int i = (int)threadIdx.x; i < n; i += THREADS)
		x[i] = canonical(x[i] + b[i]);
}

static int
bias(struct gpu *g, float *x, const float *b, int T, int n)
{
	return T == 0 || n == 0 ? 0 : launch(g, bias_row, (unsigned)T, THREADS, 0, x, b, n);
}

template <int N> static __global__ void
gather_row(float *__restrict__ out, const float *__restrict__ x, const int32_t *row, int n)
{
	out += (size_t)blockIdx.x * (size_t)n;
	x += (size_t)row[blockIdx.x] * (size_t)n;
#pragma unroll 4
	for (int i = (int)threadIdx.x * N; i < n; i += THREADS * N)
		*(some<float, N> *)(out + i) = *(const some<float, N> *)(x + i);
}

static int
gather(struct gpu *g, float *out, const float *x, const int32_t *row, int T, int n)
{
	const int four = wide((uintptr_t)out | (uintptr_t)x | (uintptr_t)n * 4);

	if (T == 0 || n == 0)
		return 0;
	return launch(g, four ? gather_row<4> : gather_row<1>, (unsigned)T, THREADS, 0, out, x, row, n);
}

template <int N> static __global__ void
finish_all(float *h, const int64_t *acc, size_t n)
{
	const size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) * N;
	some<int64_t, N> a;
	some<float, N> to;

	if (i >= n)
		return;
	a = *(const some<int64_t, N> *)(acc + i);
	to = *(some<float, N> *)(h + i);
	for (int j = 0; j < N; j++)
		to.v[j] = canonical((float)((double)to.v[j] + (double)a.v[j] * (1 / FIXED_ONE)));
	*(some<float, N> *)(h + i) = to;
}

static int
fixed_finish(struct gpu *g, float *h, const int64_t *acc, size_t n)
{
	const int two = wide((uintptr_t)h | (uintptr_t)acc | (uintptr_t)n * 8);

	if (n == 0)
		return 0;
	return launch(g, two ? finish_all<2> : finish_all<1>, blocks(n, two ? 2 * THREADS : THREADS), THREADS, 0, h, acc, n);
}

void
vector_fill(struct gpu_lib *l)
{
	l->rmsnorm = rmsnorm;
	l->add = add;
	l->bias = bias;
	l->gather = gather;
	l->fixed_finish = fixed_finish;
}
