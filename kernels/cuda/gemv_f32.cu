/*
 * gemv: few rows of x, so that reading the weights takes the time.  Each warp prefetches its own
 * rows of w into shared memory by asynchronous copies; no warp waits for another.  A warp fetches
 * SLOTS chunks of CHUNK columns at a time: SPLIT neighbouring chunks of each of SLOTS / SPLIT rows.
 *
 * 4 SPLIT threads share a row.  In FP8 four of them have the lanes of one chunk, four lanes each,
 * since each chunk is a sum of its own; chunks join the row's lanes in order.  Else each thread has
 * 4 / SPLIT lanes of all chunks.  With a small SPLIT a number of x serves many weights; with a
 * large one few rows of w occupy many warps.
 */
#include "f32.cuh"
#include "ptx.cuh"

enum { CHUNK = BLOCK, WARPS = 4, SLOTS = 8, STEPS = CHUNK / LANES };
enum { NARROW = 4 };            /* SPLIT where there are few rows of w */
enum { BUSY = 8 };              /* warps that a processor should have at least */

template <int DT> constexpr int WIDE = DT == F8_E4M3 ? 2 : 1;   /* SPLIT where there are many */

/* Lanes that a thread has. */
template <int DT, int SPLIT> constexpr int EACH = DT == F8_E4M3 ? 4 : 4 / SPLIT;

/* Bytes of a chunk, and from one to the next in shared memory, where some more keep them in
 * different banks. */
template <int DT> constexpr int BYTES = CHUNK * (DT == F32 ? 8 : DT == BF16 || DT == F16 ? 4 : DT == Q4 ? 1 : 2) / 2;
template <int DT> constexpr int PITCH = BYTES<DT> + (DT == Q4 ? 16 : BYTES<DT> / 8);
template <int DT> constexpr int STAGES = DT == F32 ? 3 : DT == BF16 || DT == F16 ? 4 : 6;

/* A thread's share of the work. */
struct lane {
	int lane;                       /* of the warp */
	int member;                     /* of the threads that have its row */
	int part, first;                /* the chunk beside others (FP8; else 0); the first of its lanes of the sum */
	int slot;                       /* where its chunk begins in shared memory, or the row's first */
	int row;                        /* of the part's outputs */
};

/* Columns c .. of SLOTS / SPLIT rows from `row` on. */
template <int DT, int SPLIT> static __device__ __forceinline__ void
fetch(unsigned char *to, const struct tile *p, int row, int c, int lane)
{
	const ptrdiff_t bytes = (ptrdiff_t)row_bytes((enum dtype)DT, p->w.cols);
	constexpr int loads = BYTES<DT> / 16;

#pragma unroll
	for (int i = lane; i < SLOTS * loads; i += 32) {
		const int slot = i / loads, n = row + slot / SPLIT;
		const ptrdiff_t at = (ptrdiff_t)(c / CHUNK + slot % SPLIT) * BYTES<DT> + i % loads * 16;
		const int inside = n < p->rows && at < bytes;

		copy_async(to + slot * PITCH<DT> + i % loads * 16,
		    (const unsigned char *)p->w.data + (inside ? (p->first + n) * bytes + at : 0), inside ? 16 : 0);
	}
}

/* The N numbers of a thread's lanes. */
template <int N> static __device__ __forceinline__ void
load(float to[N], const float *from)
{
	if (N == 4)
		*(float4 *)to = *(const float4 *)from;
	else
		to[0] = from[0];
}

template <int N> static __device__ __forceinline__ uint32_t
load_bytes(const unsigned char *from)
{
	return N == 4 ? *(const uint32_t *)from : *from;
}

/* The weights of N lanes from `first` on, in step s of a chunk. */
template <int DT, int N> static __device__ __forceinline__ void
weights(float w[N], const unsigned char *chunk, int s, int first, const float *levels, float scale)
{
	const int k = s * LANES + first;

	if (DT == F32) {
		load<N>(w, (const float *)(const void *)chunk + k);
	} else if (DT == BF16 || DT == F16) {
		alignas(8) uint32_t v[2] = { 0, 0 };

		if (N == 4)
			*(uint2 *)v = *(const uint2 *)(chunk + k * 2);
		else
			v[0] = *(const uint16_t *)(chunk + k * 2);
#pragma unroll
		for (int i = 0; i < N; i++)
			w[i] = DT == F16 ? float_of_f16((uint16_t)(v[i / 2] >> i % 2 * 16)) :
			    float_of_bits(i % 2 ? v[i / 2] & 0xffff0000 : v[i / 2] << 16);
	} else if (DT == F8_E4M3) {
		floats_of_f8(w, *(const uint32_t *)(chunk + k));
	} else {
		const uint32_t v = load_bytes<N>(chunk + (DT == Q4 ? s / 2 * 16 + first : k)) >> (DT == Q4 ? s % 2 * 4 : 0);

#pragma unroll
		for (int i = 0; i < N; i++)
			w[i] = (DT == Q4 ? levels[v >> i * 8 & 15] : (float)(signed char)(v >> i * 8)) * scale;
	}
}

/* The scales of chunks that begin at column c: in FP8 that of the one; in Q8 and Q4 those of steps
 * 2 member and the next, for the threads of a row share the work. */
template <int DT> static __device__ __forceinline__ float2
scales(const struct tile *p, const struct lane *at, int c)
{
	const int n = p->first + at->row;
	float2 s = { 1, 1 };

	if (at->row >= p->rows || c >= p->w.cols)
		return s;
	if (DT == F8_E4M3) {
		s.x = mat_scale(&p->w, n, c);
	} else if (DT == Q8 || DT == Q4) {
		const unsigned char *groups = row_groups(&p->w, n);
		const int first = c / QUANT_GROUP + 2 * at->member, end = p->w.cols / QUANT_GROUP;

		s.x = first < end ? float_of_f8(groups[first]) * p->w.factor : 0;
		s.y = first + 1 < end ? float_of_f8(groups[first + 1]) * p->w.factor : 0;
	}
	return s;
}

/* sum[t] += `left` steps, but at most those of `chunks` chunks; they begin in column c. */
template <int DT, int TM, int N> static __device__ __forceinline__ void
chunks_sum(float sum[TM][N], const unsigned char *chunk, int chunks, const float *const x[TM], int c, int left,
    const struct lane *at, const float *levels, float2 scale)
{
#pragma unroll
	for (int s = 0; s < chunks * STEPS; s++) {
		float w[N], v[N], group = 1;

		if (DT == Q8 || DT == Q4)       /* all of the warp, even for steps after the end */
			group = __shfl_sync(ALL_LANES, s % 2 ? scale.y : scale.x, at->lane - at->member + s / 2);
		if (s >= left)
			continue;
		weights<DT, N>(w, chunk + s / STEPS * PITCH<DT>, s % STEPS, at->first, levels, group);
#pragma unroll
		for (int t = 0; t < TM; t++) {
			load<N>(v, x[t] + c + s * LANES);
#pragma unroll
			for (int j = 0; j < N; j++)
				sum[t][j] = fmaf(w[j], v[j], sum[t][j]);
		}
	}
}

/* FP8: blocks join the lanes one after another, in all threads of a row alike; c is the first one's
 * column. */
template <int SPLIT, int TM> static __device__ __forceinline__ void
join(float sum[TM][4], const float block[TM][4], float scale, const struct lane *at, int c, int cols)
{
#pragma unroll
	for (int i = 0; i < SPLIT; i++) {
		const int from = at->lane - at->member + i * 4 + at->member % 4;
		const float s = __shfl_sync(ALL_LANES, scale, from);

#pragma unroll
		for (int t = 0; t < TM; t++)
#pragma unroll
			for (int j = 0; j < 4; j++) {
				const float b = __shfl_sync(ALL_LANES, block[t][j], from);

				if (c + i * CHUNK < cols)
					sum[t][j] = fmaf(s, b, sum[t][j]);
			}
	}
}

/* The tree over threads beside each other with N lanes each. */
template <int N> static __device__ __forceinline__ float
tree_of(float v[N])
{
#pragma unroll
	for (int d = LANES / 2; d > 0; d /= 2)
#pragma unroll
		for (int i = 0; i < (d < N ? d : N); i++)
			v[i] += d < N ? v[(i + d) % N] : __shfl_xor_sync(ALL_LANES, v[i], d / N);
	return v[0];
}

/* All the columns of a row of w. */
template <int DT, int SPLIT, int TM> static __device__ __forceinline__ void
sums(float sum[TM][EACH<DT, SPLIT>], unsigned char *staged, const struct tile *p, const float *const x[TM],
    const struct lane *at, const float *levels)
{
	constexpr int wide = CHUNK * SPLIT, ahead = STAGES<DT> - 1, stage = SLOTS * PITCH<DT>;
	const int ends = (p->w.cols + wide - 1) / wide, row = at->row - at->lane / (4 * SPLIT);
	float2 scale = scales<DT>(p, at, at->part * CHUNK);

	for (int i = 0; i < ahead; i++) {
		if (i < ends)
			fetch<DT, SPLIT>(staged + i * stage, p, row, i * wide, at->lane);
		copy_commit();
	}
	for (int i = 0, read = 0, write = ahead; i < ends; i++) {
		const int c = i * wide + at->part * CHUNK, left = (p->w.cols - c) / LANES;
		const unsigned char *chunk = staged + read * stage + at->slot * PITCH<DT>;
		const float2 now = scale;

		copy_wait<ahead - 1>();
		__syncwarp();           /* this stage is there, and all lanes have read the one before */
		if (i + ahead < ends)
			fetch<DT, SPLIT>(staged + write * stage, p, row, (i + ahead) * wide, at->lane);
		copy_commit();
		scale = scales<DT>(p, at, c + wide);
		if constexpr (DT == F8_E4M3) {
			float block[TM][4] = {};

			chunks_sum<DT, TM, 4>(block, chunk, 1, x, c, left, at, levels, now);
			join<SPLIT, TM>(sum, block, now.x, at, i * wide, p->w.cols);
		} else {
			chunks_sum<DT, TM, EACH<DT, SPLIT>>(sum, chunk, SPLIT, x, c, left, at, levels, now);
		}
		read = read == ahead ? 0 : read + 1;
		write = write == ahead ? 0 : write + 1;
	}
}

static __device__ __forceinline__ struct lane
lane_of(int fp8, int split)
{
	const int tid = (int)threadIdx.x, members = 4 * split;
	struct lane at;

	at.lane = tid % 32;
	at.member = at.lane % members;
	at.part = fp8 ? at.member / 4 : 0;
	at.first = fp8 ? at.member % 4 * 4 : at.member * 4 / split;
	at.slot = at.lane / members * split + at.part;
	at.row = ((int)blockIdx.x * WARPS + tid / 32) * (SLOTS / split) + at.lane / members;
	return at;
}

template <int DT, int SPLIT, int TM> static __global__ void __launch_bounds__(WARPS * 32)
gemv(const struct product k)
{
	SHARED(unsigned char, staged);
	__shared__ float levels[16];
	static const signed char level[16] = { QUANT_LEVELS };
	const struct lane at = lane_of(DT == F8_E4M3, SPLIT);
	const int tid = (int)threadIdx.x;
	float sum[TM][EACH<DT, SPLIT>] = {};
	const float *x[TM];
	struct tile p;

	if (!tile_of(&p, &k, TM))
		return;
	if (DT == Q4) {
		if (tid < 16)
			levels[tid] = level[tid];
		__syncthreads();
	}
#pragma unroll
	for (int t = 0; t < TM; t++)
		x[t] = tile_x(&p, &k, t < p.T ? t : 0) + at.first;
	sums<DT, SPLIT, TM>(sum, staged + tid / 32 * STAGES<DT> * SLOTS * PITCH<DT>, &p, x, &at, levels);
#pragma unroll
	for (int t = 0; t < TM; t++) {
		const float y = tree_of<EACH<DT, SPLIT>>(sum[t]);

		if (at.member == t && at.row < p.rows && t < p.T)
			tile_put(&p, &k, t, at.row, y);
	}
}

template <int DT, int SPLIT> static int
gemv_split(struct gpu *g, const struct product *k, int most)
{
	const int rows = WARPS * SLOTS / SPLIT;
	const dim3 grid((unsigned)((k->rows + rows - 1) / rows),
	    (unsigned)(k->tiles ? k->ntiles : (k->T + most - 1) / most), (unsigned)k->H);

	return launch(g, most == 1 ? gemv<DT, SPLIT, 1> : gemv<DT, SPLIT, GEMV_ROWS>, grid, dim3(WARPS * 32),
	    (size_t)(WARPS * STAGES<DT> * SLOTS * PITCH<DT>), *k);
}

template <int DT> static int
gemv_launch(struct gpu *g, const struct product *k, int most)
{
	const long warps = (long)(k->rows * WIDE<DT> / SLOTS) * k->H * (k->tiles ? k->ntiles : 1);

	return warps < (long)BUSY * gpu_processors(g) ? gemv_split<DT, NARROW>(g, k, most) : gemv_split<DT, WIDE<DT>>(g, k, most);
}

int
product_gemv(struct gpu *g, const struct product *k, int most)
{
	return with_dtype(k->w.dtype, [=](auto t) { return gemv_launch<decltype(t)::value>(g, k, most); });
}
