#include "bench/bench_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "attention/attention.h"
#include "device/tensor.h"
#include "weights/layout.h"

#define STEPS_MAX 1000
#define PROMPT_SEQ (UINT64_C(1) << 40)

/* --- bytes of weights --- */

static struct bench_weights *
weights_of(struct bench *b, const struct weight *w)
{
	struct bench_layer *l = w->layer < 0 ? NULL : &b->layers[w->layer];

	if (!l)
		return &b->head_weights;
	return (struct bench_weights *[WEIGHT_GROUPS]){[WEIGHTS_ATTN] = &l->attn,
	    [WEIGHTS_ROUTE] = &l->route, [WEIGHTS_ROUTED] = &l->expert,
	    [WEIGHTS_SHARED] = &l->shared}[weight_group(w->row)];
}

/* A tensor of w, with its bytes. */
typedef void tensor_fn(struct bench *b, const struct weight *w, const struct tensor_entry *t, const void *data);

static void
count(struct bench *b, const struct weight *w, const struct tensor_entry *t, const void *data)
{
	struct bench_weights *to = weights_of(b, w);
	double n = w->row->kind == WEIGHT_EXPERT ? b->present : 1;

	(void)data;
	to->bytes += (double)(t->end - t->begin) / n;
	if (w->cols > 0 && strcmp(t->name, w->name) == 0)
		to->params += (double)w->rows * w->cols / n;
}

static void
touch(struct bench *b, const struct weight *w, const struct tensor_entry *t, const void *data)
{
	volatile unsigned char seen = 0;

	(void)b, (void)w;
	for (uint64_t i = 0; i < t->end - t->begin; i += 4096)
		seen ^= ((const unsigned char *)data)[i];
	(void)seen;
}

/* 1 if the tensor is present and measured: tensors of layers, and of the head. */
static int
is_used(const struct bench *b, const struct weight *w)
{
	if (w->layer < 0)
		return w->row->stage == AT_HEAD && b->parts & 1u << BENCH_HEAD;
	return b->stage.layers.has[w->layer] && w->expert < b->present;
}

static int
each_tensor(struct bench *b, tensor_fn *fn)
{
	struct model *m = b->stage.model;
	struct layout l;
	const void *data;

	for (int i = -1; i < m->config.num_layers; i++)
		for (struct weight w = {0}; weight_next(&w, &m->config, i); ) {
			if (!is_used(b, &w))
				continue;
			if (layout_find(&l, &m->weights, w.name, (size_t)w.rows, (size_t)w.cols) < 0)
				return -1;
			for (int k = 0; k < LAYOUT_PARTS && l.part[k]; k++) {
				if (!checkpoint_data(&m->weights, l.part[k]->name, &data))
					return -1;
				fn(b, &w, l.part[k], data);
			}
		}
	return 0;
}

int
bench_touch(struct bench *b)
{
	return each_tensor(b, touch);
}

int
bench_layers(const struct bench *b)
{
	int n = 0;

	for (int i = 0; i < b->stage.model->config.num_layers; i++)
		n += b->stage.layers.has[i];
	return n;
}

size_t
bench_position_bytes(const struct stage *s, const struct config *c)
{
	return attention_of(c)->cache_row(c, attention_where(s->device));
}

uint64_t
bench_cache_bytes(const struct stage *s, const struct config *c, int layers, int context)
{
	uint64_t positions = ((uint64_t)context + CACHE_PAGE) / CACHE_PAGE * CACHE_PAGE;

	return positions * bench_position_bytes(s, c) * (uint64_t)layers;
}

static int
by_time(const void *a, const void *b)
{
	const struct measured *x = a, *y = b;

	return (x->all.seconds > y->all.seconds) - (x->all.seconds < y->all.seconds);
}

/* Let a sequence hold that many positions: its pages are copies of one, of random numbers. */
static int
fill_cache(struct bench *b, struct cache *c, uint64_t seq, uint32_t context)
{
	struct device *d = b->stage.device;
	size_t bytes = CACHE_PAGE * c->row;
	struct cache_seq *s = cache_find(c, seq);

	if (!s && !(s = cache_at(c, seq, 0)))
		return -1;
	if (!b->page.p && (!d->ops->reserve(d, &b->page, bytes) ||
	    bench_random(d, b->page.p, bytes, d->cache_type) < 0))
		return -1;
	while (s->n < context)
		if (cache_append(c, s) < 0)
			return -1;
	for (size_t i = 0; i < s->npages; i++)
		if (d->ops->copy(d, cache_page(s, i), b->page.p, bytes) < 0)
			return -1;
	return 0;
}

static int
fill_caches(struct bench *b, int n, int context)
{
	const struct config *c = &b->stage.model->config;

	if (!(b->parts & 1u << BENCH_ATTN))
		return 0;
	if (context >= c->max_position)
		return fail(FAIL_USAGE, "--decode at position %d: the model ends at %d", context, c->max_position - 1);
	for (int i = 0; i < n; i++)
		for (int l = 0; l < c->num_layers; l++)
			if (b->stage.layers.has[l] &&
			    fill_cache(b, &b->block.attn.attention.layers[l].cache, (uint64_t)i, (uint32_t)context) < 0)
				return -1;
	return 0;
}

/* Free the prompt's caches. */
static int
drop_prompt(struct bench *b)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_FREE;
	f.seq = PROMPT_SEQ;
	r = b->parts & 1u << BENCH_ATTN ? attn_frame(&b->block.attn, &f, NULL, 0) : 0;
	frame_free(&f);
	return r;
}

/*
 * Run steps until the time is spent, at least three. The first one, which allocates memory and maps
 * pages, does not count, unless it takes longer than the time.
 */
static int
run(struct bench *b, int block, const struct measured *what, struct measured *m)
{
	struct measured *all = mem_raw(STEPS_MAX, sizeof(*all));
	double start = clock_now();
	int n = 0, first = 1, r = all ? 0 : -1;

	while (r == 0 && n < STEPS_MAX) {
		all[n] = *what;
		if ((r = bench_step(b, block, &all[n])) < 0)
			break;
		n++;
		if (first && all[0].all.seconds < b->seconds) {
			start = clock_now();
			n = 0;
		} else if (first || (n >= 3 && clock_now() - start >= b->seconds)) {
			break;
		}
		first = 0;
	}
	if (r == 0) {
		qsort(all, (size_t)n, sizeof(*all), by_time);
		*m = all[b->fastest ? 0 : n / 2];
		m->steps = n;
	}
	free(all);
	return r;
}

int
bench_run(struct bench *b, int prefill, int rows, int context, struct measured *m)
{
	const struct measured what = {.prefill = prefill, .rows = rows, .context = context};
	struct measured whole = {0};

	if ((!prefill && fill_caches(b, rows, context) < 0) || run(b, 0, &what, m) < 0 ||
	    (bench_has_block(b) && run(b, 1, &what, &whole) < 0))
		return -1;
	m->block = whole.all;
	m->block_steps = whole.steps;
	return prefill ? drop_prompt(b) : 0;
}

int
bench_open(struct bench *b)
{
	const struct config *c = &b->stage.model->config;
	size_t E = (size_t)(c->n_routed_experts > 0 ? c->n_routed_experts : 1);
	const struct stage *s = &b->stage;

	b->block.s = s;
	b->layers = mem_new((size_t)c->num_layers, sizeof(*b->layers));
	b->slot = mem_new(E, sizeof(*b->slot));
	b->order = mem_new(E, sizeof(*b->order));
	b->taken = mem_new(E, 1);
	for (int i = 0; b->order && i < b->present; i++)
		b->order[i] = i;
	if (!b->layers || !b->slot || !b->order || !b->taken || each_tensor(b, count) < 0 ||
	    (b->parts & 1u << BENCH_ATTN && attn_open(&b->block.attn, s) < 0) ||
	    (b->parts & 1u << BENCH_ROUTE && route_open(&b->block.route, s) < 0) ||
	    (b->parts & 1u << BENCH_EXPERT && expert_open(&b->block.expert, s, NULL) < 0) ||
	    (b->parts & 1u << BENCH_HEAD && head_open(&b->head, s) < 0))
		return -1;
	return 0;
}

void
bench_close(struct bench *b)
{
	if (b->block.s)
		block_close(&b->block);
	if (b->head.s)
		head_close(&b->head);
	if (b->stage.device)
		b->stage.device->ops->release(b->stage.device, &b->page);
	free(b->layers);
	free(b->slot);
	free(b->order);
	free(b->taken);
}
