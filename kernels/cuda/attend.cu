/*
 * Attention over the pages of a KV cache: which kernel, how many parts at a time, and their join.
 */
#include "attend.cuh"

/* Of all slots together, if one fits.  An emulated GPU has few, so that tests have several
 * rounds. */
#ifdef DS_EMULATED
#define SLOTS_BYTES ((size_t)64 << 10)
#else
#define SLOTS_BYTES ((size_t)128 << 20)
#endif

enum { JOIN = 512, JOIN_LEAST = 64 };  /* threads, each with a column; parts joined at a time */

static int
tiles(const struct gpu *g, const struct kv_shape *kv, enum precision p)
{
	return p != PRECISION_F32 && attend_tiles_fit(g, kv);
}

/* Positions of a part.  With tensor cores few enough that a context of 16k occupies a hundred
 * processors at batch 1, and enough that writing slots takes little time beside reading pages. */
static int
part_positions(const struct gpu *g, int H, const struct kv_shape *kv, enum precision p)
{
	return CACHE_PAGE * (!tiles(g, kv, p) ? 1 : H / kv->heads > 64 ? 8 : 4);
}

static int
parts_of(int most, int positions)
{
	int pages = positions / CACHE_PAGE;

	return most / pages + (most % pages != 0);
}

static size_t
slot_bytes(int H, const struct kv_shape *kv)
{
	return (size_t)H * ((size_t)kv->value + 2) * sizeof(float);
}

/* How many slots of all heads there is memory for: at least one. */
static size_t
slots_most(int H, const struct kv_shape *kv)
{
	size_t slot = slot_bytes(H, kv);

	return slot < SLOTS_BYTES ? SLOTS_BYTES / slot : 1;
}

static size_t
scratch_bytes(const struct gpu *g, int T, int most, int H, const struct kv_shape *kv, enum precision p)
{
	size_t all = (size_t)T * (size_t)parts_of(most, part_positions(g, H, kv, p)), room = slots_most(H, kv);

	return (all < room ? all : room) * slot_bytes(H, kv);
}

struct joined {
	float *out, *max, *sum;         /* [rows][H][value], [rows][H] */
};

/* Factors of the output so far and of each part, and each part's share of the sum. */
struct factors {
	float bmax[JOIN_LEAST], old[JOIN_LEAST], fresh[JOIN_LEAST], more[JOIN_LEAST];
};

/* The factors of n parts, whose slots begin at bmax and bsum, H apart; max: of all parts before
 * them. */
static __device__ void
factors_make(struct factors *f, const float *bmax, const float *bsum, int n, int H, float max)
{
	const int k = (int)threadIdx.x;

	__syncthreads();
	if (k < n)
		f->bmax[k] = bmax[(size_t)k * (size_t)H];
	__syncthreads();
	if (k < n) {
		float m = max, before;

		for (int i = 0; i < k; i++)
			m = f->bmax[i] > m ? f->bmax[i] : m;
		before = m;
		m = f->bmax[k] > m ? f->bmax[k] : m;
		f->old[k] = before == -INFINITY ? 0 : exp_one(before - m);
		f->fresh[k] = f->bmax[k] == -INFINITY ? 0 : exp_one(f->bmax[k] - m);
		f->more[k] = f->fresh[k] * bsum[(size_t)k * (size_t)H];
	}
	__syncthreads();
}

/* softmax_join of kernels/cpu/vector_ref.c over a row's parts in turn, then the division by the
 * sum. A block has a head of a row.  The largest score before a part does not depend on the sums,
 * so all factors are computed side by side. */
static __global__ void __launch_bounds__(JOIN)
join(struct attend_args a, struct joined to)
{
	const int V = a.kv.value;
	__shared__ struct factors f;
	const int t = (int)blockIdx.x / a.H, h = (int)blockIdx.x % a.H;
	const int first = (int)(attend_first(&a, a.pos[t]) / (uint32_t)a.positions), again = a.first > first;
	const int last = (int)(a.pos[t] / (uint32_t)a.positions) + 1, skip = again ? 0 : first - a.first;
	const int n = (last - a.first < a.parts ? last - a.first : a.parts) - skip;
	const size_t at = (size_t)t * (size_t)a.H + (size_t)h;
	const size_t slot = ((size_t)t * (size_t)a.parts + (size_t)skip) * (size_t)a.H + (size_t)h;
	const size_t step = (size_t)a.H * (size_t)V;
	const float max0 = again ? to.max[at] : -INFINITY, sum0 = again ? to.sum[at] : 0;
	float *out = to.out + at * (size_t)V, max = max0, sum = sum0;

	for (int c0 = 0; c0 < V && n > 0; c0 += (int)blockDim.x) {
		const int c = c0 + (int)threadIdx.x, own = c < V ? c : 0;
		float o = again ? out[own] : 0;

		max = max0;
		sum = sum0;
		for (int k0 = 0; k0 < n; k0 += JOIN_LEAST) {
			const size_t from = slot + (size_t)k0 * (size_t)a.H;
			const float *bo = a.o + from * (size_t)V + own;
			const int some = n - k0 < JOIN_LEAST ? n - k0 : JOIN_LEAST;

			factors_make(&f, a.bmax + from, a.bsum + from, some, a.H, max);
#pragma unroll 16
			for (int k = 0; k < some; k++) {
				o = fmaf(f.old[k], o, f.fresh[k] * bo[(size_t)k * step]);
				sum = fmaf(f.old[k], sum, f.more[k]);
				max = f.bmax[k] > max ? f.bmax[k] : max;
			}
		}
		sum = canonical(sum);
		if (c < V)
			out[c] = canonical(last <= a.first + a.parts ? o * (1 / sum) : o);
	}
	__syncthreads();                /* all have read max and sum */
	if (threadIdx.x == 0 && n > 0) {
		to.max[at] = max;
		to.sum[at] = sum;
	}
}

static unsigned
join_threads(int columns)
{
	int n = (columns + 31) / 32 * 32;

	return (unsigned)(n > JOIN ? JOIN : n < JOIN_LEAST ? JOIN_LEAST : n);
}

/* The rows from t0 on. */
static struct attend_args
args_of(const struct gpu *g, const float *query, const struct kv_rows *rows, int t0, int H, const struct kv_shape *kv,
    float scale, enum precision p)
{
	struct attend_args a = {};

	a.query = query + (size_t)t0 * (size_t)H * (size_t)kv->key;
	a.pos = rows->pos + t0;
	a.list = rows->list + t0;
	a.pages = rows->pages;
	a.kv = *kv;
	a.key_pitch = gpu_kv_pitch(kv->key, p);
	a.value_pitch = kv->shared ? a.key_pitch : gpu_kv_pitch(kv->value, p);
	a.value_at = kv->shared ? 0 : CACHE_PAGE * a.key_pitch;
	a.head_bytes = a.value_at + CACHE_PAGE * a.value_pitch;
	a.H = H;
	a.window = rows->window;
	a.scale = scale;
	a.positions = part_positions(g, H, kv, p);
	return a;
}

/* As many parts, and then rows, as fit into the slots are computed side by side. */
static int
attend(struct gpu *g, float *out, float *max, float *sum, const float *query, const struct kv_rows *rows, int H,
    const struct kv_shape *kv, float scale, void *scratch, enum precision p)
{
	const size_t V = (size_t)kv->value, room = slots_most(H, kv);
	const int all = parts_of(rows->most, part_positions(g, H, kv, p));
	const size_t wide = (size_t)all < room ? (size_t)all : room, n = room / (wide ? wide : 1);

	for (int t0 = 0, some; t0 < rows->n && all > 0; t0 += some) {
		struct attend_args a = args_of(g, query, rows, t0, H, kv, scale, p);
		size_t at = (size_t)t0 * (size_t)H;
		struct joined to = {out + at * V, max + at, sum + at};

		a.rows = some = (size_t)(rows->n - t0) < n ? rows->n - t0 : (int)n;
		for (a.first = 0; a.first < all; a.first += a.parts) {
			size_t slots;

			a.parts = all - a.first < (int)wide ? all - a.first : (int)wide;
			slots = (size_t)a.rows * (size_t)a.parts * (size_t)H;
			a.o = (float *)scratch;
			a.bmax = a.o + slots * V;
			a.bsum = a.bmax + slots;
			if ((tiles(g, kv, p) ? attend_tiles(g, &a) : attend_plain(g, &a, p)) < 0 ||
			    launch(g, join, dim3((unsigned)a.rows * (unsigned)H), dim3(join_threads(kv->value)), 0, a, to) < 0)
				return -1;
		}
	}
	return 0;
}

/* The scores once more, by the sums of f32 even where tensor cores made them: that changes a
 * probability by as much as the roundings of a sum do. */
static int
probs(struct gpu *g, float *to, size_t positions, const float *max, const float *sum, const float *query,
    const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale, enum precision p)
{
	struct attend_args a = args_of(g, query, rows, 0, H, kv, scale, p);
	struct probs_args args = {to, positions, max, sum};

	a.rows = rows->n;
	a.positions = CACHE_PAGE;
	a.parts = (int)((positions + CACHE_PAGE - 1) / CACHE_PAGE);
	return a.rows > 0 && a.parts > 0 ? attend_probs(g, &a, &args, p) : 0;
}

void
attend_fill(struct gpu_lib *l)
{
	l->angles = gpu_angles;
	l->kv_append = gpu_kv_append;
	l->attend = attend;
	l->attend_scratch = scratch_bytes;
	l->probs = probs;
}
