/*
 * Attention with the sums of f32 on ordinary cores: the bits of the CPU, page by page.  A block has
 * a page and HEADS query heads of a row.  The lanes of a score's lane sum are in neighbouring
 * threads, the softmax has a thread for each lane, and the sums of values have one for each column.
 * From a cache of BF16 factors are rounded as in bf16: for shapes too wide for attend_bf16.cu.
 */
#include "attend.cuh"
#include "ptx.cuh"
#include "tree.cuh"

enum {
	HEADS = 16,
	THREADS = 256,
	TILE = 64,                      /* columns of a page in shared memory at a time */
	PITCH = TILE + 16,              /* of its rows: two neighbours are in different banks */
	P_PITCH = HEADS + 4,
	OWN = 8,                        /* a thread has a lane of OWN positions times OWN heads */
	COLUMNS = 2,                    /* of the output for each thread at a time */
};

static __device__ float
wide(float x)
{
	return x;
}

static __device__ float
wide(uint16_t x)
{
	return float_of_bits((uint32_t)x << 16);
}

/* x as a factor of a product with what a cache of such elements holds. */
static __device__ float
factor_with(const float *, float x)
{
	return x;
}

static __device__ float
factor_with(const uint16_t *, float x)
{
	return bf16_of_float(x);
}

template <typename E> struct space {
	E page[2][CACHE_PAGE * PITCH];
	float query[2][HEADS * TILE];
	float p[CACHE_PAGE * P_PITCH];            /* [position][head] */
	float max[HEADS], sum[HEADS];
};

/* Begin to copy columns c0 .. of the page and the queries into half `side`, zeros after the
 * last. */
template <typename E> static __device__ void
tile_load(struct space<E> *s, int side, const struct attend_args *a, const struct attend_block *b, int c0)
{
	const int width = a->kv.key, each = 16 / (int)sizeof(E), loads = TILE / each;
	const unsigned char *keys = attend_keys(a, b, 0);
	const float *query = a->query + ((size_t)b->t * (size_t)a->H + (size_t)b->h) * (size_t)width;

	for (int i = (int)threadIdx.x; i < CACHE_PAGE * loads; i += THREADS) {
		int row = i / loads, c = c0 + i % loads * each;
		int have = row < b->n && c < width ? (width - c) * (int)sizeof(E) : 0;
		const unsigned char *from = have ? keys + (size_t)row * a->key_pitch + (size_t)c * sizeof(E) : keys;

		copy_async(&s->page[side][row * PITCH + c - c0], from, have < 16 ? have : 16);
	}
	copy_commit();
	for (int i = (int)threadIdx.x; i < HEADS * TILE; i += THREADS) {
		int h = i / TILE, c = c0 + i % TILE;

		s->query[side][i] = h < b->heads && c < width ?
		    factor_with((const E *)NULL, query[(size_t)h * (size_t)width + (size_t)c]) : 0;
	}
}

/* p = the products of the queries and the page's rows. */
template <typename E> static __device__ void
scores(struct space<E> *s, const struct attend_args *a, const struct attend_block *b)
{
	const int width = (a->kv.key + LANES - 1) / LANES * LANES;
	const int lane = (int)threadIdx.x % LANES, unit = (int)threadIdx.x / LANES, at = unit % OWN, head = unit / OWN * OWN;
	float acc[OWN * OWN];           /* [head][position], positions being at, at + 8, ... */

#pragma unroll
	for (int i = 0; i < OWN * OWN; i++)
		acc[i] = 0;
	tile_load(s, 0, a, b, 0);
	for (int c0 = 0, side = 0; c0 < width; c0 += TILE, side ^= 1) {
		copy_wait<0>();
		__syncthreads();
		if (c0 + TILE < width)
			tile_load(s, side ^ 1, a, b, c0 + TILE);
		for (int c = lane; c < TILE && c0 + c < width; c += LANES) {
			float w[OWN];

#pragma unroll
			for (int j = 0; j < OWN; j++)
				w[j] = wide(s->page[side][(at + OWN * j) * PITCH + c]);
#pragma unroll
			for (int h = 0; h < OWN; h++) {
				float x = s->query[side][(head + h) * TILE + c];

#pragma unroll
				for (int j = 0; j < OWN; j++)
					acc[h * OWN + j] = fmaf(w[j], x, acc[h * OWN + j]);
			}
		}
	}
	tree_threads64(acc, lane);
#pragma unroll
	for (int j = 0; j < 4; j++)
		s->p[(at + OWN * (lane % 2 * 4 + j)) * P_PITCH + head + lane / 2] = canonical(acc[j]);
	__syncthreads();
}

/* softmax_block of each head: kernels/cpu/vector_ref.c. */
template <typename E> static __device__ void
softmax(struct space<E> *s, const struct attend_args *a, const struct attend_block *b)
{
	const int head = (int)threadIdx.x / LANES, lane = (int)threadIdx.x % LANES;
	const int at = b->from + lane;
	float v[CACHE_PAGE / LANES], m = -INFINITY, sum = 0;

#pragma unroll
	for (int i = 0; i < CACHE_PAGE / LANES; i++) {
		v[i] = at + i * LANES < b->n ?
		    s->p[(at + i * LANES) * P_PITCH + head] * a->scale : -INFINITY;
		m = v[i] > m ? v[i] : m;
	}
	for (int bit = LANES / 2; bit > 0; bit /= 2) {
		float other = __shfl_xor_sync(0xffffffff, m, bit);

		m = other > m ? other : m;
	}
	m += 0;
#pragma unroll
	for (int i = 0; i < CACHE_PAGE / LANES; i++)
		if (at + i * LANES < b->n) {
			v[i] = exp_one(v[i] - (m == -INFINITY ? 0 : m));
			sum += v[i];
			s->p[(at + i * LANES) * P_PITCH + head] = v[i];
		}
	sum = canonical(tree_threads(sum));
	if (lane == 0) {
		s->max[head] = m;
		s->sum[head] = sum;
	}
	__syncthreads();
}

/* o [heads][value] = the chains over the positions of p times value. */
template <typename E> static __device__ void
values(const struct space<E> *s, const struct attend_args *a, const struct attend_block *b, float *o)
{
	const unsigned char *from = attend_keys(a, b, 0) + a->value_at;
	const int width = a->kv.value;

	for (int c = (int)threadIdx.x; c < width; c += THREADS * COLUMNS) {
		float acc[COLUMNS][HEADS] = {};

#pragma unroll 4
		for (int i = b->from; i < b->n; i++) {
			const E *row = (const E *)(from + (size_t)i * a->value_pitch);
			float w[COLUMNS];

#pragma unroll
			for (int k = 0; k < COLUMNS; k++)
				w[k] = c + k * THREADS < width ? wide(row[c + k * THREADS]) : 0;
#pragma unroll
			for (int h = 0; h < HEADS; h++) {
				float p = factor_with((const E *)NULL, s->p[i * P_PITCH + h]);

#pragma unroll
				for (int k = 0; k < COLUMNS; k++)
					acc[k][h] = fmaf(w[k], p, acc[k][h]);
			}
		}
#pragma unroll
		for (int h = 0; h < HEADS; h++)
#pragma unroll
			for (int k = 0; k < COLUMNS; k++)
				if (h < b->heads && c + k * THREADS < width)
					o[(size_t)h * (size_t)width + (size_t)(c + k * THREADS)] = canonical(acc[k][h]);
	}
}

template <typename E> static __global__ void __launch_bounds__(THREADS, 2)
plain(struct attend_args a)
{
	const struct attend_block b = attend_block_of(&a, HEADS);
	const size_t slot = ((size_t)b.t * (size_t)a.parts + blockIdx.y) * (size_t)a.H + (size_t)b.h;
	SHARED(struct space<E>, s);

	if (b.n <= 0)
		return;
	scores(s, &a, &b);
	softmax(s, &a, &b);
	values(s, &a, &b, a.o + slot * (size_t)a.kv.value);
	if ((int)threadIdx.x < b.heads) {
		a.bmax[slot + threadIdx.x] = s->max[threadIdx.x];
		a.bsum[slot + threadIdx.x] = s->sum[threadIdx.x];
	}
}

/* cpu_probs of common/device/cpu_attend.c, a page a block. */
template <typename E> static __global__ void __launch_bounds__(THREADS, 2)
probs(struct attend_args a, struct probs_args to)
{
	const struct attend_block b = attend_block_of(&a, HEADS);
	const size_t at = (size_t)b.t * (size_t)a.H + (size_t)b.h, from = (size_t)blockIdx.y * CACHE_PAGE;
	SHARED(struct space<E>, s);

	if (b.n > 0) {
		scores(s, &a, &b);
		softmax(s, &a, &b);
	}
	for (int i = (int)threadIdx.x; i < b.heads * CACHE_PAGE; i += THREADS) {
		int h = i / CACHE_PAGE, j = i % CACHE_PAGE;
		float x = 0;

		if (from + (size_t)j >= to.positions)
			continue;
		if (j >= b.from && j < b.n) {
			float factor = exp_one(s->max[h] - to.max[at + (size_t)h]);

			x = canonical(s->p[j * P_PITCH + h] * (factor / to.sum[at + (size_t)h]));
		}
		to.probs[(at + (size_t)h) * to.positions + from + (size_t)j] = x;
	}
}

int
attend_plain(struct gpu *g, const struct attend_args *a, enum precision p)
{
	if (p == PRECISION_F32)
		return launch(g, plain<float>, attend_grid(a, HEADS), dim3(THREADS), sizeof(struct space<float>), *a);
	return launch(g, plain<uint16_t>, attend_grid(a, HEADS), dim3(THREADS), sizeof(struct space<uint16_t>), *a);
}

int
attend_probs(struct gpu *g, const struct attend_args *a, const struct probs_args *to, enum precision p)
{
	if (p == PRECISION_F32)
		return launch(g, probs<float>, attend_grid(a, HEADS), dim3(THREADS), sizeof(struct space<float>), *a, *to);
	return launch(g, probs<uint16_t>, attend_grid(a, HEADS), dim3(THREADS), sizeof(struct space<uint16_t>), *a, *to);
}
