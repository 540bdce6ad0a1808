/*
 * The router: which experts a row goes to, with the bits of stage/route.c, and the rows by the
 * expert that they chose.
 */
#include "launch.cuh"
#include "table.h"

#include "cpu/cpu.h"

enum { WARP = 32, WARPS_MAX = 8, THREADS = 256 };

/* --- the choice: a warp for each row --- */

/* What a row's warp works with. */
struct row {
	int lane;
	float *score;                   /* [E] */
	uint32_t *key;                  /* [E] how good a choice each is */
	uint32_t *group;                /* [n_group] the same for groups; then whether one is kept */
	float *w;                       /* [K] */
};

static __device__ unsigned
lanes_below(int lane)
{
	return (1u << lane) - 1;
}

/* Greater for a better choice, alike for both zeros; what is not a number is the best, and never
 * 0. */
static __device__ uint32_t
key_of(float x)
{
	const uint32_t b = bits_of_float(x + 0);

	return x != x ? UINT32_MAX : b & 0x80000000 ? ~b : b | 0x80000000;
}

static __device__ float
float_of_key(uint32_t key)
{
	return float_of_bits(key == UINT32_MAX ? 0x7fc00000 : key & 0x80000000 ? key & 0x7fffffff : ~key);
}

/* How many of n keys are at least x. */
static __device__ int
count(const uint32_t *key, int n, uint32_t x, int lane)
{
	int all = 0;

#pragma unroll 8
	for (int i = 0; i < n; i += WARP)
		all += __popc(__ballot_sync(~0u, i + lane < n && key[i + lane] >= x));
	return all;
}

/* The best K of n keys: those above *least, and of those equal to it the first *equal. */
struct best {
	uint32_t least;
	int equal;
};

/* Bit by bit, from the highest: it stays where K keys or more are not below. */
static __device__ struct best
best_of(const uint32_t *key, int n, int K, int lane)
{
	struct best b = {0, 0};
	int c = 0;

	for (uint32_t bit = 0x80000000; bit && c != K; bit >>= 1)
		if ((c = count(key, n, b.least | bit, lane)) >= K)
			b.least |= bit;
	b.equal = K - (b.least == UINT32_MAX ? 0 : count(key, n, b.least + 1, lane));
	return b;
}

/* Whether this lane's key is among the best; lanes are asked in order, all of a warp together. */
static __device__ int
is_best(struct best *b, int there, uint32_t key, int lane)
{
	const unsigned equal = __ballot_sync(~0u, there && key == b->least);
	const int before = __popc(equal & lanes_below(lane));
	const int mine = there && (key > b->least || (key == b->least && before < b->equal));

	b->equal -= __popc(equal);
	return mine;
}

static __device__ void
sigmoid(const struct row *r, int E)
{
	for (int e = r->lane; e < E; e += WARP)
		r->score[e] = canonical(1 / (1 + exp_one(-r->score[e])));
}

/* Softmax over E scores, as cpu/vector_ref.c adds it up. */
static __device__ void
softmax(const struct row *r, int E)
{
	__shared__ float sum[LANES];
	float m = -INFINITY, all = 0, other;

	for (int e = r->lane; e < E; e += WARP)
		m = r->score[e] > m ? r->score[e] : m;
	for (int d = WARP / 2; d > 0; d /= 2) {
		other = __shfl_xor_sync(~0u, m, d);
		m = other > m ? other : m;
	}
	m = m == -INFINITY ? 0 : m + 0;
	for (int e = r->lane; e < E; e += WARP)
		r->score[e] = exp_one(r->score[e] - m);
	__syncwarp();
	if (r->lane < LANES) {
		for (int e = r->lane; e < E; e += LANES)
			all += r->score[e];
		sum[r->lane] = all;
	}
	__syncwarp();
	all = canonical(tree(sum));
	for (int e = r->lane; e < E; e += WARP)
		r->score[e] = canonical(r->score[e] / all);
}

/* What each group is worth: its best, or with two the sum of its two best.  A lane for each group;
 * they begin at different places of theirs, so that they do not meet in a bank of shared memory. */
static __device__ void
score_groups(const struct row *r, int n_group, int n, int two)
{
	for (int g = r->lane; g < n_group; g += WARP) {
		const uint32_t *key = r->key + (size_t)g * n;
		uint32_t first = 0, second = 0;

		for (int i = 0, at = g % n; i < n; i++, at = at + 1 < n ? at + 1 : 0) {
			const uint32_t k = key[at];

			second = k > first ? first : k > second ? k : second;
			first = k > first ? k : first;
		}
		r->group[g] = two && n > 1 ? key_of(float_of_key(first) + float_of_key(second)) : first;
	}
	__syncwarp();
}

/* Experts outside the best groups are put below all others. */
static __device__ void
keep_groups(const struct row *r, float *choice, const struct router *how)
{
	const int n = how->E / how->n_group;
	struct best b;

	score_groups(r, how->n_group, n, how->groups == 2);
	b = best_of(r->group, how->n_group, how->topk_group, r->lane);
	for (int g = r->lane; g - r->lane < how->n_group; g += WARP) {
		const int kept = is_best(&b, g < how->n_group, g < how->n_group ? r->group[g] : 0, r->lane);

		if (g < how->n_group)
			r->group[g] = (uint32_t)kept;
	}
	__syncwarp();
	for (int e = r->lane; e < how->E; e += WARP)
		if (!r->group[e / n]) {
			choice[e] = -INFINITY;
			r->key[e] = key_of(-INFINITY);
		}
	__syncwarp();
}

/* The experts chosen, ascending, and their weights. */
static __device__ void
choose(const struct row *r, int32_t *idx, float *w, const struct router *how)
{
	struct best b = best_of(r->key, how->E, how->K, r->lane);
	float sum = 0;
	int n = 0;

	for (int e = r->lane; e - r->lane < how->E; e += WARP) {
		const int mine = is_best(&b, e < how->E, e < how->E ? r->key[e] : 0, r->lane);
		const unsigned all = __ballot_sync(~0u, mine);
		const int at = n + __popc(all & lanes_below(r->lane));

		if (mine) {
			idx[at] = e;
			r->w[at] = r->score[e];
		}
		n += __popc(all);
	}
	__syncwarp();
	for (int i = 0; how->norm && i < how->K; i++)
		sum += r->w[i];
	for (int i = r->lane; i < how->K; i += WARP)
		w[i] = canonical((how->norm ? r->w[i] / (sum + 1e-20f) : r->w[i]) * how->factor);
}

static __global__ void
route_row(float *scores, float *choice, int32_t *idx, float *w, const float *__restrict__ bias, struct router how)
{
	SHARED(float, memory);
	const size_t t = blockIdx.x;
	const int E = how.E;
	struct row r = {(int)threadIdx.x, memory, (uint32_t *)(void *)(memory + E), (uint32_t *)(void *)(memory + 2 * E),
	    memory + 2 * E + how.n_group};

	scores += t * (size_t)E;
	choice += t * (size_t)E;
#pragma unroll 8
	for (int e = r.lane; e < E; e += WARP)
		r.score[e] = scores[e];
	if (how.sigmoid)
		sigmoid(&r, E);
	else
		softmax(&r, E);
#pragma unroll 4
	for (int e = r.lane; e < E; e += WARP) {
		const float c = bias ? canonical(r.score[e] + bias[e]) : r.score[e];

		scores[e] = r.score[e];
		choice[e] = c;
		r.key[e] = key_of(c);
	}
	__syncwarp();
	if (how.groups && how.n_group > 1)
		keep_groups(&r, choice, &how);
	choose(&r, idx + t * (size_t)how.K, w + t * (size_t)how.K, &how);
}

static int
route(struct gpu *g, float *scores, float *choice, int32_t *idx, float *w, const float *bias, int T, const struct router *r)
{
	if (T == 0)
		return 0;
	return launch(g, route_row, (unsigned)T, WARP, (size_t)(2 * r->E + r->n_group + r->K) * sizeof(float),
	    scores, choice, idx, w, bias, *r);
}

/* --- the rows of each expert --- */

/*
 * A block for each expert, and one for the end.  It counts the pairs of experts before it, which is
 * where its own begin, and writes its own there.  Each warp has a share of the pairs.  Every block
 * reads all pairs twice, from L2, and no block waits for another.
 */
static __global__ void
sort_expert(struct expert_pairs c, const int32_t *__restrict__ idx, const float *__restrict__ w, int pairs, int K,
    const unsigned char *__restrict__ has)
{
	__shared__ int less[WARPS_MAX], same[WARPS_MAX];
	const int e = (int)blockIdx.x, lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const int warps = (int)blockDim.x / WARP;
	const int share = (pairs + warps * WARP - 1) / (warps * WARP) * WARP, from = warp * share;
	const int to = pairs - from < share ? pairs : from + share;
	int before = 0, mine = 0, at = 0;

#pragma unroll 4
	for (int i = from + lane; i < to; i += WARP) {
		const int x = idx[i], counts = !has || has[x];

		before += counts && x < e;
		mine += counts && x == e;
	}
	for (int d = WARP / 2; d > 0; d /= 2) {
		before += __shfl_xor_sync(~0u, before, d);
		mine += __shfl_xor_sync(~0u, mine, d);
	}
	if (lane == 0) {
		less[warp] = before;
		same[warp] = mine;
	}
	__syncthreads();
	for (int i = 0; i < warps; i++)
		at += less[i] + (i < warp ? same[i] : 0);
	if (threadIdx.x == 0)
		c.start[e] = at;
#pragma unroll 4
	for (int base = from; mine && base < to; base += WARP) {
		const int i = base + lane, here = i < to && idx[i] == e;
		const unsigned all = __ballot_sync(~0u, here);
		const int to_slot = at + __popc(all & lanes_below(lane));

		if (here) {
			c.row[to_slot] = i / K;
			c.slot[to_slot] = i;
			c.w[to_slot] = w[i];
		}
		at += __popc(all);
	}
}

static int
sort(struct gpu *g, const struct expert_pairs *c, const int32_t *idx, const float *w, int T, int K, const unsigned char *has)
{
	const int pairs = T * K, warps = pairs / 128 < 1 ? 1 : pairs / 128 < WARPS_MAX ? pairs / 128 : WARPS_MAX;

	if (pairs > c->pairs)
		return gpu_fail("%d pairs of a row and an expert, there is room for %d", pairs, c->pairs);
	return launch(g, sort_expert, (unsigned)c->E + 1, (unsigned)(warps * WARP), 0, *c, idx, w, pairs, K, has);
}

static __global__ void
all_rows_row(struct expert_pairs c, int T)
{
	const int t = (int)(blockIdx.x * THREADS + threadIdx.x);

	if (t < T) {
		c.row[t] = c.slot[t] = t;
		c.w[t] = 1;
	}
	if (t == 0) {
		c.start[0] = 0;
		c.start[1] = T;
	}
}

static int
all_rows(struct gpu *g, const struct expert_pairs *c, int T)
{
	return launch(g, all_rows_row, (unsigned)(T / THREADS + 1), THREADS, 0, *c, T);
}

void
route_fill(struct gpu_lib *l)
{
	l->route = route;
	l->sort = sort;
	l->all_rows = all_rows;
}
