/*
 * Experts, the shared experts and dense MLPs: down(silu(gate x) * up x), times a weight for each
 * row, added in fixed point. All experts of a layer are one list of tasks, so that threads wait for
 * one another twice: after the products with gate and up, and at the end. Rows of one expert may be
 * too few to share among threads.
 */
#include <stdatomic.h>
#include <string.h>

#include "device/cpu.h"

#define TILE_ROWS 128   /* rows of one expert that are computed together at most */
#define TILES 512       /* tiles of a list at most, */
#define INNER ((size_t)16 << 20)        /* and floats between both products, if it has two tiles */
#define GRAIN_MAX 64    /* outputs of a unit: each call of a kernel looks at all of x */
#define TURNS 64        /* units for a thread at least, if the outputs are enough, */
#define TURNS_MANY 16   /* or with many rows of x: i8 rounds them while it could do 38 outputs */
#define OWN 262144      /* floats of a thread for what its task computes, at most */

struct tile {                   /* some rows of an expert */
	const struct expert_group *of;
	const struct mlp *mlp;
	const float *x;         /* its rows, if they are neighbours; NULL: to be gathered */
	int from, n;            /* its pairs */
	int at;                 /* pairs of the tiles before it */
	float *inner;           /* [n][width]: what down is multiplied by */
	size_t units;           /* of all tiles up to this one's end */
};

struct batch {
	const struct kernels *k;
	struct tile tile[TILES];
	int tiles, D, rows;     /* rows: of all tiles */
	int grain;              /* outputs of a unit */
	size_t inner;           /* floats of all tiles */
	double macs;            /* of gate and up */
	const float *from;
	float *own;             /* [threads][each] */
	size_t outputs, each;   /* what a task computes, and then a tile's rows, if some are
				 * gathered */
	int64_t *acc;
	atomic_int bad;         /* the first row that was refused; rows: none */
};

/* The rows of x that a tile multiplies. */
static const float *
tile_rows(const struct batch *b, const struct tile *t, float *own)
{
	size_t D = (size_t)b->D;
	float *x = own + b->outputs;

	if (t->x)
		return t->x;
	for (size_t i = 0; i < (size_t)t->n; i++)
		memcpy(x + i * D, b->from + (size_t)t->of->chosen.row[(size_t)t->from + i] * D,
		    D * sizeof(*x));
	return x;
}

/* Copy the units from .. to-1 of gate x and up x of row i. */
static void
inner_copy(const struct tile *t, int i, const float *up, int from, int n)
{
	ptrdiff_t width = t->mlp->gate.rows, at = (t->from + i) * width + from;

	memcpy(t->of->gate + at, t->inner + i * width + from, (size_t)n * sizeof(float));
	memcpy(t->of->up + at, up, (size_t)n * sizeof(float));
}

/* How many of n outputs of a tile's rows are computed at once. */
static int
tile_step(const struct tile *t, int n)
{
	int most = OWN / t->n / CPU_GRAIN * CPU_GRAIN;

	n = (n + CPU_GRAIN - 1) / CPU_GRAIN * CPU_GRAIN;
	return n < most ? n : most;
}

/* The inner outputs from .. to-1 of a tile. */
static void
tile_inner(const struct batch *b, const struct tile *t, int from, int to, float *own)
{
	const struct mlp *m = t->mlp;
	const float *x = tile_rows(b, t, own);
	ptrdiff_t width = m->gate.rows, step = tile_step(t, to - from);

	for (int n; from < to; from += n) {
		struct mat up;

		n = to - from < step ? to - from : (int)step;
		up = mat_rows(&m->up, from, n);
		b->k->matmul(t->inner, width, x, b->D, t->n, &m->gate, from, from + n);
		b->k->matmul(own, step, x, b->D, t->n, &up, 0, n);
		for (int i = 0; i < t->n; i++) {
			if (t->of->gate)
				inner_copy(t, i, own + i * step, from, n);
			b->k->silu_mul(t->inner + i * width + from, own + i * step, n);
		}
	}
}

/* from, to: units, counted through all tiles. */
static void
inner(void *arg, size_t from, size_t to, int thread)
{
	const struct batch *b = arg;
	float *own = b->own + (size_t)thread * b->each;
	size_t begin = 0;

	for (const struct tile *t = b->tile; t < b->tile + b->tiles &&
	    begin < to; begin = t++->units) {
		size_t first = from > begin ? from - begin : 0,
		    last = (to < t->units ? to : t->units) - begin;
		int width = t->mlp->gate.rows, end = (int)last * b->grain;

		if (t->units > from)
			tile_inner(b, t, (int)first * b->grain, end < width ? end : width, own);
	}
}

/* Row i of a tile was refused. */
static void
refuse(struct batch *b, const struct tile *t, int i)
{
	int seen = atomic_load(&b->bad), row = t->at + i;

	while (row < seen && !atomic_compare_exchange_weak(&b->bad, &seen, row))
		;
}

/* Add n outputs of a tile's rows, from `from` on, to the sums. */
static void
tile_add_to(struct batch *b, const struct tile *t, int from, int n, float *y, ptrdiff_t step)
{
	const struct expert_pairs *c = &t->of->chosen;
	ptrdiff_t D = b->D;

	for (int i = 0, at = t->from; i < t->n; i++, at++, y += step) {
		if (b->k->fixed_add(b->acc + c->row[at] * D + from, y, c->w[at], n) < 0)
			refuse(b, t, i);
		if (t->of->each) {
			float *to = t->of->each + c->slot[at] * D + from;

			memcpy(to, y, (size_t)n * sizeof(*to));
			b->k->scale(to, c->w[at], n);
		}
	}
}

/* The outputs from .. to-1 of all rows, added to the sums: a thread has all tiles of an output, so
 * that no other one adds to its sums. */
static void
outer(void *arg, size_t from, size_t to, int thread)
{
	struct batch *b = arg;
	float *own = b->own + (size_t)thread * b->each;

	for (const struct tile *t = b->tile; t < b->tile + b->tiles; t++) {
		int step = tile_step(t, (int)(to - from));

		for (int at = (int)from, n; at < (int)to; at += n) {
			struct mat down;

			n = (int)to - at < step ? (int)to - at : step;
			down = mat_rows(&t->mlp->down, at, n);
			b->k->matmul(own, step, t->inner, t->mlp->gate.rows, t->n, &down, 0, n);
			tile_add_to(b, t, at, n, own, step);
		}
	}
}

int
cpu_grain(size_t outputs, size_t threads, int rows)
{
	size_t turns = rows < CPU_MANY ? TURNS : TURNS_MANY;
	int grain = GRAIN_MAX;

	while (grain > CPU_GRAIN && outputs / (size_t)grain < turns * threads)
		grain /= 2;
	return grain;
}

static int
batch_layout(struct batch *b, size_t threads, struct scratch *memory)
{
	size_t outputs = 0, units = 0;
	int gathered = 0;
	float *rest;

	b->outputs = 0;
	for (const struct tile *t = b->tile; t < b->tile + b->tiles; t++) {
		int width = t->mlp->gate.rows, most = tile_step(t, width > b->D ? width : b->D);
		size_t n = (size_t)t->n * (size_t)most;

		outputs += (size_t)width;
		gathered = !t->x && t->n > gathered ? t->n : gathered;
		b->outputs = n > b->outputs ? n : b->outputs;
	}
	b->each = (b->outputs + (size_t)gathered * (size_t)b->D + 15) / 16 * 16;
	if (!(rest = scratch_reserve(memory, b->inner + threads * b->each, sizeof(*rest))))
		return -1;
	b->own = rest;
	rest += threads * b->each;
	b->grain = cpu_grain(outputs, threads, b->rows / b->tiles);
	for (struct tile *t = b->tile; t < b->tile + b->tiles; t++) {
		size_t width = (size_t)t->mlp->gate.rows, grain = (size_t)b->grain;

		t->inner = rest;
		rest += (size_t)t->n * width;
		t->units = units += (width + grain - 1) / grain;
	}
	return 0;
}

/* 0: done; 1: a contribution was refused, and its group knows it; -1 and a message. */
static int
batch_run(struct device *d, struct batch *b)
{
	size_t D = (size_t)b->D, units, threads = (size_t)pool_threads(d->pool);
	int bad;

	if (b->rows == 0)
		return 0;
	if (batch_layout(b, threads, &d->cpu->batches) < 0)
		return -1;
	units = b->tile[b->tiles - 1].units;
	atomic_store(&b->bad, b->rows);
	pool_run(d->pool, units, 1, b->macs / (double)units, inner, b);
	pool_run(d->pool, D, (size_t)cpu_grain(D, threads, b->rows / b->tiles),
	    b->macs / 2 / (double)D, outer, b);
	bad = atomic_load(&b->bad);
	for (const struct tile *t = b->tile; bad < b->rows; t++)
		if (bad < t->at + t->n) {
			*t->of->bad = t->from + bad - t->at;
			return 1;
		}
	return 0;
}

/* Add a tile of the pairs from `from` up to `to`: how many it has. */
static int
tile_add(struct batch *b, const struct expert_group *g, const struct mlp *m, int from, int to)
{
	struct tile *t = &b->tile[b->tiles++];
	const int32_t *row = g->chosen.row + from;
	int run = 1, n = to - from < TILE_ROWS ? to - from : TILE_ROWS;

	while (run < n && row[run] == row[0] + run)
		run++;
	*t = (struct tile){.of = g, .mlp = m, .from = from, .n = n, .at = b->rows,
	    .x = run == n ? b->from + (ptrdiff_t)row[0] * b->D : NULL};
	b->rows += n;
	b->inner += (size_t)n * (size_t)m->gate.rows;
	b->macs += 2.0 * n * m->gate.rows * b->D;
	return n;
}

static void
prefetch(struct device *d, const struct expert_group *g, int n)
{
	struct prefetch *p = &d->prefetch;

	if (!prefetch_begin(p))
		return;
	for (; n > 0; n--, g++)
		for (int e = 0; e < g->chosen.E; e++)
			if (g->chosen.start[e + 1] > g->chosen.start[e]) {
				prefetch_mat(p, &g->mlps[e].gate);
				prefetch_mat(p, &g->mlps[e].up);
				prefetch_mat(p, &g->mlps[e].down);
			}
}

int
cpu_experts(struct device *d, int64_t *acc, const float *x, int D, const struct expert_group *g,
    int n)
{
	struct batch b = {.k = d->k, .acc = acc, .from = x, .D = D};
	int r = 0;

	prefetch(d, g, n);
	for (; n > 0; n--, g++)
		for (int e = 0; e < g->chosen.E; e++)
			for (int at = g->chosen.start[e],
			    end = g->chosen.start[e + 1]; at < end; ) {
				at += tile_add(&b, g, &g->mlps[e], at, end);
				if (b.tiles < TILES && b.inner < INNER)
					continue;
				if ((r = batch_run(d, &b)) != 0)
					return r < 0 ? -1 : 0;
				b.tiles = b.rows = 0;
				b.inner = 0;
				b.macs = 0;
			}
	return batch_run(d, &b) < 0 ? -1 : 0;
}

int
cpu_sort(struct device *d, const struct expert_pairs *c, const int32_t *idx, const float *w, int T,
    int K, const unsigned char *has)
{
	size_t E = (size_t)c->E, n = (size_t)T * (size_t)K;
	int32_t *start = c->start;

	(void)d;
	memset(start, 0, (E + 1) * sizeof(*start));
	for (size_t i = 0; i < n; i++)
		if (!has || has[idx[i]])
			start[idx[i] + 1]++;
	for (size_t e = 0; e < E; e++)
		start[e + 1] += start[e];
	/* start[e] is the next of e: at the end, where e + 1 begins */
	for (size_t i = 0; i < n; i++) {
		int32_t at;

		if (has && !has[idx[i]])
			continue;
		at = start[idx[i]]++;
		c->row[at] = (int32_t)(i / (size_t)K);
		c->slot[at] = (int32_t)i;
		c->w[at] = w[i];
	}
	memmove(start + 1, start, E * sizeof(*start));
	start[0] = 0;
	return 0;
}

int
cpu_all_rows(struct device *d, const struct expert_pairs *c, int T)
{
	(void)d;
	c->start[0] = 0;
	c->start[1] = T;
	for (int32_t t = 0; t < T; t++) {
		c->row[t] = c->slot[t] = t;
		c->w[t] = 1;
	}
	return 0;
}
