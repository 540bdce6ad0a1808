/*
 * checkback_moe: the backward passes of router, experts and head against differences of their
 * forward passes, and the same bits for splits of experts, threads and kernels.
 */
/* check: yes */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "numbers.h"

#include "base/fail.h"
#include "learn/param.h"
#include "stage/expert.h"
#include "stage/head.h"
#include "stage/keep.h"
#include "stage/partial.h"
#include "stage/route.h"

#define T 75            /* rows: a sequence of 70, which are two pages, and one of 5 */

static void
must(int r, const char *what)
{
	if (r < 0) {
		printf("Bail out! %s: %s\n", what, fail_text());
		exit(1);
	}
}

/* --- stages that learn, of one model --- */

struct line {
	struct model model;
	struct learn learn;
	struct keep keep[2];
	struct stage s[2];              /* the second for a second set of experts */
	struct route route;
	struct expert expert[2];
	struct head head;
	int sets, layer, D;
};

/* second: the experts of a second process, or NULL: one has all. */
static void
line_open(struct line *l, const char *dir, const char *kernels, int threads, int layer,
    const char *first, const char *second)
{
	struct stage *s = l->s;

	memset(l, 0, sizeof(*l));
	must(model_open(&l->model, dir), dir);
	s->model = &l->model;
	s->k = kernels ? kernels_named(kernels) : kernels_choose();
	must((s->pool = pool_new(threads)) ? 0 : -1, "pool");
	must((s->device = device_new(-1, s->pool, s->k)) ? 0 : -1, "device");
	s->layers.has[layer] = 1;
	must(learn_open(&l->learn, &l->model, s->k, s->pool, "check"), "learn");
	s->learn = &l->learn;
	l->s[1] = l->s[0];
	for (int i = 0; i < 2; i++)
		l->s[i].keep = &l->keep[i];
	must(route_open(&l->route, s), "route");
	must(expert_open(&l->expert[0], &l->s[0], first), "expert");
	if (second)
		must(expert_open(&l->expert[1], &l->s[1], second), "expert");
	must(head_open(&l->head, s), "head");
	l->sets = second ? 2 : 1;
	l->layer = layer;
	l->D = l->model.config.hidden_size;
}

static void
line_close(struct line *l)
{
	route_close(&l->route);
	for (int i = 0; i < l->sets; i++)
		expert_close(&l->expert[i]);
	head_close(&l->head);
	for (int i = 0; i < 2; i++)
		keep_free(&l->keep[i]);
	learn_close(&l->learn);
	device_close(l->s->device);
	pool_free(l->s->pool);
	model_close(&l->model);
}

/* --- frames --- */

static void
add(struct frame *f, const char *name, const float *x, int rows, int cols)
{
	struct tensor *t = frame_add(f, name, F32, 2, (uint64_t[]){(uint64_t)rows,
	    (uint64_t)cols});

	must(t ? 0 : -1, name);
	memcpy(t->data, x, t->bytes);
}

/* Rows that wait at a step of the forward pass with h. */
static void
frame_make(struct frame *f, enum at at, int layer, const float *h, int D)
{
	const struct span spans[] = {{7, 0, 40, 0}, {7, 40, 30, SPAN_LOGITS},
	    {9, 0, 5, SPAN_LOGITS}};

	frame_init(f);
	must(frame_set_spans(f, spans, 3), "spans");
	must(frame_set_other(f, "learn", "\x81\xa2id\x05", 5), "learn");
	frame_set_at(f, at, layer);
	add(f, "h", h, T, D);
}

static const float *
tensor_of(struct frame *f, const char *name)
{
	struct tensor *t = frame_tensor(f, name);

	must(t ? 0 : fail(FAIL_DATA, "no tensor %s", name), "frame");
	return t->data;
}

static void
draw(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = (float)(below(2001) - 1000) * 0.001f;
}

/* --- a layer from the router on --- */

static void
forward(struct line *l, struct frame *f)
{
	must(route_frame(&l->route, f, NULL, 0), "route");
	for (int i = 0; i < l->sets; i++)
		must(expert_frame(&l->expert[i], f, NULL, 0), "expert");
}

/* h.grad of f becomes that of the layer's input. */
static void
backward(struct line *l, struct frame *f)
{
	for (int i = 0; i < l->sets; i++)
		must(expert_frame(&l->expert[i], f, NULL, 0), "expert.back");
	must(route_frame(&l->route, f, NULL, 0), "route.back");
}

#define K_MAX 8

/* Of each row, the layer's output of h times grad, without learning, and the experts it chose. */
struct values {
	double v[T];
	int32_t idx[T][K_MAX];
};

static void
layer_values(struct line *l, const float *h, const float *grad, struct values *to)
{
	int K = config_is_moe(&l->model.config, l->layer) ? l->model.config.num_experts_per_tok : 0;
	struct frame f;

	memset(to, 0, sizeof(*to));
	frame_make(&f, AT_ROUTE, l->layer, h, l->D);
	frame_drop_other(&f, "learn");
	must(route_frame(&l->route, &f, NULL, 0), "route");
	for (int t = 0; t < T && K > 0; t++)
		memcpy(to->idx[t], (const int32_t *)frame_tensor(&f, "expert.idx")->data +
		    (ptrdiff_t)t * K, (size_t)K * sizeof(int32_t));
	must(expert_frame(&l->expert[0], &f, NULL, 0), "expert");
	for (int t = 0; t < T; t++)
		to->v[t] = dot(tensor_of(&f, "h") + t * l->D, grad + t * l->D, l->D);
	frame_free(&f);
}

/* A forward and a backward pass from h and the gradient of the output: f is what comes back. */
static void
layer_back(struct line *l, const float *h, const float *grad, struct frame *f)
{
	frame_make(f, AT_ROUTE, l->layer, h, l->D);
	forward(l, f);
	frame_drop(f, "h");
	frame_set_at(f, AT_EXPERT_BACK, l->layer);
	add(f, "h.grad", grad, T, l->D);
	backward(l, f);
}

/* A digest of all sums, whatever their order. */
static uint64_t
sums_of(const struct line *l)
{
	uint64_t all = 0;

	for (size_t i = 0; i < l->learn.nparams; i++) {
		const struct param *p = l->learn.params[i];
		uint64_t d = 14695981039346656037u;

		for (const char *c = p->name; *c; c++)
			d = (d ^ (unsigned char)*c) * 1099511628211u;
		for (size_t k = 0; k < p->n; k++)
			d = (d ^ (uint64_t)p->acc[k]) * 1099511628211u;
		all += d;
	}
	return all;
}

/* Rows whose choice moves with h have no derivative there. */
static void
differences(const char *dir, int layer)
{
	static struct values up, down;
	struct line l;
	struct frame f;
	float *h, *grad, *way, *moved;
	double worst = 0, step = 0.004;
	int n, rows = 0;

	line_open(&l, dir, NULL, 2, layer, NULL, NULL);
	n = T * l.D;
	h = mem_raw((size_t)n * 4, sizeof(*h));
	grad = h + n;
	way = grad + n;
	moved = way + n;
	draw(h, 3 * n);
	layer_back(&l, h, grad, &f);
	ok(f.at == AT_ATTN_BACK && f.layer == layer && f.ntensors == 1 && !f.experts_done,
	    "%s layer %d: the frame goes on to attn.back, with h.grad alone", dir, layer);
	for (int i = 0; i < n; i++)
		moved[i] = h[i] + (float)step * way[i];
	layer_values(&l, moved, grad, &up);
	for (int i = 0; i < n; i++)
		moved[i] = h[i] - (float)step * way[i];
	layer_values(&l, moved, grad, &down);
	for (int t = 0; t < T; t++) {
		double got = dot(tensor_of(&f, "h.grad") + t * l.D, way + t * l.D, l.D),
		    want = (up.v[t] - down.v[t]) / (2 * step);

		if (memcmp(up.idx[t], down.idx[t], sizeof(up.idx[t])) != 0)
			continue;
		rows++;
		worst = fmax(worst, fabs(got - want) / (1 + fabs(want)));
	}
	ok(rows > T / 2 && worst < 0.005, "%s layer %d: the gradient of h is that of differences "
	    "in %d rows (%.1e)", dir, layer, rows, worst);
	frame_free(&f);
	line_close(&l);
	free(h);
}

/* Sums and frame of a pass. */
struct outcome {
	uint64_t sums;
	float *grad;
};

static struct outcome
outcome_of(const char *dir, const char *kernels, int threads, int layer, const char *first,
    const char *second)
{
	struct outcome o;
	struct line l;
	struct frame f;
	float *h;
	int n;

	seed = 5;
	line_open(&l, dir, kernels, threads, layer, first, second);
	n = T * l.D;
	h = mem_raw((size_t)n * 2, sizeof(*h));
	draw(h, 2 * n);
	layer_back(&l, h, h + n, &f);
	memcpy(h, tensor_of(&f, "h.grad"), (size_t)n * sizeof(*h));
	o = (struct outcome){sums_of(&l), h};
	frame_free(&f);
	line_close(&l);
	return o;
}

static void
same_bits(const char *dir, int layer, const char *first, const char *second)
{
	struct outcome want = outcome_of(dir, "ref", 1, layer, NULL, NULL), got;
	size_t bytes = (size_t)T * 128 * sizeof(float);

	for (int i = 1; kernels_set(i); i++) {
		if (!kernels_named(kernels_set(i)))
			continue;
		got = outcome_of(dir, kernels_set(i), 2, layer, NULL, NULL);
		ok(got.sums == want.sums && memcmp(got.grad, want.grad, bytes) == 0,
		    "%s layer %d: two threads with %s: the bits of one with ref", dir, layer,
		    kernels_set(i));
		free(got.grad);
	}
	if (first) {
		got = outcome_of(dir, NULL, 2, layer, first, second);
		ok(got.sums == want.sums && memcmp(got.grad, want.grad, bytes) == 0,
		    "%s layer %d: the same for experts %s and %s", dir, layer, first, second);
		free(got.grad);
	}
	free(want.grad);
}

/* The bias of the router gets the rows that chose each expert. */
static void
load(void)
{
	struct line l;
	struct frame f;
	float *h;
	const struct param *p = NULL;
	int64_t sum = 0, want[16] = {0}, n;
	const int32_t *idx;

	line_open(&l, "tests/golden/v3", NULL, 1, 2, NULL, NULL);
	n = (int64_t)T * l.D;
	h = mem_raw((size_t)n * 2, sizeof(*h));
	draw(h, (int)n * 2);
	frame_make(&f, AT_ROUTE, l.layer, h, l.D);
	frame_drop_other(&f, "learn");
	must(route_frame(&l.route, &f, NULL, 0), "route");
	idx = (const int32_t *)(const void *)tensor_of(&f, "expert.idx");
	for (int i = 0; i < T * 4; i++)
		want[idx[i]]++;
	frame_free(&f);
	layer_back(&l, h, h + n, &f);
	for (size_t i = 0; i < l.learn.nparams; i++)
		if (l.learn.params[i]->role == ROLE_ROUTER_BIAS)
			p = l.learn.params[i];
	for (int e = 0; p && e < 16; e++)
		sum += p->acc[e];
	ok(p && sum == T * 4 && memcmp(p->acc, want, sizeof(want)) == 0,
	    "the load of each expert is counted");
	frame_free(&f);
	line_close(&l);
	free(h);
}

/* --- the head --- */

static double
head_value(struct line *l, const float *h, const float *grad, int n)
{
	struct frame f;
	double v;

	frame_make(&f, AT_HEAD, l->model.config.num_layers, h, l->D);
	frame_drop_other(&f, "learn");
	must(head_frame(&l->head, &f, NULL, 0), "head");
	v = dot(tensor_of(&f, "logits"), grad, n);
	frame_free(&f);
	return v;
}

static void
head(const char *dir)
{
	struct line l;
	struct frame f;
	float *h, *grad, *way, *moved;
	const float *back;
	double want, got, step = 0.002;
	int n, m, rest = 0;

	line_open(&l, dir, NULL, 2, 0, NULL, NULL);
	n = T * l.D;
	m = 35 * l.model.config.vocab_size;     /* rows with flag 2 */
	h = mem_raw((size_t)(3 * n + m), sizeof(*h));
	way = h + n;
	moved = way + n;
	grad = moved + n;
	draw(h, n);
	draw(way, n);
	draw(grad, m);
	frame_make(&f, AT_HEAD, l.model.config.num_layers, h, l.D);
	must(head_frame(&l.head, &f, NULL, 0), "head");
	frame_drop(&f, "logits");
	frame_set_at(&f, AT_HEAD_BACK, -1);
	add(&f, "logits.grad", grad, 35, l.model.config.vocab_size);
	must(head_frame(&l.head, &f, NULL, 0), "head.back");
	back = tensor_of(&f, "h.grad");
	got = dot(back, way, n);
	for (int i = 0; i < 40 * l.D; i++)
		rest += back[i] != 0;
	ok(f.at == AT_EXPERT_BACK && f.layer == l.model.config.num_layers - 1 && f.ntensors == 1 &&
	    rest == 0, "%s: the head's frame goes back to the last layer; rows without logits "
	    "have no gradient", dir);
	for (int i = 0; i < n; i++)
		moved[i] = h[i] + (float)step * way[i];
	want = head_value(&l, moved, grad, m);
	for (int i = 0; i < n; i++)
		moved[i] = h[i] - (float)step * way[i];
	want = (want - head_value(&l, moved, grad, m)) / (2 * step);
	ok(fabs(got - want) < 2e-3 * (1 + fabs(want)), "%s: the gradient of the head's h is that "
	    "of differences (%g, %g)", dir, got, want);
	frame_free(&f);
	line_close(&l);
	free(h);
}

/* --- what is refused --- */

static void
refusals(void)
{
	struct line l;
	struct frame f;
	float *h;
	int n;

	line_open(&l, "tests/golden/v3", NULL, 1, 1, NULL, NULL);
	n = T * l.D;
	h = mem_raw((size_t)n * 2, sizeof(*h));
	draw(h, 2 * n);
	frame_make(&f, AT_ROUTE, 1, h, l.D);
	forward(&l, &f);
	frame_drop(&f, "h");
	frame_set_at(&f, AT_EXPERT_BACK, 1);
	h[n + 71 * l.D] = INFINITY;
	add(&f, "h.grad", h + n, T, l.D);
	ok(expert_frame(&l.expert[0], &f, NULL, 0) < 0 && fail_status() == FAIL_DATA &&
	    strncmp(fail_text(), "layer 1: ", 9) == 0, "an infinite gradient is refused: %s",
	    fail_text());
	frame_free(&f);

	frame_make(&f, AT_EXPERT_BACK, 1, h, l.D);
	add(&f, "h.grad", h, T, l.D);
	ok(expert_frame(&l.expert[0], &f, NULL, 0) < 0 &&
	    strstr(fail_text(), "nothing was kept"), "a frame that did not pass is refused");
	frame_set_at(&f, AT_ROUTE_BACK, 1);
	ok(route_frame(&l.route, &f, NULL, 0) < 0 && strstr(fail_text(), "x.grad"),
	    "... and one without x.grad");
	frame_set_at(&f, AT_HEAD_BACK, -1);
	ok(head_frame(&l.head, &f, NULL, 0) < 0 && strstr(fail_text(), "nothing was kept"),
	    "... and by the head");
	frame_free(&f);
	line_close(&l);
	free(h);
}

int
main(void)
{
	program = "checkback_moe";
	differences("tests/golden/v3", 0);
	differences("tests/golden/v3", 1);
	differences("tests/golden/v2", 1);
	differences("tests/golden/v3-plain", 1);
	differences("tests/golden/qwen3-moe", 0);
	head("tests/golden/v3");
	head("tests/golden/qwen2");
	same_bits("tests/golden/v3", 1, "0-6,9", "7-8,10-15,s");
	same_bits("tests/golden/qwen3-moe", 1, "s,3", "0-2,4-11");
	same_bits("tests/golden/v3", 0, NULL, NULL);
	load();
	refusals();
	printf("1..%d\n", points);
	return failures > 0;
}
