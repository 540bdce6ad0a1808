/*
 * The tree of a sum (cpu.h) over 16 neighbouring threads with a lane each.
 */
#ifndef DS_TREE_CUH
#define DS_TREE_CUH

#include "launch.cuh"

#include "cpu/cpu.h"

/* One sum: all threads get it. */
static __device__ __forceinline__ float
tree_threads(float x)
{
	for (int bit = LANES / 2; bit > 0; bit /= 2)
		x += __shfl_xor_sync(0xffffffff, x, bit);
	return x;
}

/* 64 sums: at each step a thread passes on half of the sums that it still has and adds the other
 * thread's part of its own half.  Thread i ends with sums 4 i .. 4 i + 3, in sum[0 .. 3]. */
static __device__ __forceinline__ void
tree_threads64(float sum[64], int thread)
{
#pragma unroll
	for (int half = 32, bit = LANES / 2; bit > 0; half /= 2, bit /= 2)
#pragma unroll
		for (int i = 0; i < 32; i++)
			if (i < half) {
				float keep = thread & bit ? sum[i + half] : sum[i], pass = thread & bit ? sum[i] : sum[i + half];

				sum[i] = keep + __shfl_xor_sync(0xffffffff, pass, bit);
			}
}

#endif
