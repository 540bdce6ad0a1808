#include "learn/back.h"

#include <stdatomic.h>

#include "base/fail.h"

enum {
	TILE_N = 96, TILE_K = 256,      /* of a gradient: stays in L2 while the pages go past it */
	TILE_N_LEAST = 24,              /* of small matrices, so that all threads have some; */
	STEP_N = 6,                     /* a multiple of the rows that grad_outer takes together */
	TILE_T = 96, TILE_C = 64,       /* rows and columns of an input's gradient */
	GRAIN = 32                      /* columns of a sum over rows that a thread has at least */
};

/* What a number costs to become fixed point, in multiply-adds. */
#define CONVERT 8.0

static int
min(int a, int b)
{
	return a < b ? a : b;
}

static int
refused(const struct param *p, int bad)
{
	return bad ? fail(FAIL_DATA, "gradient of '%s': a page adds what is not a finite number "
	    "below 2^18, or the sum leaves +-2^22: use a lower rate", p->name) : 0;
}

/* --- matrices --- */

struct matrix {
	const struct kernels *k;
	int64_t *acc;                   /* [n][K] */
	const float *dy, *x;
	ptrdiff_t ldy, ldx;
	int n, K, tile_n, across;       /* across: tiles side by side */
	const struct learn_pages *pages;
	atomic_int bad;
};

static void
matrix_tiles(void *arg, size_t from, size_t to, int thread)
{
	struct matrix *w = arg;

	(void)thread;
	for (int i = (int)from; i < (int)to; i++) {
		int n = i / w->across * w->tile_n, k = i % w->across * TILE_K;
		int N = min(w->n - n, w->tile_n), K = min(w->K - k, TILE_K);

		for (int j = 0; j < w->pages->n; j++) {
			ptrdiff_t at = w->pages->start[j];
			int T = w->pages->start[j + 1] - (int)at;

			if (w->k->grad_outer(w->acc + (ptrdiff_t)n * w->K + k, w->K,
			    w->dy + at * w->ldy + n, w->ldy, N, w->x + at * w->ldx + k, w->ldx, K,
			    T) < 0)
				atomic_store(&w->bad, 1);
		}
	}
}

/* Rows of a tile, of a gradient of n rows that is `across` tiles wide. */
static int
tile_rows(int n, int across, int threads)
{
	int down = (n + TILE_N - 1) / TILE_N, rows;

	if (threads > 1 && down * across < 2 * threads)
		down = (2 * threads + across - 1) / across;
	rows = (n + down - 1) / down;
	return rows < TILE_N_LEAST ? TILE_N_LEAST : (rows + STEP_N - 1) / STEP_N * STEP_N;
}

int
back_weight(struct learn *l, struct param *p, int row0, const float *dy, ptrdiff_t ldy, int n,
    const float *x, ptrdiff_t ldx, const struct learn_pages *pages)
{
	struct matrix w = {.k = l->k, .acc = p->acc + (ptrdiff_t)row0 * p->cols, .dy = dy, .x = x,
	    .ldy = ldy, .ldx = ldx, .n = n, .K = p->cols,
	    .across = (p->cols + TILE_K - 1) / TILE_K, .pages = pages};
	double rows = learn_pages_rows(pages) + CONVERT * pages->n;
	int down;

	w.tile_n = tile_rows(n, w.across, pool_threads(l->pool));
	down = (n + w.tile_n - 1) / w.tile_n;
	pool_run(l->pool, (size_t)down * (size_t)w.across, 1,
	    rows * w.tile_n * min(w.K, TILE_K), matrix_tiles, &w);
	return refused(p, atomic_load(&w.bad));
}

/* --- inputs --- */

struct input {
	const struct kernels *k;
	float *dx, *more;               /* more [T][cols]: what is added to dx, or NULL */
	const float *dy;
	ptrdiff_t ldx, ldy;
	int T, across;                  /* across: tiles side by side */
	const struct mat *w;
};

static void
input_tiles(void *arg, size_t from, size_t to, int thread)
{
	const struct input *in = arg;
	ptrdiff_t cols = in->w->cols;

	(void)thread;
	for (int i = (int)from; i < (int)to; i++) {
		int t = i / in->across * TILE_T, c = i % in->across * TILE_C;
		int T = min(in->T - t, TILE_T), C = min((int)cols - c, TILE_C);
		float *dx = in->dx + t * in->ldx, *more = in->more ? in->more + t * cols : NULL;

		in->k->matmul_t(more ? more : dx, more ? cols : in->ldx, in->dy + t * in->ldy,
		    in->ldy, T, in->w, c, c + C);
		for (int j = 0; more && j < T; j++)
			in->k->add(dx + j * in->ldx + c, more + j * cols + c, C);
	}
}

int
back_input(struct learn *l, float *dx, ptrdiff_t ldx, const float *dy, ptrdiff_t ldy, int T,
    const struct mat *w, int add)
{
	struct input in = {.k = l->k, .dx = dx, .ldx = ldx, .dy = dy, .ldy = ldy, .T = T,
	    .across = (w->cols + TILE_C - 1) / TILE_C, .w = w};

	if (add && !(in.more = scratch_reserve(&l->work, (size_t)T * (size_t)w->cols, sizeof(*dx))))
		return -1;
	pool_run(l->pool, (size_t)((T + TILE_T - 1) / TILE_T) * (size_t)in.across, 1,
	    (double)min(T, TILE_T) * TILE_C * w->rows, input_tiles, &in);
	return 0;
}

/* --- vectors --- */

struct columns {
	const struct kernels *k;
	int64_t *acc;
	const float *dy, *z;
	ptrdiff_t ldy, ldz;
	const struct learn_pages *pages;
	atomic_int bad;
};

static void
columns_part(void *arg, size_t from, size_t to, int thread)
{
	struct columns *c = arg;

	(void)thread;
	for (int j = 0; j < c->pages->n; j++) {
		ptrdiff_t at = c->pages->start[j];
		int T = c->pages->start[j + 1] - (int)at;

		if (c->k->grad_columns(c->acc + from, c->dy + at * c->ldy + from, c->ldy,
		    c->z ? c->z + at * c->ldz + from : NULL, c->ldz, T, (int)(to - from)) < 0)
			atomic_store(&c->bad, 1);
	}
}

/* The gradient of a vector [n]; z as in grad_columns. */
static int
columns(struct learn *l, struct param *p, const float *dy, ptrdiff_t ldy, const float *z,
    ptrdiff_t ldz, int n, const struct learn_pages *pages)
{
	struct columns c = {.k = l->k, .acc = p->acc, .dy = dy, .ldy = ldy, .z = z, .ldz = ldz,
	    .pages = pages};

	pool_run(l->pool, (size_t)n, GRAIN, learn_pages_rows(pages) + CONVERT * pages->n,
	    columns_part, &c);
	return refused(p, atomic_load(&c.bad));
}

int
back_bias(struct learn *l, struct param *p, const float *dy, ptrdiff_t ldy, int n,
    const struct learn_pages *pages)
{
	return columns(l, p, dy, ldy, NULL, 0, n, pages);
}

/* --- norms --- */

struct norm {
	const struct kernels *k;
	float *dx, *xhat, *more;        /* xhat [T][n]; more [threads][n], with add */
	const float *x, *dy, *weight;
	ptrdiff_t lddx, ldx, lddy;
	int n, add;
	float eps;
};

static void
norm_rows(void *arg, size_t from, size_t to, int thread)
{
	const struct norm *c = arg;

	for (ptrdiff_t t = (ptrdiff_t)from; t < (ptrdiff_t)to; t++) {
		float *dx = c->dx + t * c->lddx;
		float *out = c->add ? c->more + (ptrdiff_t)thread * c->n : dx;

		c->k->rmsnorm_back(out, c->xhat + t * c->n, c->x + t * c->ldx, c->weight,
		    c->dy + t * c->lddy, c->n, c->eps);
		if (c->add)
			c->k->add(dx, out, c->n);
	}
}

int
back_norm(struct learn *l, struct param *p, float *dx, ptrdiff_t lddx, const float *x,
    ptrdiff_t ldx, const float *dy, ptrdiff_t lddy, int n, const float *weight, float eps,
    const struct learn_pages *pages, int add)
{
	size_t T = (size_t)learn_pages_rows(pages), threads = (size_t)pool_threads(l->pool);
	float *work = scratch_reserve(&l->work, (T + threads) * (size_t)n, sizeof(*work));
	struct norm c = {.k = l->k, .dx = dx, .lddx = lddx, .x = x, .ldx = ldx, .dy = dy,
	    .lddy = lddy, .n = n, .weight = weight, .eps = eps, .add = add};

	if (!work)
		return -1;
	c.xhat = work;
	c.more = work + T * (size_t)n;
	pool_run(l->pool, T, 1, 4.0 * n, norm_rows, &c);
	return columns(l, p, dy, lddy, work, n, n, pages);
}
