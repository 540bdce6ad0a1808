/*
 * The backward pass of attention.  Forward and gradients against a plain specification in double,
 * which expands MLA's latents to keys and values, and central differences of it.  The same bits for
 * 1 to 3 threads, all instruction sets, and sequences together or alone.
 */
/* check: yes */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/backward.h"
#include "attention_spec.h"
#include "sanitized.h"

static float *
numbers(size_t n, double most)
{
	float *p = memory(n, sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = (float)(number() * most);
	return p;
}

/* --- a layer, by the library --- */

#define SEQS 5

/* Rows of whole sequences, their inputs and the gradients of their outputs. */
struct world {
	int nseqs, length[SEQS], T, D;
	uint32_t pos[512];
	int start[2 * SEQS + 512 / CACHE_PAGE];
	struct learn_pages pages;
	float *h, *dh;          /* [T][D] */
};

static void
world_new(struct world *w, const int *length, int nseqs, int D)
{
	*w = (struct world){.nseqs = nseqs, .D = D};
	w->pages.start = w->start;
	for (int i = 0; i < nseqs; i++) {
		w->length[i] = length[i];
		for (int p = 0; p < length[i]; p++) {
			if (p % CACHE_PAGE == 0)
				w->start[w->pages.n++] = w->T;
			w->pos[w->T++] = (uint32_t)p;
		}
	}
	w->start[w->pages.n] = w->T;
	w->h = numbers((size_t)(w->T * D), 1);
	w->dh = numbers((size_t)(w->T * D), 1);
}

static void
world_free(struct world *w)
{
	free(w->h);
	free(w->dh);
}

struct layer {
	struct model model;
	struct pool *pool;
	struct device *device;
	struct attention_layers attention;
	struct learn learn;
	int layer;
};

static int
layer_open(struct layer *y, const char *model, int layer, int window, const char *set, int threads)
{
	unsigned char has[LAYERS_MAX] = {0};
	char dir[80];

	*y = (struct layer){.layer = layer};
	has[layer] = 1;
	snprintf(dir, sizeof(dir), "tests/golden/%s", model);
	if (model_open(&y->model, dir) < 0 || !(y->pool = pool_new(threads)) ||
	    !(y->device = device_new(-1, y->pool, kernels_named(set))))
		return -1;
	if (window > 0)
		y->model.config.sliding_window = window;
	return attention_open(&y->attention, &y->model, y->device, has) < 0 ||
	    learn_open(&y->learn, &y->model, y->device->k, y->pool, "attn") < 0 ? -1 :
	    attention_learn(&y->attention, &y->learn);
}

static void
layer_close(struct layer *y)
{
	learn_close(&y->learn);
	attention_close(&y->attention);
	device_close(y->device);
	pool_free(y->pool);
	model_close(&y->model);
}

/* h [T][D] gets its attention. */
static int
forward(struct layer *y, const struct world *w, float *h)
{
	struct cache *c = &y->attention.layers[y->layer].cache;
	const struct cache_seq *seq[512];
	struct attention_taps taps = {0};
	struct kv_rows rows;
	int t = 0;

	for (int i = 0; i < w->nseqs; i++) {
		struct cache_seq *s = cache_at(c, (uint64_t)i, 0);

		for (int p = 0; p < w->length[i]; p++) {
			seq[t++] = s;
			if (!s || cache_append(c, s) < 0)
				return -1;
		}
	}
	return attention_set_rows(&y->attention, y->layer, seq, w->pos, w->T, &rows) < 0 ? -1 :
	    attention_add(&y->attention, y->layer, h, &rows, &taps);
}

static int
back(struct layer *y, const struct world *w, float *dh)
{
	return attention_back(&y->attention, y->layer, &w->pages, w->pos, w->h, dh);
}

/* --- against the specification --- */

static void
spec_new(struct spec *s, struct layer *y)
{
	*s = (struct spec){.c = &y->model.config, .rope = y->attention.rope,
	    .scale = y->attention.scale,
	    .window = config_window(&y->model.config, y->layer)};
	for (size_t i = 0; i < y->learn.nparams; i++) {
		const struct param *p = y->learn.params[i];
		int cols = p->cols > 0 ? p->cols : p->rows, rows = p->cols > 0 ? p->rows : 1;
		float *row = memory((size_t)cols, sizeof(*row));

		s->n[p->role] = (size_t)rows * (size_t)cols;
		s->w[p->role] = memory(s->n[p->role], sizeof(double));
		for (int r = 0; r < rows; r++) {
			y->learn.k->row(row, &p->mat, r);
			for (int k = 0; k < cols; k++)
				s->w[p->role][(size_t)r * (size_t)cols + (size_t)k] = row[k];
		}
		free(row);
	}
}

static void
spec_free(struct spec *s)
{
	for (int i = 0; i < ROLES; i++)
		free(s->w[i]);
}

/* The sum over all rows of dh times the output for inputs h; out [T][D], if it is not NULL. */
static double
loss(const struct spec *s, const struct world *w, const double *h, double *out)
{
	size_t n = (size_t)(w->T * w->D);
	double *y = out ? out : memory(n, sizeof(*y)), sum = 0;

	for (int i = 0, t = 0; i < w->nseqs; t += w->length[i++])
		specify(s, h + (ptrdiff_t)t * w->D, w->length[i], y + (ptrdiff_t)t * w->D);
	for (size_t i = 0; i < n; i++)
		sum += y[i] * w->dh[i];
	if (!out)
		free(y);
	return sum;
}

/* x [n] are inputs or a weight, g the gradient found: by how much it differs, in a random direction
 * of all of x, from the difference quotient; relative to its length. */
static double
difference(const struct spec *s, const struct world *w, const double *h, double *x, size_t n,
    const double *g)
{
	double *was = memory(n, sizeof(*was)), *by = memory(n, sizeof(*by)), slope = 0, length = 0,
	    size = 0, up, down;

	memcpy(was, x, n * sizeof(*x));
	for (size_t i = 0; i < n; i++)
		size += x[i] * x[i] / (double)n;
	for (size_t i = 0; i < n; i++) {
		by[i] = number() < 0 ? -1 : 1;
		slope += by[i] * g[i];
		length += g[i] * g[i];
		x[i] = was[i] + by[i] * 1e-4 * sqrt(size);
	}
	up = loss(s, w, h, NULL);
	for (size_t i = 0; i < n; i++)
		x[i] = was[i] - by[i] * 1e-4 * sqrt(size);
	down = loss(s, w, h, NULL);
	memcpy(x, was, n * sizeof(*x));
	free(was);
	free(by);
	return fabs((up - down) / (2e-4 * sqrt(size)) - slope) / sqrt(length);
}

static int
is_near(const char *model, const char *name, double wrong)
{
	if (wrong < 1e-5)
		return 1;
	printf("# %s: %s: %g\n", model, name, wrong);
	return 0;
}

static int
specified(struct layer *y, const struct world *w, const char *model)
{
	size_t n = (size_t)(w->T * w->D);
	double *h = memory(n, sizeof(*h)), *out = memory(n, sizeof(*out)),
	    *g = memory(n, sizeof(*g)), wrong = 0;
	float *got = memory(n, sizeof(*got));
	struct spec s;
	int good = 1;

	spec_new(&s, y);
	for (size_t i = 0; i < n; i++)
		h[i] = got[i] = w->h[i];
	loss(&s, w, h, out);
	good &= forward(y, w, got) == 0;
	for (size_t i = 0; i < n; i++)
		wrong = fmax(wrong, fabs(got[i] - out[i]));
	good &= is_near(model, "forward", wrong);
	memcpy(got, w->dh, n * sizeof(*got));
	good &= back(y, w, got) == 0;
	for (size_t i = 0; i < n; i++)
		g[i] = got[i];
	good &= is_near(model, "input", difference(&s, w, h, h, n, g));
	/* (twice the forward pass in double for each) */
	for (size_t i = 0; i < (SANITIZED ? 1 : y->learn.nparams); i++) {
		const struct param *p = y->learn.params[i];
		double *of = memory(p->n, sizeof(*of));

		for (size_t j = 0; j < p->n; j++)
			of[j] = (double)p->acc[j] * 0x1p-40;
		good &= is_near(model, p->name, difference(&s, w, h, s.w[p->role], p->n, of));
		free(of);
	}
	spec_free(&s);
	free(got);
	free(g);
	free(out);
	free(h);
	return good;
}

/* --- bits --- */

/* What a backward pass left: dh, and the sums of all parameters. */
struct left {
	float *dh;
	size_t n, sums;
	int64_t *acc;
};

static struct left
left_of(struct layer *y, float *dh, size_t n)
{
	struct left l = {.dh = dh, .n = n};

	for (size_t i = 0; i < y->learn.nparams; i++)
		l.sums += y->learn.params[i]->n;
	l.acc = memory(l.sums, sizeof(*l.acc));
	l.sums = 0;
	for (size_t i = 0; i < y->learn.nparams; i++) {
		const struct param *p = y->learn.params[i];

		memcpy(l.acc + l.sums, p->acc, p->n * sizeof(*l.acc));
		l.sums += p->n;
	}
	return l;
}

static void
left_free(struct left *l)
{
	free(l->dh);
	free(l->acc);
}

static int
left_same(const struct left *a, const struct left *b)
{
	return a->n == b->n && a->sums == b->sums &&
	    memcmp(a->dh, b->dh, a->n * sizeof(*a->dh)) == 0 &&
	    memcmp(a->acc, b->acc, a->sums * sizeof(*a->acc)) == 0;
}

/* alone: each sequence by a call of its own. */
static int
run(struct left *l, const char *model, int layer, int window, const struct world *w,
    const char *set, int threads, int alone)
{
	size_t n = (size_t)(w->T * w->D);
	float *dh = memory(n, sizeof(*dh));
	struct layer y;
	int good = layer_open(&y, model, layer, window, set, threads) == 0;

	memcpy(dh, w->dh, n * sizeof(*dh));
	for (int i = 0, t = 0, page = 0; good && i < (alone ? w->nseqs : 1); i++) {
		struct world one = *w;

		if (alone) {
			ptrdiff_t at = (ptrdiff_t)t * w->D;
			int pages = (w->length[i] + CACHE_PAGE - 1) / CACHE_PAGE;

			one.pages = (struct learn_pages){.n = pages, .start = one.start};
			for (int j = 0; j <= pages; j++)
				one.start[j] = w->start[page + j] - t;
			page += pages;
			t += w->length[i];
			good = attention_back(&y.attention, layer, &one.pages, w->pos + t -
			    w->length[i], w->h + at, dh + at) == 0;
		} else {
			good = back(&y, w, dh) == 0;
		}
	}
	*l = left_of(&y, dh, n);
	layer_close(&y);
	return good;
}

static void
check(const char *model, int layer, int window)
{
	static const int few[] = {1, 69}, all[] = {1, 63, 64, 65, 130};
	struct left first = {0}, l;
	struct layer y;
	struct world w;
	char text[120];
	int good;

	good = layer_open(&y, model, layer, window, kernels_choose()->name, 1) == 0;
	world_new(&w, few, 2, y.model.config.hidden_size);
	snprintf(text, sizeof(text), "%s, layer %d, window %d: gradients are those of the "
	    "specification", model, layer, config_window(&y.model.config, layer));
	point(good && specified(&y, &w, model), text);
	layer_close(&y);
	world_free(&w);

	world_new(&w, all, 5, w.D);
	good = run(&first, model, layer, window, &w, "ref", 1, 0);
	for (int i = 1; good && kernels_set(i); i++) {
		if (!kernels_named(kernels_set(i)))
			continue;
		good = run(&l, model, layer, window, &w, kernels_set(i), 1 + i, i % 2) &&
		    left_same(&first, &l);
		left_free(&l);
	}
	left_free(&first);
	world_free(&w);
	snprintf(text, sizeof(text), "%s: the same bits for all threads, instruction sets and "
	    "batches", model);
	point(good, text);
}

/* NaN in the gradient of an output, and one that is too large. */
static void
refuses(const char *model)
{
	static const int length[] = {5};
	static const float bad[] = {NAN, 1e30f};

	for (int i = 0; i < 2; i++) {
		struct layer y;
		struct world w;
		int good = layer_open(&y, model, 0, 0, kernels_choose()->name, 1) == 0;
		char text[80];

		world_new(&w, length, 1, y.model.config.hidden_size);
		w.dh[w.D + 1] = bad[i];
		snprintf(text, sizeof(text), "%s: a gradient of %g is refused", model,
		    (double)bad[i]);
		point(good && back(&y, &w, w.dh) < 0 && fail_status() == FAIL_DATA, text);
		layer_close(&y);
		world_free(&w);
	}
}

int
main(void)
{
	check("v3", 1, 0);
	check("v3-plain", 0, 0);
	check("qwen2-window", 3, 0);
	check("qwen2-window", 2, 65);
	check("qwen3", 0, 0);
	check("qwen3-yarn", 1, 0);
	refuses("v3");
	refuses("llama");
	printf("1..%d\n", points);
	return failures > 0;
}
