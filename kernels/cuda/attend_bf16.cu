/*
 * Attention with tensor cores from a cache of BF16; for MLA the absorbed form of FlashMLA.  A block
 * has a part of the context and TILES times 16 query heads of one key head of a row.  The pages of
 * the part are copied to shared memory, the next while this one is used.  Keys are multiplied with
 * the queries, which stay in registers as BF16.  Values are multiplied with the softmax of the
 * scores and added to the output, which stays in registers as float32; each warp has COLUMNS
 * columns of it.  Where the largest score so far grows, output and sum are scaled down before the
 * page is added.
 *
 * The bits of a head are a fixed sequence.  A score is the steps of 16 columns, with 16 heads or
 * fewer even and odd ones apart, then added.  An output is pages in order, in each the steps of 16
 * positions.
 */
#include "attend.cuh"
#include "ptx.cuh"

enum {
	WARPS = 8,
	THREADS = 32 * WARPS,
	STEPS = 36,                     /* of 16 columns: what the queries' registers hold */
	COLUMNS = 64,                   /* of the output in a warp */
	PITCH = STEPS * 8 + 4,          /* pairs of columns of a page's rows: eight neighbours meet all banks */
	P_PITCH = CACHE_PAGE / 2 + 4,     /* pairs of positions */
};

template <int TILES> struct space {
	uint32_t page[2][CACHE_PAGE * PITCH];     /* [position][pair of columns], BF16 */
	uint32_t p[TILES * 16 * P_PITCH];       /* [head][pair of positions], BF16 */
	float max[TILES * 16][WARPS];           /* of each warp's scores; later their sums */
	float most[TILES * 16];                 /* a head's largest in the pages so far */
};

/* What a thread keeps from page to page.  Of each tile of 16 heads it has parts of two: lane / 4
 * and 8 more. */
template <int TILES> struct kept {
	uint32_t query[STEPS][4];               /* of the tile whose scores the warp makes */
	float o[TILES][COLUMNS / 8][4];
	float sum[2];                           /* of that tile, over the thread's own positions */
};

/* Steps of columns that n columns take, four together. */
static __host__ __device__ int
fours(int n)
{
	return (n + 63) / 64;
}

/* Column of a page's row in shared memory where its values begin: shared ones with the keys, others
 * after them. */
static __host__ __device__ int
value_column(const struct kv_shape *kv)
{
	return kv->shared ? 0 : fours(kv->key) * 64;
}

int
attend_tiles_fit(const struct gpu *g, const struct kv_shape *kv)
{
	return kv->value <= WARPS * COLUMNS && kv->key <= STEPS * 16 && value_column(kv) + kv->value <= STEPS * 16 &&
	    sizeof(struct space<2>) <= g->shared_most;
}

/* Begin to copy the first n of CACHE_PAGE rows of `width` columns to shared memory.  Zeros fill
 * the columns after the last, up to a multiple of 64, and the rows from n on. */
static __device__ void
rows_load(uint32_t *to, const unsigned char *from, size_t pitch, int width, int n)
{
	for (int row = (int)threadIdx.x / 32; row < CACHE_PAGE; row += WARPS)
		for (int i = (int)threadIdx.x % 32; i < fours(width) * 8; i += 32) {
			int have = row < n ? width * 2 - i * 16 : 0;

			copy_async(to + row * PITCH + i * 4, from + (have > 0 ? (size_t)row * pitch + (size_t)i * 16 : 0),
			    have < 0 ? 0 : have < 16 ? have : 16);
		}
}

static __device__ void
page_load(uint32_t *to, const struct attend_args *a, const struct attend_block *b, int page)
{
	const int n = b->n - page * CACHE_PAGE;
	const unsigned char *keys = attend_keys(a, b, page);

	rows_load(to, keys, a->key_pitch, a->kv.key, n);
	if (!a->kv.shared)
		rows_load(to + value_column(&a->kv) / 2, keys + a->value_at, a->value_pitch, a->kv.value, n);
	copy_commit();
}

/* x[0] .. x[3], zeros from x[n] on. */
static __device__ float4
four(const float *x, int n)
{
	if (n >= 4 && (uintptr_t)x % 16 == 0)
		return *(const float4 *)x;
	return make_float4(n > 0 ? x[0] : 0, n > 1 ? x[1] : 0, n > 2 ? x[2] : 0, n > 3 ? x[3] : 0);
}

/* The heads' queries as BF16, by way of the page that is not in use yet. */
template <int TILES> static __device__ void
queries_load(uint32_t query[STEPS][4], uint32_t *by, const struct attend_args *a, const struct attend_block *b)
{
	const int lane = (int)threadIdx.x % 32, tile = (int)threadIdx.x / 32 / (WARPS / TILES), width = a->kv.key;
	const float *from = a->query + ((size_t)b->t * (size_t)a->H + (size_t)b->h) * (size_t)width;

	for (int c = lane * 4; c < fours(a->kv.key) * 64; c += 128)
#pragma unroll
		for (int i = 0; i < TILES * 16; i += WARPS) {
			const int h = i + (int)threadIdx.x / 32;
			const float4 x = four(from + (size_t)h * (size_t)width + (size_t)c, h < b->heads ? width - c : 0);

			by[h * PITCH + c / 2] = bf16_pair(x.x, x.y);
			by[h * PITCH + c / 2 + 1] = bf16_pair(x.z, x.w);
		}
	__syncthreads();
#pragma unroll
	for (int k = 0; k < STEPS; k++)
		if (k / 4 < fours(a->kv.key))
			ldmatrix_x4(query[k], by + (tile * 16 + lane % 16) * PITCH + k * 8 + lane / 16 * 4);
}

/* s[i] = the scores of the warp's tile and positions 8 i .. 8 i + 7 of its own: those of a warp are
 * 8 TILES.  Two sums go on side by side: those of two i, or of one i those of even and of odd
 * steps.  One ldmatrix brings a step of 16 positions, or two of 8. */
template <int TILES> static __device__ void
scores(float s[TILES][4], const uint32_t query[STEPS][4], const uint32_t *page, const struct attend_args *a)
{
	const int lane = (int)threadIdx.x % 32, first = (int)threadIdx.x / 32 % (WARPS / TILES) * TILES * 8;
	const uint32_t *from = TILES == 1 ? page + (first + lane % 8) * PITCH + lane / 8 * 4 :
	    page + (first + lane / 16 * 8 + lane % 8) * PITCH + lane / 8 % 2 * 4;
	float sum[2][4] = {};

#pragma unroll
	for (int k = 0; k < STEPS; k += 3 - TILES) {
		uint32_t w[4];

		if (k / 4 >= fours(a->kv.key))
			break;
		ldmatrix_x4(w, from + k * 8);
		mma_bf16(sum[0], query[k], w);
		mma_bf16(sum[1], query[k + 2 - TILES], w + 2);
	}
#pragma unroll
	for (int j = 0; j < 4; j++) {
		s[0][j] = (TILES == 1 ? sum[0][j] + sum[1][j] : sum[0][j]) * a->scale;
		if (TILES > 1)
			s[TILES - 1][j] = sum[1][j] * a->scale;
	}
}

/* Over the four threads that share a row of a tile, as quad_sum. */
static __device__ float
quad_max(float m)
{
	for (int bit = 1; bit < 4; bit *= 2) {
		float other = __shfl_xor_sync(0xffffffff, m, bit);

		m = other > m ? other : m;
	}
	return m;
}

static __device__ float
quad_sum(float x)
{
	x += __shfl_xor_sync(0xffffffff, x, 1);
	return x + __shfl_xor_sync(0xffffffff, x, 2);
}

/* The largest of a head's scores in the page, those of all warps, and of those before it. */
template <int TILES> static __device__ float
largest(const struct space<TILES> *s, int head, float m)
{
#pragma unroll
	for (int i = 0; i < WARPS / TILES; i++)
		m = s->max[head][i] > m ? s->max[head][i] : m;
	return m;
}

/* What a sum of exp(score - old) is to be multiplied with. */
static __device__ float
shrink(float old, float now)
{
	return old == -INFINITY ? 0 : exp_one(old - now);
}

/* p = exp(score - the largest so far), of positions from .. n - 1, where all warps find it, and 0 of
 * others; sums and output follow. */
template <int TILES> static __device__ void
softmax(struct space<TILES> *s, struct kept<TILES> *k, float v[TILES][4], int from, int n)
{
	const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32 % (WARPS / TILES);
	const int tile = (int)threadIdx.x / 32 / (WARPS / TILES), at = warp * TILES * 8 + lane % 4 * 2;

#pragma unroll
	for (int r = 0; r < 2; r++) {
		float m = -INFINITY;

#pragma unroll
		for (int i = 0; i < TILES * 2; i++)
			if (at + i / 2 * 8 + i % 2 >= from && at + i / 2 * 8 + i % 2 < n)
				m = v[i / 2][r * 2 + i % 2] > m ? v[i / 2][r * 2 + i % 2] : m;
		m = quad_max(m);
		if (lane % 4 == 0)
			s->max[tile * 16 + r * 8 + lane / 4][warp] = m;
	}
	__syncthreads();
#pragma unroll
	for (int j = 0; j < TILES * 2; j++) {
		const int head = j / 2 * 16 + j % 2 * 8 + lane / 4;
		const float old = s->most[head], now = largest(s, head, old), less = shrink(old, now);

#pragma unroll
		for (int i = 0; i < COLUMNS / 8; i++) {
			k->o[j / 2][i][j % 2 * 2] *= less;
			k->o[j / 2][i][j % 2 * 2 + 1] *= less;
		}
		if (j / 2 != tile)
			continue;
		k->sum[j % 2] *= less;
#pragma unroll
		for (int i = 0; i < TILES; i++) {
			float e[2];

#pragma unroll
			for (int c = 0; c < 2; c++) {
				e[c] = at + i * 8 + c >= from && at + i * 8 + c < n ?
				    exp_one(v[i][j % 2 * 2 + c] - (now == -INFINITY ? 0 : now)) : 0;
				k->sum[j % 2] += e[c];
			}
			s->p[head * P_PITCH + at / 2 + i * 4] = bf16_pair(e[0], e[1]);
		}
	}
	__syncthreads();
	if (threadIdx.x < TILES * 16)
		s->most[threadIdx.x] = largest(s, (int)threadIdx.x, s->most[threadIdx.x]);
}

/* o += p times the page's values, in the warp's columns. */
template <int TILES> static __device__ void
values(struct kept<TILES> *k, const struct space<TILES> *s, const uint32_t *page, const struct attend_args *a)
{
	const int lane = (int)threadIdx.x % 32, column = (int)threadIdx.x / 32 * COLUMNS;

	if (column >= a->kv.value)
		return;
	page += value_column(&a->kv) / 2;
#pragma unroll
	for (int step = 0; step < CACHE_PAGE / 16; step++) {
		uint32_t p[TILES][4], w[4];

#pragma unroll
		for (int i = 0; i < TILES; i++)
			ldmatrix_x4(p[i], &s->p[(i * 16 + lane % 16) * P_PITCH + step * 8 + lane / 16 * 4]);
#pragma unroll
		for (int c = 0; c < COLUMNS; c += 16) {
			ldmatrix_x4_trans(w, page + (step * 16 + lane % 16) * PITCH + (column + c) / 2 + lane / 16 * 4);
#pragma unroll
			for (int i = 0; i < TILES; i++) {
				mma_bf16(k->o[i][c / 8], p[i], w);
				mma_bf16(k->o[i][c / 8 + 1], p[i], w + 2);
			}
		}
	}
}

/* The part's slots: output, largest scores, and the sums of all warps together. */
template <int TILES> static __device__ void
part_write(struct space<TILES> *s, const struct kept<TILES> *k, const struct attend_args *a, const struct attend_block *b, size_t slot)
{
	const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, tile = warp / (WARPS / TILES);

	__syncthreads();
#pragma unroll
	for (int r = 0; r < 2; r++) {
		float sum = quad_sum(k->sum[r]);

		if (lane % 4 == 0)
			s->max[tile * 16 + r * 8 + lane / 4][warp % (WARPS / TILES)] = sum;
	}
	__syncthreads();
#pragma unroll
	for (int j = 0; j < TILES * 2; j++) {
		const int head = j / 2 * 16 + j % 2 * 8 + lane / 4;
		float *o = a->o + (slot + (size_t)head) * (size_t)a->kv.value, sum = 0;

		if (head >= b->heads)
			continue;
#pragma unroll
		for (int i = 0; i < COLUMNS / 4; i++) {
			int c = warp * COLUMNS + i / 2 * 8 + lane % 4 * 2 + i % 2;

			if (c < a->kv.value)
				o[c] = k->o[j / 2][i / 2][j % 2 * 2 + i % 2];
		}
		if (warp > 0 || lane % 4 > 0)
			continue;
		for (int i = 0; i < WARPS / TILES; i++)
			sum += s->max[head][i];
		a->bmax[slot + (size_t)head] = s->most[head] + 0;
		a->bsum[slot + (size_t)head] = sum;
	}
}

template <int TILES> static __global__ void __launch_bounds__(THREADS, 1)
tiles(struct attend_args a)
{
	const struct attend_block b = attend_block_of(&a, TILES * 16);
	const int first = b.from / CACHE_PAGE;
	SHARED(struct space<TILES>, s);
	struct kept<TILES> k;

	if (b.n <= 0)
		return;
	page_load(s->page[0], &a, &b, first);
	queries_load<TILES>(k.query, s->page[1], &a, &b);
#pragma unroll
	for (int i = 0; i < TILES; i++)
#pragma unroll
		for (int j = 0; j < COLUMNS / 2; j++)
			k.o[i][j / 4][j % 4] = 0;
	if (threadIdx.x < TILES * 16)
		s->most[threadIdx.x] = -INFINITY;
	k.sum[0] = k.sum[1] = 0;
	for (int i = first; i * CACHE_PAGE < b.n; i++) {
		const uint32_t *page = s->page[(i - first) % 2];
		float v[TILES][4];

		copy_wait<0>();
		__syncthreads();        /* the page is there, and all have read the one before */
		if ((i + 1) * CACHE_PAGE < b.n)
			page_load(s->page[(i + 1 - first) % 2], &a, &b, i + 1);
		scores<TILES>(v, k.query, page, &a);
		softmax<TILES>(s, &k, v, b.from - i * CACHE_PAGE, b.n - i * CACHE_PAGE);
		values<TILES>(&k, s, page, &a);
	}
	part_write<TILES>(s, &k, &a, &b, ((size_t)b.t * (size_t)a.parts + blockIdx.y) * (size_t)a.H + (size_t)b.h);
}

int
attend_tiles(struct gpu *g, const struct attend_args *a)
{
	if (attend_group(a) <= 16)
		return launch(g, tiles<1>, attend_grid(a, 16), dim3(THREADS), sizeof(struct space<1>), *a);
	return launch(g, tiles<2>, attend_grid(a, 32), dim3(THREADS), sizeof(struct space<2>), *a);
}
