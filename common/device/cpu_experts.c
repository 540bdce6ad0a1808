/*
 * Experts, the shared experts and dense MLPs: down(silu(gate x) * up x), times a weight for each
 * row, added in fixed point. Rows of several experts are computed together, since those of one
 * may be too few to share among threads.
 */
#include <stdatomic.h>
#include <string.h>

#include "device/cpu.h"

#define TILE_ROWS 128   /* rows of one expert that are computed together at most */
/* and of how many tiles at once: together they have TILE_ROWS to 2 TILE_ROWS rows */
#define TILES 256

struct tile {                   /* some rows of an expert */
	const struct expert_group *of;
	const struct mlp *mlp;
	int from, n;            /* its pairs */
	ptrdiff_t at;           /* the first of them in the batch's x and y */
	float *gate, *up;       /* [n][width] each */
	size_t units;           /* of all tiles up to this one's end, CPU_GRAIN of width each */
};

struct batch {
	const struct kernels *k;
	struct tile tile[TILES];
	int tiles, D;
	ptrdiff_t rows;         /* of all */
	size_t inner;           /* floats of all gate and up */
	double macs;            /* of gate and up */
	const float *from;
	float *x, *y;           /* [rows][D] */
	int64_t *acc;
	atomic_int bad;         /* the first row that was refused; rows: none */
};

static void
gather(void *arg, size_t from, size_t to, int thread)
{
	const struct batch *b = arg;
	size_t D = (size_t)b->D;

	(void)thread;
	for (const struct tile *t = b->tile; t < b->tile + b->tiles; t++)
		for (size_t i = 0; i < (size_t)t->n; i++)
			if ((size_t)t->at + i >= from && (size_t)t->at + i < to)
				memcpy(b->x + ((size_t)t->at + i) * D,
				    b->from + (size_t)t->of->chosen.row[(size_t)t->from + i] * D,
				    D * sizeof(*b->x));
}

/* Copy the units from .. to-1 of gate x and up x of row i. */
static void
inner_copy(const struct tile *t, int i, int from, int to)
{
	ptrdiff_t width = t->mlp->gate.rows, at = (t->from + i) * width + from;
	size_t bytes = (size_t)(to - from) * sizeof(float);

	memcpy(t->of->gate + at, t->gate + i * width + from, bytes);
	memcpy(t->of->up + at, t->up + i * width + from, bytes);
}

/* The inner units from .. to-1 of a tile. */
static void
tile_inner(const struct batch *b, const struct tile *t, int from, int to)
{
	const struct mlp *m = t->mlp;
	ptrdiff_t D = b->D, width = m->gate.rows;
	const float *x = b->x + t->at * D;

	b->k->matmul(t->gate, width, x, D, t->n, &m->gate, from, to);
	b->k->matmul(t->up, width, x, D, t->n, &m->up, from, to);
	for (int i = 0; i < t->n; i++) {
		if (t->of->gate)
			inner_copy(t, i, from, to);
		b->k->silu_mul(t->gate + i * width + from, t->up + i * width + from, to - from);
	}
}

/* from, to: units of CPU_GRAIN, counted through all tiles. */
static void
inner(void *arg, size_t from, size_t to, int thread)
{
	const struct batch *b = arg;
	size_t begin = 0;

	(void)thread;
	for (const struct tile *t = b->tile; t < b->tile + b->tiles &&
	    begin < to; begin = t++->units) {
		size_t first = from > begin ? from - begin : 0,
		    last = (to < t->units ? to : t->units) - begin;
		int width = t->mlp->gate.rows, end = (int)last * CPU_GRAIN;

		if (t->units > from)
			tile_inner(b, t, (int)first * CPU_GRAIN, end < width ? end : width);
	}
}

/* The outputs from .. to-1 of all rows, added to the sums. */
static void
outer(void *arg, size_t from, size_t to, int thread)
{
	struct batch *b = arg;
	ptrdiff_t D = b->D, at = (ptrdiff_t)from;

	(void)thread;
	for (const struct tile *t = b->tile; t < b->tile + b->tiles; t++) {
		const struct expert_pairs *c = &t->of->chosen;
		float *y = b->y + t->at * D;

		b->k->matmul(y, D, t->gate, t->mlp->gate.rows, t->n, &t->mlp->down, (int)from,
		    (int)to);
		for (int i = 0; i < t->n; i++) {
			int seen = atomic_load(&b->bad), row = (int)t->at + i;

			if (b->k->fixed_add(b->acc + c->row[t->from + i] * D + at, y + i * D + at,
			    c->w[t->from + i], (int)(to - from)) < 0)
				while (row < seen && !atomic_compare_exchange_weak(&b->bad, &seen,
				    row))
					;
		}
	}
}

/* Copy what a tile has added. */
static void
tile_copy(const struct batch *b, const struct tile *t)
{
	ptrdiff_t D = b->D;

	for (ptrdiff_t i = 0; i < t->n; i++) {
		float *to = t->of->each + t->of->chosen.slot[t->from + i] * D;

		memcpy(to, b->y + (t->at + i) * D, (size_t)D * sizeof(*to));
		b->k->scale(to, t->of->chosen.w[t->from + i], (int)D);
	}
}

static int
batch_layout(struct batch *b, struct scratch *memory)
{
	size_t D = (size_t)b->D;
	float *rest = scratch_reserve(memory, (size_t)b->rows * 2 * D + b->inner, sizeof(*rest));

	if (!rest)
		return -1;
	b->x = rest;
	b->y = b->x + (size_t)b->rows * D;
	rest = b->y + (size_t)b->rows * D;
	for (struct tile *t = b->tile; t < b->tile + b->tiles; t++) {
		size_t n = (size_t)t->n * (size_t)t->mlp->gate.rows;

		t->gate = rest;
		t->up = rest + n;
		rest += 2 * n;
	}
	return 0;
}

/* 0: done; 1: a contribution was refused, and its group knows it; -1 and a message. */
static int
batch_run(struct device *d, struct batch *b)
{
	size_t D = (size_t)b->D, units;
	int bad;

	if (b->rows == 0)
		return 0;
	if (batch_layout(b, &d->cpu->batches) < 0)
		return -1;
	units = b->tile[b->tiles - 1].units;
	atomic_store(&b->bad, (int)b->rows);
	pool_run(d->pool, (size_t)b->rows, 1, (double)D, gather, b);
	pool_run(d->pool, units, 1, b->macs / (double)units, inner, b);
	pool_run(d->pool, D, CPU_GRAIN, b->macs / 2 / (double)D, outer, b);
	bad = atomic_load(&b->bad);
	for (const struct tile *t = b->tile; t < b->tile + b->tiles; t++) {
		if (bad < t->at + t->n) {
			*t->of->bad = t->from + bad - (int)t->at;
			return 1;
		}
		if (t->of->each && bad >= b->rows)
			tile_copy(b, t);
	}
	return 0;
}

/* Add a tile of the pairs from `from` up to `to`: how many it has. */
static int
tile_add(struct batch *b, const struct expert_group *g, const struct mlp *m, int from, int to)
{
	struct tile *t = &b->tile[b->tiles];
	int width = m->gate.rows;

	*t = (struct tile){.of = g, .mlp = m, .from = from, .n = to - from < TILE_ROWS ? to - from :
	    TILE_ROWS, .at = b->rows};
	t->units = (b->tiles ? t[-1].units : 0) + ((size_t)width + CPU_GRAIN - 1) / CPU_GRAIN;
	b->tiles++;
	b->rows += t->n;
	b->inner += 2 * (size_t)t->n * (size_t)width;
	b->macs += 2.0 * t->n * width * b->D;
	return t->n;
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
				if (b.tiles < TILES && b.rows < TILE_ROWS)
					continue;
				if ((r = batch_run(d, &b)) != 0)
					return r < 0 ? -1 : 0;
				b.tiles = 0;
				b.rows = 0;
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
