/* TAP: sizes computed from config.json are those of the files; the split is the best of all. */
/* check: yes */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "plan/split.h"
#include "point.h"

static int
same(struct weight_size a, struct weight_size b)
{
	return a.bytes == b.bytes && a.params == b.params && a.bytes > 0;
}

static int
same_layers(const struct sizes *a, const struct sizes *b)
{
	for (int i = 0; i < a->config.num_layers; i++) {
		const struct layer_size *x = &a->layers[i], *y = &b->layers[i];

		if (!same(x->attn, y->attn) || !same(x->route, y->route) || x->moe != y->moe ||
		    !same(x->shared, y->shared) || (x->moe && !same(x->routed, y->routed)))
			return 0;
	}
	return 1;
}

static void
check_sizes(const char *dir)
{
	struct sizes shapes = {0}, files = {0};
	char what[200];
	int r = sizes_open(&shapes, dir, 1) == 0 && sizes_open(&files, dir, 0) == 0;

	snprintf(what, sizeof(what), "%s: each part of each layer has the bytes that config.json lets it have", dir);
	point(r && same_layers(&shapes, &files) && same(shapes.embed, files.embed) && same(shapes.head, files.head) &&
	    same(shapes.total, files.total) && shapes.active == files.active, what);
	sizes_close(&shapes);
	sizes_close(&files);
}

static double
busy_of(const struct cost *c, const struct group *g)
{
	double most = 0;

	for (int m = 0; m < g->n; m++) {
		struct busy b = cost_member(c, g, m);
		struct held h = cost_held(c, g, m);

		if ((double)(h.weights + h.caches) > host_room(&c->hosts->h[g->host + m]))
			return INFINITY;
		most = fmax(most, busy_choice(c, &b));
	}
	return most;
}

/* Each way to deal what is left of the experts to members from m on. */
static double
best_deal(const struct cost *c, struct group *g, int m, int left)
{
	double best = INFINITY;

	if (m == g->n - 1) {
		g->experts[m] = left;
		for (g->shared = 0; g->shared < g->n; g->shared++)
			best = fmin(best, busy_of(c, g));
		return best;
	}
	for (int e = 0; e <= left; e++) {
		g->experts[m] = e;
		best = fmin(best, best_deal(c, g, m + 1, left - e));
	}
	return best;
}

/* Each way to split what is left: layers from l on to hosts from k on. */
static double
best_split(const struct cost *c, int k, int l)
{
	int H = c->hosts->n, L = c->s->config.num_layers;
	double best = INFINITY;

	if (l == L)
		return 0;
	for (; k < H; k++)
		for (int n = 1; n <= H - k; n++)
			for (int to = l + 1; to <= L; to++) {
				struct group g = {.host = k, .n = n, .from = l, .to = to};
				double own = n == 1 ? busy_of(c, &g) : best_deal(c, &g, 0, c->s->config.n_routed_experts);

				if (own < INFINITY)
					best = fmin(best, fmax(own, best_split(c, k + n, to)));
			}
	return best;
}

static double
value_of(const struct cost *c, const struct split *o)
{
	double most = 0;
	int l = 0, k = 0;

	for (int i = 0; i < o->n; i++) {
		if (o->group[i].from != l || o->group[i].host < k)
			return NAN;
		l = o->group[i].to;
		k = o->group[i].host + o->group[i].n;
		most = fmax(most, busy_of(c, &o->group[i]));
	}
	return l == c->s->config.num_layers && k <= c->hosts->n ? most : NAN;
}

static double
one_of(const double *list, int n)
{
	return list[rand() % n];
}

static void
check_split(const struct sizes *s, int nhosts, int round)
{
	static const double memory[] = {1.5, 3, 4.5, 8, 30}, rate[] = {0.5, 1, 3, 20};
	struct host h[4] = {0};
	struct hosts hosts = {.h = h, .n = nhosts};
	struct demand d = {.context = 64 << rand() % 4, .sequences = 2, .batches = 1, .rows = 64,
	    .net = one_of((double[]){1e7, 1e9, 1e11}, 3), .hop = 1e-4, .core.row = one_of((double[]){1e8, 3e10}, 2),
	    .tokens = one_of((double[]){1, 100, 1e9}, 3)};
	struct cost c;
	struct split o;
	double want, got = INFINITY;
	char what[200];

	for (int i = 0; i < nhosts; i++)
		h[i] = (struct host){.row = one_of((double[]){0, 1e9}, 2), .attend = one_of((double[]){0, 1e8}, 2), .cores = 1 + rand() % 4, .memory = one_of(memory, 5) * 1048576, .bandwidth = one_of(rate, 4) * 1e9};
	d.core.rows = d.core.row * one_of((double[]){1, 2.5}, 2);
	d.coded = d.core;
	if (cost_open(&c, s, &hosts, &d, 2, 2, d.context) < 0)
		exit(1);
	want = best_split(&c, 0, 0);
	if (split_make(&o, &c, &c) == 0)
		got = value_of(&c, &o);
	snprintf(what, sizeof(what), "%d hosts at random, round %d: no split is better, of all that there are (%g ms, %g)", nhosts, round,
	    got * 1e3, want * 1e3);
	point(got == want || fabs(got - want) <= 1e-6 * want, what);
	split_free(&o);
	cost_close(&c);
}

int
main(void)
{
	static const char *const dirs[] = {"examples/tiny-r1", "tests/golden/v2", "tests/golden/v2-lite", "tests/golden/v3",
	    "tests/golden/v3-fp8-odd", "tests/golden/v3-plain"};
	struct sizes s;

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		check_sizes(dirs[i]);
	srand(1);
	if (sizes_open(&s, "examples/tiny-r1", 1) < 0)
		return 1;
	for (int round = 1; round <= 20; round++) {
		check_split(&s, 1 + round % 2, round);
		check_split(&s, 3, round);
	}
	sizes_close(&s);
	printf("1..%d\n", points);
	return failures > 0;
}
