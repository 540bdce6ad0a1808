/*
 * gemv in bf16, for up to GEMV_ROWS rows of x.  Warp v has the blocks v, v + 8, ... of all outputs
 * of the tile.  Their sums meet in shared memory, a round of eight blocks at a time, where a thread
 * for each element adds them in order.
 */
#ifndef DS_GEMV_BF16_CUH
#define DS_GEMV_BF16_CUH

#include "bf16_tile.cuh"

enum { GEMV_WARPS = 8, GEMV_THREADS = 32 * GEMV_WARPS, GEMV_ROWS = 8 };

/* Slots that a lane prefetches. */
template <int MT> constexpr int gemv_ring = MT == 1 ? 8 : 4;

template <int MT> constexpr size_t gemv_shared = sizeof(uint4) * gemv_ring<MT> * 2 * MT * GEMV_THREADS +
    sizeof(float) * 2 * GEMV_WARPS * MT * 16 * GEMV_ROWS;

/* The chunk of the row that is the warp's i-th. */
template <enum dtype D> static __device__ __forceinline__ int
gemv_index(int i)
{
	constexpr int CHUNKS = STEPS / slot_quads<D>;

	return (i / CHUNKS * GEMV_WARPS + (int)threadIdx.x / 32) * CHUNKS + i % CHUNKS;
}

/* The lane's columns of a chunk of its row of x. */
template <enum dtype D> static __device__ __forceinline__ void
gemv_x(float4 v[slot_quads<D>], const float *x, const struct bf16_args *j, int chunk)
{
	constexpr int S = slot_quads<D>;
#pragma unroll
	for (int q = 0; q < S; q++)
		v[q] = x_quad(x, (chunk * 4 + (int)threadIdx.x % 4) * 4 * S + 4 * q, j->w.cols, j->x_quads);
}

/* What a chunk adds to the sums of its block: sixteen outputs by eight rows, MT times. */
template <enum dtype D, int MT> static __device__ __forceinline__ void
gemv_chunk(float sum[MT][4], const uint4 *slots, const float scale[2 * MT][2], const float4 v[slot_quads<D>])
{
	uint4 slot[2 * MT];
	uint32_t a[4], b[2];
#pragma unroll
	for (int s = 0; s < 2 * MT; s++)
		slot[s] = slots[s * GEMV_THREADS];
#pragma unroll
	for (int q = 0; q < slot_quads<D>; q++) {
		b[0] = bf16_pair(v[q].x, v[q].y);
		b[1] = bf16_pair(v[q].z, v[q].w);
#pragma unroll
		for (int i = 0; i < MT; i++) {
			step_weights<D>(a, slot + 2 * i, q, scale + 2 * i);
			mma_bf16(sum[i], a, b);
		}
	}
}

/* A lane's sums go where the threads that add them look: [outputs][GEMV_ROWS]. */
template <int MT> static __device__ __forceinline__ void
gemv_write(float *to, const float sum[MT][4])
{
	const int g = (int)threadIdx.x % 32 / 4, c = (int)threadIdx.x % 4;
#pragma unroll
	for (int i = 0; i < MT; i++) {
		float *p = to + (i * 16 + g) * GEMV_ROWS + 2 * c;

		*(float2 *)p = make_float2(sum[i][0], sum[i][1]);
		*(float2 *)(p + 8 * GEMV_ROWS) = make_float2(sum[i][2], sum[i][3]);
	}
}

template <enum dtype D, int MT> static __global__ void __launch_bounds__(GEMV_THREADS, MT == 1 && D != Q4 ? 3 : 2)
gemv(const __grid_constant__ struct bf16_args j)
{
	constexpr int CHUNKS = STEPS / slot_quads<D>, RING = gemv_ring<MT>, ELEMENTS = MT * 16 * GEMV_ROWS;
	const int tid = (int)threadIdx.x, warp = tid / 32, blocks = (j.w.cols + BLOCK - 1) / BLOCK;
	const uint64_t once = policy_once();
	SHARED(uint4, ring);                                            /* [RING][2 MT][GEMV_THREADS] */
	float *sums = (float *)(ring + RING * 2 * MT * GEMV_THREADS);    /* [2][GEMV_WARPS][ELEMENTS] */
	const float *x, *scale = NULL;
	float4 coming[slot_quads<D>];                                   /* x of the next chunk */
	struct lane_rows<MT> l;
	struct tile t;
	float acc = 0;
	int round, next = 0;                                            /* chunk of this warp that is fetched next */

	if (!tile_of(&t, &j, j.end == END_SILU ? MT * 8 : MT * 16, GEMV_ROWS))
		return;
	lane_find<D, MT>(&l, &t, &j, 0);
	x = tile_x(&t, &j, tid % 32 / 4);
	if (tid < ELEMENTS)
		scale = tile_scale<D>(&t, &j, tid / GEMV_ROWS);
	auto fetch = [&] {
		lane_fetch<D, MT>(ring + next % RING * 2 * MT * GEMV_THREADS + tid, GEMV_THREADS, &l, &t, &j,
		    gemv_index<D>(next), &once);
		next++;
	};
	for (int i = 0; i < RING - 1; i++)
		fetch();
	gemv_x<D>(coming, x, &j, gemv_index<D>(0));
	for (round = 0; round * GEMV_WARPS < blocks; round++) {
		const int full = min(GEMV_WARPS, blocks - round * GEMV_WARPS);
		float sum[MT][4] = { }, by[GEMV_WARPS], *at = sums + round % 2 * GEMV_WARPS * ELEMENTS;

		for (int i = round * CHUNKS; i < (round + 1) * CHUNKS; i++) {
			float4 v[slot_quads<D>];
			float scales[2 * MT][2] = { };

#pragma unroll
			for (int q = 0; q < slot_quads<D>; q++)
				v[q] = coming[q];
			gemv_x<D>(coming, x, &j, gemv_index<D>(i + 1));
			lane_scales<D, MT>(scales, &l, &t, j.w.cols, gemv_index<D>(i));
			copy_wait<RING - 2>();
			fetch();
			gemv_chunk<D, MT>(sum, ring + i % RING * 2 * MT * GEMV_THREADS + tid, scales, v);
		}
#pragma unroll
		for (int v = 0; v < GEMV_WARPS; v++)
			by[v] = scale && v < full ? __ldg(scale + round * GEMV_WARPS + v) : 1;
		gemv_write<MT>(at + warp * ELEMENTS, sum);
		__syncthreads();
#pragma unroll
		for (int v = 0; v < GEMV_WARPS; v++)
			if (v < full && tid < ELEMENTS)
				acc = fmaf(by[v], at[v * ELEMENTS + tid], acc);
	}
	copy_wait<0>();
	sums += round % 2 * GEMV_WARPS * ELEMENTS;
	if (tid < ELEMENTS)
		sums[tid] = acc;
	__syncthreads();
	if (j.end == END_SILU && tid < ELEMENTS / 2) {
		int o = tid % (MT * 8), i = tid / (MT * 8), at = (o / 8 * 16 + o % 8) * GEMV_ROWS + i;

		tile_end(&j, &t, t.out + o, i, sums[at], sums[at + 8 * GEMV_ROWS]);
	} else if (j.end != END_SILU && tid < ELEMENTS) {
		int o = tid % (MT * 16), i = tid / (MT * 16);

		tile_end(&j, &t, t.out + o, i, sums[o * GEMV_ROWS + i], 0);
	}
}

#endif
