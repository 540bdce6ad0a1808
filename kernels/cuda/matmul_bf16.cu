/*
 * The products of bf16 (bf16.cuh says how their sums are made): a kernel for few rows of x, whose
 * warps share out the blocks of the same outputs, and one for many, whose warps share rows of x and
 * have outputs of their own.
 */
#include "bf16.cuh"

enum {
	GEMV_WARPS = 8, GEMV_THREADS = 32 * GEMV_WARPS, GEMV_ROWS = 8,
	QUAD_BYTES = 8,                 /* of x in shared memory: four BF16 */
	LANE_BYTES = STEPS * QUAD_BYTES + 16,           /* a lane's share of a block of x; what is too much keeps banks apart */
	ROW_BYTES = 4 * LANE_BYTES,
};

/* What a block works on. */
struct tile {
	const struct mat *w[2];         /* of the rows 0..7 and 8..15 of each sixteen: the same, or gate and up */
	int first, rows;                /* where output 0 is in w, and how many there are */
	int out;                        /* the block's first output */
	int from, n;                    /* rows of x, or pairs */
	int head;
};

/* What a lane reads of the weights: rows g and g + 8 of its tiles; NULL where there is none. */
template <int MT> struct lane_rows {
	const unsigned char *at[2 * MT], *groups[2 * MT];
};

/* 0 where there is nothing for this block to do. */
static __device__ bool
tile_of(struct tile *t, const struct bf16_args *j, int outs, int rows)
{
	const struct gpu_mlp *m;
	struct expert_tile p;

	t->out = (int)blockIdx.x * outs;
	t->head = (int)blockIdx.z;
	t->first = j->first + t->head * j->step;
	t->rows = j->rows;
	t->w[0] = t->w[1] = &j->w;
	if (!j->tiles) {
		t->from = (int)blockIdx.y * rows;
		t->n = min(rows, j->T - t->from);
		return true;
	}
	p = j->tiles[blockIdx.y];
	m = &j->mlps[p.expert];
	t->from = p.first;
	t->n = p.n;
	t->w[0] = j->end == END_SILU ? &m->gate : &m->down;
	t->w[1] = j->end == END_SILU ? &m->up : &m->down;
	return p.n > 0;
}

/* The output that row i of the tile belongs to. */
static __device__ __forceinline__ int
tile_output(const struct tile *t, const struct bf16_args *j, int i)
{
	return t->out + (j->end == END_SILU ? i / 16 * 8 + i % 8 : i);
}

/* Row i of x; NULL where there is none. */
static __device__ __forceinline__ const float *
tile_x(const struct tile *t, const struct bf16_args *j, int i)
{
	int row = t->from + i;

	if (i >= t->n)
		return NULL;
	if (j->end == END_SILU)
		row = j->epilogue.row[row];
	return j->x + t->head * j->x_step + row * j->ldx;
}

/* The scales of row i of the tile by blocks, NULL where all are 1. */
template <enum dtype D> static __device__ __forceinline__ const float *
tile_scale(const struct tile *t, const struct bf16_args *j, int i)
{
	const struct mat *w = t->w[i / 8 % 2];
	int o = tile_output(t, j, i);

	if (D != F8_E4M3 || !w->scale || o >= t->rows)
		return NULL;
	return w->scale + (size_t)(w->row0 + t->first + o) / BLOCK * (size_t)w->scale_cols;
}

template <enum dtype D, int MT> static __device__ __forceinline__ void
lane_find(struct lane_rows<MT> *l, const struct tile *t, const struct bf16_args *j, int from)
{
	const size_t bytes = row_bytes(D, j->w.cols);
#pragma unroll
	for (int s = 0; s < 2 * MT; s++) {
		int o = tile_output(t, j, from + s * 8 + (int)threadIdx.x % 32 / 4);
		const struct mat *w = t->w[s % 2];
		size_t row = (size_t)t->first + (size_t)o;

		l->at[s] = o < t->rows ? (const unsigned char *)w->data + row * bytes : NULL;
		l->groups[s] = (D == Q8 || D == Q4) && o < t->rows ? w->groups + row * mat_groups(w) : NULL;
	}
}

/* The slot at byte `off` of a row that is not whole slots, or not aligned.  After the end of the
 * row it has something finite, since x has zeros there. */
template <enum dtype D> static __device__ uint4
slot_slow(const unsigned char *at, size_t off, size_t bytes, int K)
{
	uint32_t v[4] = { 0, 0, 0, 0 };

	for (int i = 0; i < 16 && at && off + i < bytes; i++) {
		uint32_t b = at[off + i];
		int col = (int)off * 2 + i;                             /* Q4: of the low half */

		if (D == Q4 && col >= K)
			b = 0x88;                                       /* a level that no scale takes to infinity */
		else if (D == Q4 && col + 16 >= K)
			b = (b & 15) | 0x80;
		v[i / 4] |= b << i % 4 * 8;
	}
	return { v[0], v[1], v[2], v[3] };
}

/* Begin to copy a chunk of the lane's rows to its places in the ring, which are `apart`.  once:
 * NULL, or the policy where no other block will read them. */
template <enum dtype D, int MT> static __device__ __forceinline__ void
lane_fetch(uint4 *to, int apart, const struct lane_rows<MT> *l, const struct tile *t, const struct bf16_args *j, int chunk,
    const uint64_t *once)
{
	const size_t bytes = row_bytes(D, j->w.cols), off = (size_t)chunk * CHUNK + threadIdx.x % 4 * 16;
#pragma unroll
	for (int s = 0; s < 2 * MT; s++) {
		const bool there = l->at[s] && off < bytes;
		const void *from = there ? l->at[s] + off : t->w[0]->data;

		if (!j->w_slots)
			to[s * apart] = slot_slow<D>(l->at[s], off, bytes, j->w.cols);
		else if (once)
			copy_async_once(to + s * apart, from, there ? 16 : 0, *once);
		else
			copy_async(to + s * apart, from, there ? 16 : 0);
	}
	copy_commit();
}

/* The scales of the lane's slots of a chunk, Q8 and Q4. */
template <enum dtype D, int MT> static __device__ __forceinline__ void
lane_scales(float scale[2 * MT][2], const struct lane_rows<MT> *l, const struct tile *t, int K, int chunk)
{
	const int per = D == Q4 ? 2 : 1, slot = chunk * 4 + (int)threadIdx.x % 4;

#pragma unroll
	for (int s = 0; s < 2 * MT; s++)
#pragma unroll
		for (int i = 0; i < per && (D == Q8 || D == Q4); i++) {
			int group = slot * per + i;

			scale[s][i] = l->groups[s] && group * QUANT_GROUP < K ?
			    float_of_f8(__ldg(l->groups[s] + group)) * t->w[s % 2]->factor : 0;
		}
}

/* A of one step, from the slots of rows g and g + 8. */
template <enum dtype D> static __device__ __forceinline__ void
step_weights(uint32_t a[4], const uint4 slot[2], int q, const float scale[2][2])
{
	uint32_t low[2], high[2];

	slot_quad<D>(low, slot[0], q, scale[0]);
	slot_quad<D>(high, slot[1], q, scale[1]);
	a[0] = low[0], a[1] = high[0], a[2] = low[1], a[3] = high[1];
}

/* Products y, and in END_SILU those of up, of output o and row or pair i of the block go where they
 * belong. */
static __device__ __forceinline__ void
tile_end(const struct bf16_args *j, const struct tile *t, int o, int i, float y, float up)
{
	if (o >= t->rows || i >= t->n)
		return;
	i += t->from;
	if (j->end == END_ADD)
		epilogue_add(&j->epilogue, i, o, y);
	else
		j->out[t->head * j->out_step + i * j->ldo + o] =
		    j->end == END_SILU ? silu_mul_one(canonical(y), canonical(up)) : canonical(y);
}

/*
 * Few rows: warp v has the blocks v, v + 8, ... of all outputs of the tile.  Their sums meet in
 * shared memory, a round of eight blocks at a time, where a thread for each element adds them in
 * order.
 */

/* Slots that a lane has on their way. */
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

/*
 * Many rows: x comes to shared memory a block of columns at a time, each thread copying quads of
 * its own some blocks ahead, which it makes BF16 for all while the block before is worked on.  A
 * row then has for each lane c of four its quads in the order of the steps, so the lanes read two
 * steps at once, and know nothing of chunks.
 */

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

/*
 * The host's side
 */

/* Outputs and rows of x that a block has. */
struct shape {
	int outs, rows;
};
static const struct shape FEW = { 16, GEMV_ROWS }, GEMV_WIDE = { 32, GEMV_ROWS }, MANY = { 64, 32 }, GEMM_WIDE = { 256, 64 };

/* Wide shapes are for what large checkpoints are stored in. */
static bool
has_wide(const struct mat *w)
{
	return w->dtype == F8_E4M3 || w->dtype == BF16;
}

/* The shape that fits to so many rows of x (an expert's on average) times so many outputs, `copies`
 * times. */
static struct shape
shape_of(const struct gpu *g, bool wide, int rows, int outs, long copies)
{
	const long all = gpu_processors(g), many = (long)(outs / GEMM_WIDE.outs) * ((rows + GEMM_WIDE.rows - 1) / GEMM_WIDE.rows) * copies;

	if (rows <= GEMV_ROWS)
		return wide && outs / GEMV_WIDE.outs * copies >= 4 * all ? GEMV_WIDE : FEW;
	return wide && rows > MANY.rows && many >= all && g->shared_most >= gemm_shared<8, 2, 8> ? GEMM_WIDE : MANY;
}

template <enum dtype D> static int
launch_shape(struct gpu *g, struct shape s, dim3 grid, const struct bf16_args *j)
{
	if (s.rows == FEW.rows && s.outs == FEW.outs)
		return launch(g, gemv<D, 1>, grid, GEMV_THREADS, gemv_shared<1>, *j);
	if (s.rows == MANY.rows)
		return launch(g, gemm<D, 4, 1, 4>, grid, 4 * 32, (gemm_shared<4, 1, 4>), *j);
	if constexpr (D == F8_E4M3 || D == BF16) {
		if (s.rows == GEMV_WIDE.rows)
			return launch(g, gemv<D, 2>, grid, GEMV_THREADS, gemv_shared<2>, *j);
		return launch(g, gemm<D, 8, 2, 8>, grid, 8 * 32, (gemm_shared<8, 2, 8>), *j);
	}
	return gpu_fail("a product of that type has no such shape");
}

static int
gemm_launch_shape(struct gpu *g, struct shape s, int ntiles, int heads, struct bf16_args *j)
{
	const int outs = j->end == END_SILU ? s.outs / 2 : s.outs;
	const dim3 grid((unsigned)((j->rows + outs - 1) / outs), (unsigned)ntiles, (unsigned)heads);

	j->w_slots = row_bytes(j->w.dtype, j->w.cols) % 16 == 0 && j->w.cols % QUANT_GROUP == 0;
	j->x_quads = (uintptr_t)j->x % 16 == 0 && j->ldx % 4 == 0 && j->x_step % 4 == 0 && j->w.cols % 4 == 0;
	return with_dtype(j->w.dtype, [=](auto t) { return launch_shape<decltype(t)::value>(g, s, grid, j); });
}

static int
matmul(struct gpu *g, const struct product *p)
{
	const struct shape s = shape_of(g, has_wide(&p->w), p->T, p->rows, p->H);
	struct bf16_args j = {*p, END_PLAIN, false, false};

	return gemm_launch_shape(g, s, (p->T + s.rows - 1) / s.rows, p->H, &j);
}

/* The inner numbers [pairs][width filled up to 4], then the tiles, at most as many as pairs. */
static size_t
inner_bytes(int width, int pairs)
{
	return ((size_t)pairs * (((size_t)width + 3) / 4 * 4) * sizeof(float) + 255) / 256 * 256;
}

static size_t
mlp_scratch(int, int width, int pairs)
{
	return inner_bytes(width, pairs) + (size_t)pairs * sizeof(struct expert_tile);
}

static int
mlp(struct gpu *g, int64_t *acc, const float *x, int D, const struct gpu_mlp *mlps, const struct gpu_mlp *like, const struct gpu_chosen *c,
    int32_t *bad, float *each, void *scratch)
{
	const int width = like->gate.rows, rows = (c->pairs + c->E - 1) / c->E, used = min(c->E, c->pairs);
	const struct shape s = shape_of(g, has_wide(&like->gate) && has_wide(&like->down), rows, width, used);
	struct expert_tile *tiles = (struct expert_tile *)((char *)scratch + inner_bytes(width, c->pairs));
	const int ntiles = tiles_most(c->E, c->pairs, s.rows);
	struct bf16_args j = {};

	if (like->up.dtype != like->gate.dtype)
		return gpu_fail("gate and up of an expert are of different types");
	if (tiles_make(g, tiles, c, s.rows) < 0)
		return -1;
	j.tiles = tiles, j.mlps = mlps;
	j.epilogue = { acc, each, bad, c->row, c->slot, c->w, D };
	j.end = END_SILU;
	j.w = like->gate, j.rows = width;
	j.x = x, j.ldx = D;
	j.out = (float *)scratch, j.ldo = (width + 3) / 4 * 4;
	if (gemm_launch_shape(g, s, ntiles, 1, &j) < 0)
		return -1;
	j.end = END_ADD;
	j.w = like->down, j.rows = D;
	j.x = j.out, j.ldx = j.ldo;
	return gemm_launch_shape(g, s, ntiles, 1, &j);
}

const struct products products_bf16 = {matmul, matmul_t_bf16, mlp, mlp_scratch};
