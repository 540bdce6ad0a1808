/*
 * Transposed gemm: sums over rows of w, each one chain.  A thread has four columns of TM rows of x,
 * a warp 128 neighbouring columns.  The warps of a block have other rows of x, so that L1 has w.
 */
#include "f32.cuh"

enum { WIDTH = 4, COLUMNS = 32 * WIDTH, WARPS_MOST = 4 };

/* What a thread reads, but for its rows of x. */
struct columns {
	struct mat w;
	int first, rows, c;             /* rows of w; the thread's first column */
	int wide;                       /* each x is aligned to 16 bytes */
	const float *levels;            /* of Q4 */
};

/* w[r][c .. c+3]; outside of its columns 0, where loads are not wide. */
template <int DT> static __device__ __forceinline__ void
weights(float w[WIDTH], const struct columns *k, int r)
{
	const int n = k->first + r, c = k->c;
	const unsigned char *row = (const unsigned char *)k->w.data +
	    (size_t)n * row_bytes(DT == ANY ? k->w.dtype : (enum dtype)DT, k->w.cols);

	if (DT == F32) {
		*(float4 *)w = *(const float4 *)(row + (size_t)c * 4);
	} else if (DT == BF16 || DT == F16) {
		const uint2 v = *(const uint2 *)(row + (size_t)c * 2);

		w[0] = DT == BF16 ? float_of_bits(v.x << 16) : float_of_f16((uint16_t)v.x);
		w[1] = DT == BF16 ? float_of_bits(v.x & 0xffff0000) : float_of_f16((uint16_t)(v.x >> 16));
		w[2] = DT == BF16 ? float_of_bits(v.y << 16) : float_of_f16((uint16_t)v.y);
		w[3] = DT == BF16 ? float_of_bits(v.y & 0xffff0000) : float_of_f16((uint16_t)(v.y >> 16));
	} else if (DT == F8_E4M3) {
		floats_of_f8(w, *(const uint32_t *)(row + c));
	} else if (DT == Q8 || DT == Q4) {
		const float scale = float_of_f8(row_groups(&k->w, n)[c / QUANT_GROUP]) * k->w.factor;
		const uint32_t v = *(const uint32_t *)(row + (DT == Q4 ? c / 32 * 16 + c % 16 : c)) >> (DT == Q4 ? c / 16 % 2 * 4 : 0);

#pragma unroll
		for (int i = 0; i < WIDTH; i++)
			w[i] = (DT == Q4 ? k->levels[v >> i * 8 & 15] : (float)(signed char)(v >> i * 8)) * scale;
	} else {
#pragma unroll
		for (int i = 0; i < WIDTH; i++)
			w[i] = c + i < k->w.cols ? mat_element(&k->w, n, c + i) : 0;
	}
}

/* sum[t] += rows r .. r+N-1 of w. */
template <int DT, int TM, int N> static __device__ __forceinline__ void
rows_sum(float sum[TM][WIDTH], const struct columns *k, const float *const x[TM], int r)
{
	alignas(16) float w[N][WIDTH];

#pragma unroll
	for (int i = 0; i < N; i++)
		weights<DT>(w[i], k, r + i);
#pragma unroll
	for (int t = 0; t < TM; t++) {
		alignas(16) float v[N];

#pragma unroll
		for (int i = 0; i < N; i += 4)
			if (N % 4 == 0)
				*(float4 *)(v + i) = *(const float4 *)(x[t] + r + i);
			else
				v[i] = x[t][r + i];
#pragma unroll
		for (int i = 0; i < N; i++)
#pragma unroll
			for (int j = 0; j < WIDTH; j++)
				sum[t][j] = fmaf(w[i][j], v[i], sum[t][j]);
	}
}

/* Rows r .. end-1: many loads at once for one row of x, fewer for several, whose sums take the
 * registers, and where a row takes many instructions. */
template <int DT, int TM> static __device__ __forceinline__ void
chain(float sum[TM][WIDTH], const struct columns *k, const float *const x[TM], int r, int end)
{
	constexpr int N = TM == 1 && DT != ANY ? 16 : 4;

	if (k->wide && r % 4 == 0)
		for (; r + N <= end; r += N)
			rows_sum<DT, TM, N>(sum, k, x, r);
	for (; r < end; r++)
		rows_sum<DT, TM, 1>(sum, k, x, r);
}

/* In FP8 rows that share a scale are a chain of their own. */
template <int DT, int TM> static __device__ __forceinline__ void
chain_f8(float sum[TM][WIDTH], const struct columns *k, const float *const x[TM])
{
	for (int r = 0, end; r < k->rows; r = end) {
		float block[TM][WIDTH] = {};

		end = mat_block_end(&k->w, k->first + r, k->first + k->rows) - k->first;
		chain<DT, TM>(block, k, x, r, end);
#pragma unroll
		for (int j = 0; j < WIDTH; j++) {
			const float scale = k->c + j < k->w.cols ? mat_scale(&k->w, k->first + r, k->c + j) : 1;

#pragma unroll
			for (int t = 0; t < TM; t++)
				sum[t][j] = fmaf(scale, block[t][j], sum[t][j]);
		}
	}
}

template <int DT, int TM> static __global__ void __launch_bounds__(32 * WARPS_MOST)
gemm_t(const struct product k)
{
	__shared__ float levels[16];
	static const signed char level[16] = { QUANT_LEVELS };
	const int tid = (int)threadIdx.x, t0 = ((int)blockIdx.y * (int)(blockDim.x / 32) + tid / 32) * TM;
	const struct columns c = { k.w, k.first + (int)blockIdx.z * k.step, k.rows, (int)blockIdx.x * COLUMNS + tid % 32 * WIDTH,
	    product_wide_x(&k), levels };
	float *out = k.out + (ptrdiff_t)blockIdx.z * k.out_step;
	float sum[TM][WIDTH] = {};
	const float *x[TM];

	if (DT == Q4) {
		if (tid < 16)
			levels[tid] = level[tid];
		__syncthreads();
	}
	if (t0 >= k.T || c.c >= k.w.cols)
		return;
#pragma unroll
	for (int t = 0; t < TM; t++)
		x[t] = k.x + (ptrdiff_t)blockIdx.z * k.x_step + (ptrdiff_t)(t0 + t < k.T ? t0 + t : t0) * k.ldx;
	if (DT == F8_E4M3 || (DT == ANY && k.w.dtype == F8_E4M3))
		chain_f8<DT, TM>(sum, &c, x);
	else
		chain<DT, TM>(sum, &c, x, 0, k.rows);
#pragma unroll
	for (int t = 0; t < TM; t++)
#pragma unroll
		for (int j = 0; j < WIDTH; j++)
			if (t0 + t < k.T && c.c + j < k.w.cols)
				out[(ptrdiff_t)(t0 + t) * k.ldo + c.c + j] = canonical(sum[t][j]);
}

template <int TM> static int
gemm_t_launch(struct gpu *g, const struct product *k)
{
	const int wide = k->w.cols % WIDTH == 0 && (uintptr_t)k->w.data % 16 == 0;
	const int warps = k->T <= TM ? 1 : k->T <= TM * 2 ? 2 : WARPS_MOST;
	const dim3 grid((unsigned)((k->w.cols + COLUMNS - 1) / COLUMNS), (unsigned)((k->T + TM * warps - 1) / (TM * warps)),
	    (unsigned)k->H);
	void (*kernel)(const struct product) = gemm_t<ANY, TM>;

	if (wide)
		kernel = with_dtype(k->w.dtype, [](auto t) { return gemm_t<decltype(t)::value, TM>; });
	return launch(g, kernel, grid, dim3((unsigned)(32 * warps)), 0, *k);
}

int
product_gemm_t(struct gpu *g, const struct product *k)
{
	return k->T == 1 ? gemm_t_launch<1>(g, k) : gemm_t_launch<8>(g, k);
}
