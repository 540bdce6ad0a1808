/*
 * What the MLPs of all precisions share: the pairs cut into tiles, and silu between the products.
 */
#include "launch.cuh"
#include "products.h"

#include "cpu/cpu.h"

enum { THREADS = 256, WARP = 32 };

/* One block: a thread for each expert, and a prefix sum for where its tiles begin. */
static __global__ void
tiles_kernel(struct expert_tile *tiles, int most, const int32_t *start, int E, int rows)
{
	__shared__ int sums[THREADS / WARP];
	const int tid = (int)threadIdx.x, lane = tid % WARP, warp = tid / WARP;
	int begin = 0;

	for (int e = tid; e - tid < E; e += THREADS) {
		const int from = start[e < E ? e : E], n = start[e < E ? e + 1 : E] - from, count = (n + rows - 1) / rows;
		int at = count;

		for (int d = 1; d < WARP; d *= 2) {
			const int before = __shfl_sync(0xffffffffu, at, lane >= d ? lane - d : lane);

			at += lane >= d ? before : 0;
		}
		if (lane == WARP - 1)
			sums[warp] = at;
		__syncthreads();
		at += begin - count;
		for (int i = 0; i < THREADS / WARP; i++) {
			at += i < warp ? sums[i] : 0;
			begin += sums[i];
		}
		for (int i = 0; i < count && at + i < most; i++)
			tiles[at + i] = { e, from + i * rows, n - i * rows < rows ? n - i * rows : rows };
		__syncthreads();
	}
	for (int i = begin + tid; i < most; i += THREADS)
		tiles[i].n = 0;
}

/* Each expert that has pairs has one tile that may be short; its others are full. */
int
tiles_most(int E, int pairs, int rows)
{
	const int some = pairs < E ? pairs : E;

	return (pairs - some) / rows + some;
}

int
tiles_make(struct gpu *g, struct expert_tile *tiles, const struct expert_pairs *c, int rows)
{
	return launch(g, tiles_kernel, dim3(1), dim3(THREADS), 0, tiles, tiles_most(c->E, c->pairs, rows),
	    (const int32_t *)c->start, c->E, rows);
}

static __global__ void
silu_all(float *gate, const float *up, size_t n)
{
	const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;

	if (i < n)
		gate[i] = silu_mul_one(gate[i], up[i]);
}

int
silu_mul(struct gpu *g, float *gate, const float *up, size_t n)
{
	return n == 0 ? 0 : launch(g, silu_all, dim3((unsigned)((n + THREADS - 1) / THREADS)), dim3(THREADS), 0, gate, up, n);
}
