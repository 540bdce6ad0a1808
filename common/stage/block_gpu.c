#include "stage/block_gpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "device/tensor.h"
#include "stage/block.h"
#include "stage/partial.h"
#include "stage/trace.h"

struct pass {           /* a batch on its way through consecutive layers */
	struct block *b;
	struct device *d;
	const struct config *c;
	int layer, layers, T;           /* the first, how many */
	float *h;                       /* [T][D] */
	struct expert_rows e;
	struct route_rows r;            /* of the layer that is under way; idx is that layer's of: */
	int32_t *idx;                   /* [layers][T][K] */
	int64_t *acc;                   /* [T][D] */
	struct gpu_rows *rows;          /* [layers] where places are taken; NULL: each layer takes its own */
};

static void
graphs_drop(struct block *b)
{
	for (int i = 0; i < BLOCK_GRAPHS; i++) {
		if (b->gpu.graphs[i].graph)
			b->s->gpu->lib->graph_free(b->gpu.graphs[i].graph);
		b->gpu.graphs[i] = (struct block_graph){0};
	}
}

void
block_gpu_close(struct block *b)
{
	if (b->s->gpu)
		graphs_drop(b);
	b->s->device->ops->release(b->s->device, &b->rows);
}

int
block_gpu_can(const struct block *b, struct frame *f)
{
	return b->s->gpu && f->rows > 0 && !(b->s->taps & TAPS_BLOCK) && trace_begin(f).start == 0 &&
	    !f->experts_done && !frame_tensor(f, "expert.acc");
}

static void
pass_layout(struct pass *p, struct arena *a)
{
	size_t T = (size_t)p->T, pairs = T * (size_t)p->c->num_experts_per_tok, E = (size_t)p->c->n_routed_experts;

	p->e.T = p->r.T = p->T;
	p->e.layers = p->layers;
	expert_layout(&p->b->expert, a, &p->e);
	p->acc = arena_next(a, T * (size_t)p->c->hidden_size * sizeof(*p->acc));
	p->idx = arena_next(a, (size_t)p->layers * pairs * sizeof(*p->idx));
	p->r.x = p->e.x;
	p->r.w = arena_next(a, pairs * sizeof(*p->r.w));
	p->r.scores = arena_next(a, T * E * sizeof(*p->r.scores));
	p->r.choice = arena_next(a, T * E * sizeof(*p->r.choice));
}

/* Layer number `at` of the pass, from its normed rows on. */
static int
experts_put(struct pass *p, int at)
{
	struct block *b = p->b;
	const struct ops *ops = p->d->ops;
	int layer = p->layer + at, D = p->c->hidden_size;
	size_t n = (size_t)p->T * (size_t)D;

	p->r.idx = p->idx + (ptrdiff_t)at * p->T * p->c->num_experts_per_tok;
	if (ops->norm(p->d, p->e.x, D, p->h, D, p->T, D, b->expert.norms[layer], p->c->rms_norm_eps) < 0 ||
	    ops->clear(p->d, p->acc, n * sizeof(*p->acc)) < 0 ||
	    (config_is_moe(p->c, layer) && route_add(&b->route, layer, &p->r) < 0) ||
	    expert_add(&b->expert, &p->e, layer, at, p->acc, p->r.idx, p->r.w, NULL) < 0)
		return -1;
	return ops->finish(p->d, p->h, p->acc, n);
}

/* Attention of a layer whose rows have no places yet: often they take them all at once. */
static int
attention_take(struct pass *p, const struct frame *f, int layer)
{
	struct attention_taps none = {0};
	struct attn_cursor at = {0};
	struct gpu_rows r;
	float *h = p->h;

	while (at.span < f->nspans) {
		if (attn_reserve(&p->b->attn, layer, f, &at, &r) < 0 || attention_add(&p->b->attn.attention, layer, h, &r, &none) < 0)
			return -1;
		h += (ptrdiff_t)r.n * p->c->hidden_size;
	}
	return 0;
}

/* All of the batch's work, on the stream. */
static int
pass_put(struct pass *p, const struct frame *f)
{
	struct attention_taps none = {0};

	if (expert_begin(&p->b->expert, &p->e) < 0)
		return -1;
	for (int i = 0; i < p->layers; i++)
		if ((p->rows ? attention_add(&p->b->attn.attention, p->layer + i, p->h, &p->rows[i], &none) :
		    attention_take(p, f, p->layer + i)) < 0 || experts_put(p, i) < 0)
			return fail_in("layer %d", p->layer + i);
	return 0;
}

/* --- batches of a few rows --- */

/* Few rows, and none that goes back behind another: all take their places before anything is computed. */
static int
is_small(const struct frame *f)
{
	if (f->rows > BLOCK_GRAPH_ROWS || f->nspans > BLOCK_GRAPH_ROWS)
		return 0;
	for (int i = 0; i < f->nspans; i++)
		for (int k = 0; k < i; k++)
			if (f->spans[i].seq == f->spans[k].seq)
				return 0;
	return 1;
}

/* Contexts that grow reach the next power of two only now and then. */
static int
bound(int pages)
{
	int n = 1;

	while (n < pages)
		n *= 2;
	return n;
}

static int
places_take(struct pass *p, const struct frame *f)
{
	for (int i = 0; i < p->layers; i++) {
		struct attn_cursor at = {0};

		if (attn_reserve(&p->b->attn, p->layer + i, f, &at, &p->rows[i]) < 0)
			return fail_in("layer %d", p->layer + i);
		p->rows[i].most = bound(p->rows[i].most);
	}
	return 0;
}

/* The graph of the pass's shape, or what is to become one, in place of the one not used for longest. */
static struct block_graph *
graph_find(struct block *b, const struct pass *p)
{
	struct block_graph key = {.layer = p->layer, .layers = p->layers, .rows = p->T, .most = p->rows[0].most};
	struct block_graph *oldest = b->gpu.graphs;

	for (struct block_graph *g = b->gpu.graphs; g < b->gpu.graphs + BLOCK_GRAPHS; g++) {
		if (g->layer == key.layer && g->layers == key.layers && g->rows == key.rows && g->most == key.most)
			return g;
		if (g->used < oldest->used)
			oldest = g;
	}
	if (oldest->graph)
		p->d->lib->graph_free(oldest->graph);
	*oldest = key;
	return oldest;
}

static int
graph_record(struct pass *p, const struct frame *f, struct block_graph *g)
{
	const struct gpu_lib *lib = p->d->lib;
	int r;

	if (lib->record(p->d->gpu) < 0)
		return device_fail(p->d, "a graph");
	r = pass_put(p, f);
	if (lib->recorded(p->d->gpu, &g->graph) < 0 && r == 0)
		return device_fail(p->d, "a graph");
	p->b->gpu.recorded += r == 0;
	return r;
}

/* The first time work goes straight to the stream, so that all memory is there when it is recorded the second time. */
static int
small_put(struct pass *p, const struct frame *f)
{
	struct block_gpu *gpu = &p->b->gpu;
	struct block_graph *g;
	int known;

	if (gpu->moves != p->d->moves)
		graphs_drop(p->b);
	gpu->moves = p->d->moves;
	g = graph_find(p->b, p);
	known = g->used > 0;
	g->used = gpu->batches;
	if (!known)
		return pass_put(p, f);
	if (!g->graph && graph_record(p, f, g) < 0)
		return -1;
	gpu->replayed++;
	return p->d->lib->replay(p->d->gpu, g->graph) < 0 ? device_fail(p->d, "a graph") : 0;
}

/* --- the frame --- */

/* Wait for the pass, and name the contribution that was refused. */
static int
pass_end(const struct pass *p, const struct frame *f)
{
	size_t n = (size_t)p->T * (size_t)p->c->num_experts_per_tok;
	int32_t first, *idx;
	int shared, at = expert_refused(&p->b->expert, &p->e, &first, &shared), r = 0;

	if (at < 0)
		return at == -1 ? 0 : -1;
	if (!(idx = mem_raw(n, sizeof(*idx))))
		return -1;
	if (!shared)
		r = p->d->ops->fetch(p->d, idx, p->idx + (size_t)at * n, n * sizeof(*idx));
	if (r == 0)
		r = expert_refuse(&p->b->expert, f, p->layer + at, idx, NULL, first, shared);
	free(idx);
	return r < 0 ? fail_in("layer %d", p->layer + at) : 0;
}

int
block_gpu_layers(struct block *b, struct frame *f)
{
	const struct stage *s = b->s;
	struct pass p = {.b = b, .d = s->gpu, .c = &s->model->config, .layer = f->layer, .T = (int)f->rows};
	struct gpu_rows rows[LAYERS_MAX];
	struct arena a = {0};
	int small = is_small(f);

	while (p.layer + p.layers < p.c->num_layers && s->layers.has[p.layer + p.layers])
		p.layers++;
	p.rows = small ? rows : NULL;
	pass_layout(&p, &a);
	if (!(p.h = stage_hidden(s, f)) || !(a.base = p.d->ops->reserve(p.d, &b->rows, a.used)))
		return fail_in("layer %d", p.layer);
	a.used = 0;
	pass_layout(&p, &a);
	b->gpu.batches++;
	if ((small ? places_take(&p, f) < 0 || small_put(&p, f) < 0 : pass_put(&p, f) < 0) || pass_end(&p, f) < 0)
		return -1;
	device_wrote(f, "h");
	f->layer = p.layer + p.layers - 1;
	partial_leave(p.c, f);
	return 0;
}
