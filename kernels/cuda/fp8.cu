/*
 * Rows of float32 become E4M3: of each 128 columns the largest magnitude decides which power of two
 * they are divided by, so that it is at most 448, the largest E4M3.  A warp has a block of a row.
 */
#include "fp8.cuh"

#include <float.h>

#define WARPS 4

size_t
fp8_bytes(int n, int cols)
{
	size_t blocks = ((size_t)cols + BLOCK - 1) / BLOCK, step = ((size_t)n + 3) / 4 * 4;

	return ((size_t)n * blocks * BLOCK + 255) / 256 * 256 + (step * blocks * sizeof(float) + 255) / 256 * 256;
}

struct fp8_rows
fp8_layout(void *memory, int n, int cols)
{
	int blocks = (cols + BLOCK - 1) / BLOCK;
	size_t codes = ((size_t)n * blocks * BLOCK + 255) / 256 * 256;

	return {(unsigned char *)memory, (float *)((unsigned char *)memory + codes), blocks, (n + 3) / 4 * 4};
}

/* Columns c .. c+3 of a row, zero after the last; float4 where the row is aligned. */
static __device__ void
four(float v[4], const float *x, int c, int cols, bool aligned)
{
	if (aligned && c + 4 <= cols) {
		float4 f = *(const float4 *)(x + c);

		v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
		return;
	}
	for (int i = 0; i < 4; i++)
		v[i] = c + i < cols ? x[c + i] : 0;
}

static __global__ void
round_kernel(struct fp8_rows to, const float *x, ptrdiff_t ldx, int cols, const int32_t *row, const int32_t *count)
{
	int lane = threadIdx.x % 32, b = (int)(blockIdx.y * WARPS + threadIdx.x / 32), i = (int)blockIdx.x;
	const float *from;
	float v[4], most = 0, scale;
	uint32_t codes = 0;

	if (b >= to.blocks || (count && i >= *count))
		return;
	from = x + (row ? row[i] : i) * ldx;
	four(v, from, b * BLOCK + lane * 4, cols, ((uintptr_t)from & 15) == 0);
	for (int j = 0; j < 4; j++)
		most = fabsf(v[j]) <= FLT_MAX ? fmaxf(most, fabsf(v[j])) : most;
	for (int d = 16; d > 0; d /= 2)
		most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, d));
	scale = f8_scale(most);
	for (int j = 0; j < 4; j++)
		codes |= (uint32_t)f8_of_float(v[j] / scale) << 8 * j;
	((uint32_t *)(to.codes + ((size_t)i * to.blocks + b) * BLOCK))[lane] = codes;
	if (lane == 0)
		to.scale[(size_t)b * to.step + i] = scale;
}

int
fp8_round(struct gpu *g, const struct fp8_rows *to, const float *x, ptrdiff_t ldx, int cols, int n, const int32_t *row,
    const int32_t *count)
{
	return launch(g, round_kernel, dim3(n, (to->blocks + WARPS - 1) / WARPS), dim3(WARPS * 32), 0, *to, x, ldx, cols, row, count);
}
