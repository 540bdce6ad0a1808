/*
 * gemm: more than a few rows of x.  A block computes GEMM_ROWS by OUTS outputs.  Both factors lie
 * in shared memory as float32, SLICE columns at a time, while the next are fetched.  A thread has
 * one lane of 8 by 8 outputs: it reads 16 numbers for 64 multiply-adds, and 16 neighbouring threads
 * read 16 neighbouring numbers.
 */
#include "f32.cuh"
#include "tree.cuh"

enum { OUTS = 32, SLICE = 64, THREADS = 256, SIDE = 8 };
enum { STRIDE = SLICE + 16 };   /* neighbouring rows, read at once, are in different banks */
enum { EACH = SLICE / (THREADS / OUTS) };       /* columns of a row that a thread fetches: of one row of w, and of x */

struct buffer {
	float w[OUTS][STRIDE], x[GEMM_ROWS][STRIDE];
	float scale[OUTS];
};

/* What a thread has fetched and not yet stored; it came and goes by 16 bytes. */
struct alignas(16) fetched {
	uint32_t w[EACH];
	float x[EACH], scale;
};

/* Columns k .. k+7 of row n of w as they are stored, for wide loads; k is a multiple of 8. */
template <int DT> static __device__ __forceinline__ void
fetch_weights(struct fetched *f, const struct mat *w, int n, int k)
{
	const unsigned char *row = (const unsigned char *)w->data + (size_t)n * row_bytes((enum dtype)DT, w->cols);

	if (DT == F32) {
		*(uint4 *)f->w = *(const uint4 *)(row + (size_t)k * 4);
		*(uint4 *)(f->w + 4) = *(const uint4 *)(row + (size_t)k * 4 + 16);
	} else if (DT == BF16 || DT == F16) {
		*(uint4 *)f->w = *(const uint4 *)(row + (size_t)k * 2);
	} else {
		*(uint2 *)f->w = *(const uint2 *)(row + (DT == Q4 ? k / 32 * 16 + k % 16 : k));
	}
	if (DT == F8_E4M3)
		f->scale = mat_scale(w, n, k);
	if (DT == Q8 || DT == Q4)
		f->scale = float_of_f8(row_groups(w, n)[k / QUANT_GROUP]) * w->factor;
}

/* The same made float32. */
template <int DT> static __device__ __forceinline__ void
unpack(float to[EACH], const struct fetched *f, const float *levels, int k)
{
#pragma unroll
	for (int i = 0; i < EACH; i++) {
		if (DT == BF16)
			to[i] = float_of_bits(i % 2 ? f->w[i / 2] & 0xffff0000 : f->w[i / 2] << 16);
		else if (DT == F16)
			to[i] = float_of_f16((uint16_t)(f->w[i / 2] >> i % 2 * 16));
		else if (DT == Q8)
			to[i] = (float)(signed char)(f->w[i / 4] >> i % 4 * 8) * f->scale;
		else if (DT == Q4)
			to[i] = levels[f->w[i / 4] >> (i % 4 * 8 + k / 16 % 2 * 4) & 15] * f->scale;
		else if (DT != F8_E4M3)
			to[i] = float_of_bits(f->w[i]);
	}
	if (DT == F8_E4M3) {
		floats_of_f8(to, f->w[0]);
		floats_of_f8(to + 4, f->w[1]);
	}
}

/* Columns k .. k+7 of row `row` of both: what lies outside is 0. */
template <int DT> static __device__ __forceinline__ void
fetch(struct fetched *f, const struct tile *p, const float *x, int n, int k)
{
	const int cols = p->w.cols;

	for (int i = 0; i < EACH; i++) {
		f->w[i] = 0;
		f->x[i] = 0;
	}
	f->scale = 1;
	if (DT == ANY) {
		for (int i = 0; i < EACH && k + i < cols; i++) {
			f->x[i] = x ? x[k + i] : 0;
			f->w[i] = n < p->rows ? bits_of_float(mat_element(&p->w, p->first + n, k + i)) : 0;
		}
		if (n < p->rows && k < cols && p->w.dtype == F8_E4M3)
			f->scale = mat_scale(&p->w, p->first + n, k);
		return;
	}
	if (k >= cols)
		return;
	if (n < p->rows)
		fetch_weights<DT>(f, &p->w, p->first + n, k);
	if (x) {
		*(float4 *)f->x = *(const float4 *)(x + k);
		*(float4 *)(f->x + 4) = *(const float4 *)(x + k + 4);
	}
}

template <int DT> static __device__ __forceinline__ void
store(struct buffer *b, const struct fetched *f, const float *levels, int row, int column, int k)
{
	alignas(16) float w[EACH];

	unpack<DT>(w, f, levels, k);
	for (int i = 0; i < EACH; i += 4) {
		*(float4 *)&b->w[row][column + i] = *(float4 *)(w + i);
		*(float4 *)&b->x[row][column + i] = *(float4 *)(f->x + i);
	}
	if (column == 0)
		b->scale[row] = f->scale;
}

/* sum += 16 columns: outputs o .. o+7, rows t, t+2, .. t+14. */
static __device__ __forceinline__ void
step(float sum[SIDE * SIDE], const struct buffer *b, int o, int t, int column)
{
	float w[SIDE], x[SIDE];

#pragma unroll
	for (int i = 0; i < SIDE; i++) {
		w[i] = b->w[o + i][column];
		x[i] = b->x[t + 2 * i][column];
	}
#pragma unroll
	for (int i = 0; i < SIDE; i++)
#pragma unroll
		for (int j = 0; j < SIDE; j++)
			sum[i * SIDE + j] = fmaf(w[j], x[i], sum[i * SIDE + j]);
}

/* In FP8 a block of columns has sums of its own, which join the others at its end; else they are
 * the sums. */
static __device__ __forceinline__ void
join(float sum[SIDE * SIDE], float block[SIDE * SIDE], const float *scale, int fp8)
{
#pragma unroll
	for (int i = 0; i < SIDE; i++)
#pragma unroll
		for (int j = 0; j < SIDE; j++) {
			sum[i * SIDE + j] = fp8 ? fmaf(scale[j], block[i * SIDE + j], sum[i * SIDE + j]) : block[i * SIDE + j];
			block[i * SIDE + j] = 0;
		}
}

template <int DT> static __global__ void __launch_bounds__(THREADS, DT == F8_E4M3 || DT == ANY ? 1 : 2)
gemm(const struct product k)
{
	SHARED(struct buffer, buffer);          /* two */
	__shared__ float levels[16];
	static const signed char level[16] = { QUANT_LEVELS };
	const int tid = (int)threadIdx.x, lane = tid % LANES, tile = tid / LANES, n0 = (int)blockIdx.x * OUTS;
	const int o = tile / 4 * SIDE, t = tile % 4 / 2 * 2 * SIDE + tile % 2;
	const int row = tid / (SLICE / EACH), column = tid % (SLICE / EACH) * EACH;
	float sum[SIDE * SIDE] = {}, block[SIDE * SIDE] = {};
	struct fetched f;
	struct tile p;
	const float *x;
	constexpr int blocks = DT == F8_E4M3 || DT == ANY;

	if (!tile_of(&p, &k, GEMM_ROWS))
		return;
	if (DT == Q4 && tid < 16)
		levels[tid] = level[tid];
	__syncthreads();
	x = row < p.T ? tile_x(&p, &k, row) : NULL;
	fetch<DT>(&f, &p, x, n0 + row, column);
	store<DT>(buffer, &f, levels, row, column, column);
	__syncthreads();
	for (int at = 0, next, i = 0; at < p.w.cols; at = next, i ^= 1) {
		next = at + SLICE;
		if (next < p.w.cols)
			fetch<DT>(&f, &p, x, n0 + row, next + column);
		for (int c = 0; c < SLICE && at + c < p.w.cols; c += LANES)
			step(blocks ? block : sum, &buffer[i], o, t, c + lane);
		if (blocks && ((next % BLOCK == 0 && p.w.dtype == F8_E4M3) || next >= p.w.cols))
			join(sum, block, buffer[i].scale + o, DT == F8_E4M3 || p.w.dtype == F8_E4M3);
		if (next < p.w.cols)
			store<DT>(&buffer[i ^ 1], &f, levels, row, column, next + column);
		__syncthreads();
	}
	tree_threads64(sum, lane);
#pragma unroll
	for (int j = 0; j < 4; j++) {
		const int n = o + lane % 2 * 4 + j, m = t + lane / 2 * 2;

		if (n0 + n < p.rows && m < p.T)
			tile_put(&p, &k, m, n0 + n, sum[j]);
	}
}

int
product_gemm(struct gpu *g, const struct product *k)
{
	dim3 grid((unsigned)((k->rows + OUTS - 1) / OUTS), 0, (unsigned)k->H);
	void (*kernel)(const struct product) = gemm<ANY>;

	if (product_wide(k))
		kernel = with_dtype(k->w.dtype, [](auto t) { return gemm<decltype(t)::value>; });
	grid.y = (unsigned)(k->tiles ? k->ntiles : (k->T + GEMM_ROWS - 1) / GEMM_ROWS);
	return launch(g, kernel, grid, dim3(THREADS), 2 * sizeof(struct buffer), *k);
}
