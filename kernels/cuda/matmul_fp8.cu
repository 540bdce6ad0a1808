/*
 * Products of PRECISION_FP8.  A group of four warps makes the sums of 64 outputs for N rows of x;
 * the weights and the rows of 128 columns are a stage of a pipeline through shared memory.  Weights
 * are the side with 64 rows, so that few rows of x cost little, and each output's sum is the same
 * sequence of steps for every N.
 *
 * Processors of compute capability 9.0 do it by wgmma, others by mma.sync: on one kind of card it
 * is always the same.
 */
#include "fp8.cuh"
#include "products.h"
#include "ptx.cuh"
#include "ptx_fp8.cuh"
#include "epilogue.cuh"

#define GROUP 128               /* threads */
#define OUTS 64                 /* outputs of a group */
#define STAGES 4
#define WEIGHTS (OUTS * TILE_ROW)

/* Bytes of a stage, filled up so that the next one's tiles are aligned: weights of each group,
 * rows, their scales. */
static constexpr __host__ __device__ int
stage_bytes(int n, int groups)
{
	return (groups * WEIGHTS + n * TILE_ROW + n * 4 + 1023) / 1024 * 1024;
}

static int
memory_bytes(int n, int groups)
{
	return STAGES * stage_bytes(n, groups) + 1024;
}

static __device__ unsigned char *
aligned_1024(unsigned char *p)
{
	return p + (1024 - ((uintptr_t)p & 1023)) % 1024;
}

/* A chunk of 16 codes from column k on of a row that has `cols`, where they can't be copied as they
 * are. */
static __device__ void
chunk_slowly(unsigned char *to, const unsigned char *row, int k, int cols)
{
	for (int i = 0; i < 16; i++)
		to[i] = row && k + i < cols ? row[k + i] : 0;
}

/* Block b of the weights n0 .. n0+63, by the threads of a group. */
static __device__ void
load_weights(unsigned char *tile, const struct mat *w, int n0, int b, int thread)
{
	for (int i = thread; i < OUTS * 8; i += GROUP) {
		int r = i / 8, c = i % 8, k = b * BLOCK + c * 16;
		const unsigned char *row = (const unsigned char *)w->data + (size_t)(n0 + r) * w->cols;
		bool there = n0 + r < w->rows && k < w->cols;

		if (w->cols % 16 == 0)
			copy_async(tile + tile_at(r, c), there ? row + k : w->data, there ? 16 : 0);
		else
			chunk_slowly(tile + tile_at(r, c), there ? row : NULL, k, w->cols);
	}
}

/* Block b of the rows r0 .. r0+rows-1 of x and their scales, then zeros. */
template <int N> static __device__ void
load_rows(unsigned char *tile, const struct fp8_rows *x, int r0, int rows, int b)
{
	float *scale = (float *)(tile + N * TILE_ROW);

	for (int i = (int)threadIdx.x; i < N * 8; i += (int)blockDim.x) {
		int r = i / 8, c = i % 8;
		const unsigned char *from = x->codes + ((size_t)(r0 + (r < rows ? r : 0)) * x->blocks + b) * BLOCK + c * 16;

		copy_async(tile + tile_at(r, c), from, r < rows ? 16 : 0);
	}
	for (int r = (int)threadIdx.x; r < N; r += (int)blockDim.x)
		copy4(scale + r, x->scale + (size_t)b * x->step + r0 + (r < rows ? r : 0), r < rows);
}

/* d = the sums over a block's columns. */
template <int N, bool WG> static __device__ __forceinline__ void
block_sums(float d[N / 2], const unsigned char *weights, const unsigned char *rows)
{
	if constexpr (WG) {
		wgmma_hold<N / 2>(d);
		wgmma_begin();
#pragma unroll
		for (int k = 0; k < BLOCK; k += 32)
			wgmma_e4m3<N>(d, tile_descriptor(weights, k), tile_descriptor(rows, k), k > 0);
		wgmma_done();
		wgmma_hold<N / 2>(d);
	} else {
		int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32 % 4;

		for (int i = 0; i < N / 2; i++)
			d[i] = 0;
		for (int c = 0; c < 8; c += 2) {
			uint32_t a[4], b[4];

			ldmatrix_x4(a, weights + tile_at(warp * 16 + lane % 16, c + lane / 16));
			for (int j = 0; j < N / 8; j += 2) {
				ldmatrix_x4(b, rows + tile_at((j * 8 + lane % 8 + lane / 16 * 8) % N, c + lane / 8 % 2));
				mma_e4m3(d + j * 4, a, b);
				if (j + 1 < N / 8)
					mma_e4m3(d + j * 4 + 4, a, b + 2);
			}
		}
	}
}

static __device__ float
weight_scale(const struct mat *w, int n, int b)
{
	return w->scale && n < w->rows ? w->scale[(size_t)((w->row0 + n) / BLOCK) * w->scale_cols + b] : 1;
}

/* The output, counted from the tile's first, and the row that acc[i] of this thread is for. */
static __device__ int
out_of(int i)
{
	return (int)threadIdx.x / 32 % 4 * 16 + (int)threadIdx.x % 32 / 4 + (i & 2) * 4;
}

static __device__ int
row_of(int i)
{
	return i / 4 * 8 + (int)threadIdx.x % 4 * 2 + (i & 1);
}

/* acc += the sums of the outputs n0 .. of w, this group's, with the rows r0 .. of x: all blocks of
 * columns. */
template <int N, bool WG, int GROUPS> static __device__ void
sums(float acc[N / 2], const struct mat *w, int n0, const struct fp8_rows *x, int r0, int rows, unsigned char *memory)
{
	int group = (int)threadIdx.x / GROUP, thread = (int)threadIdx.x % GROUP;
	float d[N / 2] = {};

	for (int b = 0; b < STAGES - 1; b++) {
		unsigned char *stage = memory + b * stage_bytes(N, GROUPS);

		if (b < x->blocks) {
			load_weights(stage + group * WEIGHTS, w, n0, b, thread);
			load_rows<N>(stage + GROUPS * WEIGHTS, x, r0, rows, b);
		}
		copy_commit();
	}
	for (int b = 0; b < x->blocks; b++) {
		unsigned char *stage = memory + b % STAGES * stage_bytes(N, GROUPS), *tile = stage + GROUPS * WEIGHTS;
		unsigned char *next = memory + (b + STAGES - 1) % STAGES * stage_bytes(N, GROUPS);
		const float *scale = (const float *)(tile + N * TILE_ROW);
		float mine[2] = {weight_scale(w, n0 + out_of(0), b), weight_scale(w, n0 + out_of(2), b)};

		copy_wait<STAGES - 2>();
		if constexpr (WG)
			wgmma_publish();
		__syncthreads();
		if (b + STAGES - 1 < x->blocks) {
			load_weights(next + group * WEIGHTS, w, n0, b + STAGES - 1, thread);
			load_rows<N>(next + GROUPS * WEIGHTS, x, r0, rows, b + STAGES - 1);
		}
		copy_commit();
		block_sums<N, WG>(d, stage + group * WEIGHTS, tile);
#pragma unroll
		for (int i = 0; i < N / 2; i++)
			acc[i] = fmaf(mine[i >> 1 & 1] * scale[row_of(i)], d[i], acc[i]);
	}
	copy_wait<0>();
	__syncthreads();        /* the memory is free for other uses */
}

/* --- one matrix, all rows --- */

template <int N, bool WG> static __global__ void __launch_bounds__(GROUP, 1)
matmul_kernel(float *out, ptrdiff_t ldo, struct fp8_rows x, int T, struct mat w)
{
	SHARED(unsigned char, memory);
	int n0 = (int)blockIdx.x * OUTS, r0 = (int)blockIdx.y * N;
	float acc[N / 2] = {0};

	sums<N, WG, 1>(acc, &w, n0, &x, r0, T - r0, aligned_1024(memory));
#pragma unroll
	for (int i = 0; i < N / 2; i++)
		if (n0 + out_of(i) < w.rows && r0 + row_of(i) < T)
			out[(r0 + row_of(i)) * ldo + n0 + out_of(i)] = canonical(acc[i]);
}

/* How many rows a tile gets: few where few are expected, since all are computed, and no more than
 * there is shared memory for. */
static int
tile_rows(const struct gpu *g, int expected, int groups)
{
	int n = 8;

	while (n < expected && n < 128 && (size_t)memory_bytes(2 * n, groups) <= g->shared_most)
		n *= 2;
	return n;
}

/* WITH_TILE(n, wg, CALL): CALL with N and WG as constants. */
#define WITH_WG(n, wg, call) do { constexpr int N = n; if (wg) { constexpr bool WG = true; r = call; } \
	else { constexpr bool WG = false; r = call; } } while (0)
#define WITH_TILE(n, wg, call) do switch (n) { \
	case 8: WITH_WG(8, wg, call); break; \
	case 16: WITH_WG(16, wg, call); break; \
	case 32: WITH_WG(32, wg, call); break; \
	case 64: WITH_WG(64, wg, call); break; \
	default: WITH_WG(128, wg, call); break; \
	} while (0)

static int
capable(struct gpu *g)
{
	if (gpu_capability(g) >= 89)
		return 0;
	return gpu_fail("fp8 needs compute capability 8.9, this GPU has %d.%d", gpu_capability(g) / 10, gpu_capability(g) % 10);
}

/* x becomes E4M3 in the library's own memory.  Weights of other types are multiplied as in bf16. */
static int
matmul(struct gpu *g, const struct product *p)
{
	int n = tile_rows(g, p->T, 1), r;
	struct fp8_rows rows;
	void *memory;

	if (p->w.dtype != F8_E4M3)
		return products_bf16.matmul(g, p);
	if (capable(g) < 0 || !(memory = gpu_workspace(g, fp8_bytes(p->T, p->w.cols))))
		return -1;
	rows = fp8_layout(memory, p->T, p->w.cols);
	if (fp8_round(g, &rows, p->x, p->ldx, p->w.cols, p->T, NULL, NULL) < 0)
		return -1;
	WITH_TILE(n, gpu_capability(g) == 90, (launch(g, matmul_kernel<N, WG>,
	    dim3((p->w.rows + OUTS - 1) / OUTS, (p->T + N - 1) / N), dim3(GROUP), memory_bytes(N, 1), p->out, p->ldo, rows,
	    p->T, p->w)));
	return r;
}

/* --- the mlps of a layer, each for the rows that chose it --- */

/* inner[i] = silu(gate x) * up x of pair i: one group makes gate's sums, one up's. */
template <int N, bool WG> static __global__ void __launch_bounds__(2 * GROUP, 1)
inner_kernel(float *inner, struct fp8_rows x, const struct mlp *mlps, const struct expert_tile *tiles)
{
	SHARED(unsigned char, memory);
	unsigned char *aligned = aligned_1024(memory);
	float (*up)[N + 1] = (float (*)[N + 1])aligned;
	int n0 = (int)blockIdx.x * OUTS, second = threadIdx.x >= GROUP;
	struct expert_tile p = tiles[blockIdx.y];
	float acc[N / 2] = {0};
	struct mat w;

	if (p.n <= 0)
		return;
	w = second ? mlps[p.expert].up : mlps[p.expert].gate;
	sums<N, WG, 2>(acc, &w, n0, &x, p.first, p.n, aligned);
#pragma unroll
	for (int i = 0; second && i < N / 2; i++)
		up[out_of(i)][row_of(i)] = canonical(acc[i]);
	__syncthreads();
#pragma unroll
	for (int i = 0; !second && i < N / 2; i++)
		if (n0 + out_of(i) < w.rows && row_of(i) < p.n)
			inner[(size_t)(p.first + row_of(i)) * w.rows + n0 + out_of(i)] =
			    silu_mul_one(canonical(acc[i]), up[out_of(i)][row_of(i)]);
}

template <int N, bool WG> static __global__ void __launch_bounds__(GROUP, 1)
outer_kernel(struct epilogue to, struct fp8_rows x, const struct mlp *mlps, const struct expert_tile *tiles)
{
	SHARED(unsigned char, memory);
	int n0 = (int)blockIdx.x * OUTS;
	struct expert_tile p = tiles[blockIdx.y];
	float acc[N / 2] = {0};
	struct mat w;

	if (p.n <= 0)
		return;
	w = mlps[p.expert].down;
	sums<N, WG, 1>(acc, &w, n0, &x, p.first, p.n, aligned_1024(memory));
#pragma unroll
	for (int i = 0; i < N / 2; i++)
		if (n0 + out_of(i) < w.rows && row_of(i) < p.n)
			epilogue_add(&to, p.first + row_of(i), n0 + out_of(i), acc[i]);
}

/* What mlp keeps in scratch. */
struct scratch {
	void *x, *codes;                /* fp8_layout: rows of x, one for each pair, and what is between the matrices */
	float *inner;                   /* the latter before it is rounded: [pairs][width] */
	struct expert_tile *tiles;
	size_t bytes;
};

static size_t
arena_add(unsigned char *base, size_t *used, size_t bytes, void *to)
{
	*(void **)to = base + *used;
	*used += (bytes + 255) / 256 * 256;
	return *used;
}

/* A tile for twice as many rows as an expert gets if all get as many. */
static int
tile_of(const struct gpu *g, int pairs, int E)
{
	return tile_rows(g, (2 * pairs + E - 1) / E, 2);
}

static struct scratch
scratch_of(void *memory, int D, int width, int pairs)
{
	unsigned char *base = (unsigned char *)memory;
	struct scratch s;
	size_t used = 0;

	arena_add(base, &used, fp8_bytes(pairs, D), &s.x);
	arena_add(base, &used, fp8_bytes(pairs, width), &s.codes);
	arena_add(base, &used, (size_t)pairs * width * sizeof(float), &s.inner);
	s.bytes = arena_add(base, &used, (size_t)pairs * sizeof(struct expert_tile), &s.tiles);
	return s;
}

static int
is_fp8(const struct mlp *m)
{
	return m->gate.dtype == F8_E4M3 && m->up.dtype == F8_E4M3 && m->down.dtype == F8_E4M3;
}

/* For either: whether the weights are of FP8 is not known yet. */
static size_t
mlp_scratch(int D, int width, int pairs)
{
	size_t bytes = scratch_of(NULL, D, width, pairs).bytes, bf16 = products_bf16.mlp_scratch(D, width, pairs);

	return bytes > bf16 ? bytes : bf16;
}

static int
mlp(struct gpu *g, int64_t *acc, const float *x, int D, const struct mlp *mlps, const struct mlp *like,
    const struct expert_pairs *c, int32_t *bad, float *each, void *memory)
{
	int width = like->gate.rows, n = tile_of(g, c->pairs, c->E), r, wg = gpu_capability(g) == 90;
	int most = tiles_most(c->E, c->pairs, n);
	struct scratch s = scratch_of(memory, D, width, c->pairs);
	struct fp8_rows in = fp8_layout(s.x, c->pairs, D), inner = fp8_layout(s.codes, c->pairs, width);
	struct epilogue to = {acc, each, bad, c->row, c->slot, c->w, D};

	if (!is_fp8(like))
		return products_bf16.mlp(g, acc, x, D, mlps, like, c, bad, each, memory);
	if (capable(g) < 0 || fp8_round(g, &in, x, D, D, c->pairs, c->row, c->start + c->E) < 0 ||
	    tiles_make(g, s.tiles, c, n) < 0)
		return -1;
	WITH_TILE(n, wg, (launch(g, inner_kernel<N, WG>, dim3((width + OUTS - 1) / OUTS, most), dim3(2 * GROUP),
	    memory_bytes(N, 2), s.inner, in, mlps, s.tiles)));
	if (r < 0 || fp8_round(g, &inner, s.inner, width, width, c->pairs, NULL, c->start + c->E) < 0)
		return -1;
	WITH_TILE(n, wg, (launch(g, outer_kernel<N, WG>, dim3((D + OUTS - 1) / OUTS, most), dim3(GROUP),
	    memory_bytes(N, 1), to, inner, mlps, s.tiles)));
	return r;
}

const struct products products_fp8 = {matmul, NULL, mlp, mlp_scratch};
