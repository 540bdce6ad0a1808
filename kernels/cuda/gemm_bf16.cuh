/*
 * gemm in bf16, for more rows of x, which the warps share; each warp has outputs of its own.  x
 * comes to shared memory a block of columns at a time.  Each thread copies quads some blocks early,
 * and makes them BF16 for all while the block before is used.  A row then has for each lane c of
 * four its quads in the order of the steps, so that lanes read two steps at once and do not depend
 * on chunks.
 */
#ifndef DS_GEMM_BF16_CUH
#define DS_GEMM_BF16_CUH

#include "bf16_tile.cuh"

enum {
	QUAD_BYTES = 8,                 /* of x in shared memory: four BF16 */
	LANE_BYTES = STEPS * QUAD_BYTES + 16,   /* a lane's share of a block of x; the excess keeps banks apart */
	ROW_BYTES = 4 * LANE_BYTES,
};

/* Chunks of weights in the ring, and blocks of x that are on their way: as many as two blocks of
 * threads have room for in a processor of 9.0, one where WARPS and MT are large. */
template <int WARPS, int MT> constexpr int gemm_ring = WARPS * MT > 8 ? 3 : 7;
template <int WARPS, int MT> constexpr int gemm_prefetch = WARPS * MT > 8 ? 2 : 3;

template <int WARPS, int MT, int NT> constexpr size_t gemm_shared = sizeof(uint4) * gemm_ring<WARPS, MT> * 2 * MT * WARPS * 32 +
    gemm_prefetch<WARPS, MT> * NT * 8 * BLOCK * sizeof(float) + 2 * NT * 8 * ROW_BYTES + NT * 8 * sizeof(float *);

/* Quad `at` (0..31) of a block: the place of its four BF16 in a row of shared memory. */
template <enum dtype D> static __device__ __forceinline__ int
x_offset(int at)
{
	constexpr int S = slot_quads<D>;

	return at / S % 4 * LANE_BYTES + (at / (4 * S) * S + at % S) * QUAD_BYTES;
}

template <enum dtype D, int WARPS, int MT, int NT> static __global__ void __launch_bounds__(WARPS * 32, WARPS * MT > 8 ? 1 : 2)
gemm(const __grid_constant__ struct bf16_args j)
{
	constexpr int S = slot_quads<D>, RING = gemm_ring<WARPS, MT>, THREADS = WARPS * 32, QUADS = NT * 8 / WARPS;
	constexpr int PREFETCH = gemm_prefetch<WARPS, MT>, LATER = PREFETCH * STEPS / S - 1;
	const int tid = (int)threadIdx.x, warp = tid / 32, g = tid % 32 / 4, c = tid % 4, K = j.w.cols, blocks = (K + BLOCK - 1) / BLOCK;
	SHARED(uint4, ring);                                            /* [RING][2 MT][THREADS] */
	float4 *coming = (float4 *)(ring + RING * 2 * MT * THREADS);    /* [PREFETCH][QUADS][THREADS] */
	unsigned char *xs = (unsigned char *)(coming + PREFETCH * QUADS * THREADS);        /* [2][NT * 8][ROW_BYTES] */
	const float **row = (const float **)(xs + 2 * NT * 8 * ROW_BYTES);      /* [NT * 8] */
	const float *scale[2 * MT];
	float acc[MT][NT][4] = { };
	struct lane_rows<MT> l;
	struct tile t;
	int chunk = 0, next = 0;

	if (!tile_of(&t, &j, WARPS * MT * (j.end == END_SILU ? 8 : 16), NT * 8))
		return;
	lane_find<D, MT>(&l, &t, &j, warp * MT * 16);
#pragma unroll
	for (int s = 0; s < 2 * MT; s++)
		scale[s] = tile_scale<D>(&t, &j, warp * MT * 16 + s * 8 + g);
	if (tid < NT * 8)
		row[tid] = tile_x(&t, &j, tid);
	__syncthreads();

	auto fetch = [&] {
		lane_fetch<D, MT>(ring + next % RING * 2 * MT * THREADS + tid, THREADS, &l, &t, &j, next, NULL);
		next++;
	};
	/* A warp has whole rows of x, WARPS apart, a lane a quad of each.  They are of the group
	 * that is committed next. */
	auto load = [&](int block) {
		const int col = block * BLOCK + tid % 32 * 4;

		for (int q = 0; q < QUADS; q++) {
			const float *from = row[q * WARPS + warp];
			const bool there = from && col < K;
			float4 *to = coming + (block % PREFETCH * QUADS + q) * THREADS + tid;

			if (j.x_quads)
				copy_async(to, there ? from + col : j.x, there ? 16 : 0);
			else
				*to = x_quad(from, col, K, false);
		}
	};
	auto round = [&](int block) {
		unsigned char *to = xs + (block % 2 * NT * 8 + warp) * ROW_BYTES + x_offset<D>(tid % 32);

		for (int q = 0; q < QUADS; q++) {
			float4 v = coming[(block % PREFETCH * QUADS + q) * THREADS + tid];

			*(uint2 *)(to + q * WARPS * ROW_BYTES) = make_uint2(bf16_pair(v.x, v.y), bf16_pair(v.z, v.w));
		}
	};

	for (int i = 0; i < PREFETCH; i++)
		load(i);
	for (int i = 0; i < RING - 1; i++)
		fetch();
	copy_wait<RING - 2>();                  /* what was loaded went with the first chunk */
	round(0);
	for (int block = 0; block < blocks; block++) {
		const unsigned char *x = xs + (block % 2 * NT * 8 + g) * ROW_BYTES + c * LANE_BYTES;
		float sum[MT][NT][4] = { }, scales[2 * MT][2] = { };
		uint4 slot[2 * MT] = { };

		__syncthreads();                /* x is there, and all have read that of the block before */
		load(block + PREFETCH);
#pragma unroll
		for (int step = 0; step < STEPS; step += 2) {
			uint32_t a[2][MT][4];

#pragma unroll
			for (int i = 0; i < 2; i++) {
				if ((step + i) % S == 0) {
					copy_wait<RING - 2>();
					fetch();
					lane_scales<D, MT>(scales, &l, &t, K, chunk);
#pragma unroll
					for (int s = 0; s < 2 * MT; s++)
						slot[s] = ring[(chunk % RING * 2 * MT + s) * THREADS + tid];
					chunk++;
				}
#pragma unroll
				for (int m = 0; m < MT; m++)
					step_weights<D>(a[i][m], slot + 2 * m, (step + i) % S, scales + 2 * m);
			}
#pragma unroll
			for (int n = 0; n < NT; n += 2) {
				uint32_t b[2][2][2];

#pragma unroll
				for (int k = 0; k < 2; k++) {
					uint4 two = *(const uint4 *)(x + (n + k) * 8 * ROW_BYTES + step * QUAD_BYTES);

					b[0][k][0] = two.x, b[0][k][1] = two.y, b[1][k][0] = two.z, b[1][k][1] = two.w;
				}
#pragma unroll
				for (int i = 0; i < 2; i++)
#pragma unroll
					for (int k = 0; k < 2; k++)
#pragma unroll
						for (int m = 0; m < MT; m++)
							mma_bf16(sum[m][n + k], a[i][m], b[i][k]);
			}
		}
		copy_wait<(LATER < RING - 1 ? LATER : RING - 1)>();     /* so many groups follow x of the next block */
		round(block + 1);
#pragma unroll
		for (int m = 0; m < MT; m++)
#pragma unroll
			for (int i = 0; i < 4; i++) {
				float by = scale[2 * m + i / 2] ? scale[2 * m + i / 2][block] : 1;

#pragma unroll
				for (int n = 0; n < NT; n++)
					acc[m][n][i] = fmaf(by, sum[m][n][i], acc[m][n][i]);
			}
	}
	copy_wait<0>();
#pragma unroll
	for (int m = 0; m < MT; m++)
#pragma unroll
		for (int n = 0; n < NT; n++)
#pragma unroll
			for (int i = 0; i < 2; i++) {
				int at = (warp * MT + m) * 16 + g, o = tile_output(&t, &j, at);

				tile_end(&j, &t, o, n * 8 + 2 * c + i, acc[m][n][i], acc[m][n][2 + i]);
				if (j.end != END_SILU)
					tile_end(&j, &t, o + 8, n * 8 + 2 * c + i, acc[m][n][2 + i], 0);
			}
}

#endif
