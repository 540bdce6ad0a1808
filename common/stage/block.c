#include "stage/block.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "stage/partial.h"
#include "stage/trace.h"

int
block_open(struct block *b, const struct stage *s)
{
	memset(b, 0, sizeof(*b));
	b->s = s;
	if (attn_open(&b->attn, s) < 0 || route_open(&b->route, s) < 0)
		return -1;
	return expert_open(&b->expert, s, NULL);
}

static void
graphs_free(struct block *b)
{
	struct device *d = b->s->device;

	for (int i = 0; i < BLOCK_GRAPHS; i++) {
		if (b->graphs[i].graph)
			d->ops->graph_free(d, b->graphs[i].graph);
		b->graphs[i] = (struct block_graph){0};
	}
}

void
block_close(struct block *b)
{
	graphs_free(b);
	b->s->device->ops->release(b->s->device, &b->rows);
	if (b->attn.s)
		attn_close(&b->attn);
	if (b->route.s)
		route_close(&b->route);
	if (b->expert.s)
		expert_close(&b->expert);
}

/* --- layers, one after another --- */

struct pass {           /* a batch on its way through consecutive layers */
	struct block *b;
	struct device *d;
	const struct config *c;
	int layer, layers, T;           /* the first, how many */
	float *h;                       /* [T][D] */
	struct expert_rows e;
	struct route_rows r;            /* of the layer that is computed; its idx is part of: */
	int32_t *idx;                   /* [layers][T][K] */
	int64_t *acc;                   /* [T][D] */
	/* [layers] whose slots are reserved; NULL: each layer reserves its own */
	struct kv_rows *rows;
};

static void
pass_layout(struct pass *p, struct arena *a)
{
	size_t T = (size_t)p->T, pairs = T * (size_t)p->c->num_experts_per_tok,
	    E = (size_t)p->c->n_routed_experts;

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
experts_add(struct pass *p, int at)
{
	struct block *b = p->b;
	const struct ops *ops = p->d->ops;
	int layer = p->layer + at, D = p->c->hidden_size;
	size_t n = (size_t)p->T * (size_t)D;

	p->r.idx = p->idx + (ptrdiff_t)at * p->T * p->c->num_experts_per_tok;
	if (ops->norm(p->d, p->e.x, D, p->h, D, p->T, D, b->expert.norms[layer],
	    p->c->rms_norm_eps) < 0 || ops->clear(p->d, p->acc, n * sizeof(*p->acc)) < 0 ||
	    (config_is_moe(p->c, layer) && route_add(&b->route, layer, &p->r) < 0) ||
	    expert_add(&b->expert, &p->e, layer, at, p->acc, p->r.idx, p->r.w, NULL) < 0)
		return -1;
	return ops->finish(p->d, p->h, p->acc, n);
}

/* Attention of a layer whose rows have no slots in its cache yet: most frames get them all at
 * once. */
static int
attention_whole(struct pass *p, const struct frame *f, int layer)
{
	struct attention_taps none = {0};
	struct attn_cursor at = {0};
	struct kv_rows r;
	float *h = p->h;

	while (at.span < f->nspans) {
		if (attn_reserve(&p->b->attn, layer, f, &at, &r) < 0 ||
		    attention_add(&p->b->attn.attention, layer, h, &r, &none) < 0)
			return -1;
		h += (ptrdiff_t)r.n * p->c->hidden_size;
	}
	return 0;
}

/* All layers, queued where the device queues. */
static int
pass_add(struct pass *p, const struct frame *f)
{
	struct attention_taps none = {0};

	if (expert_begin(&p->b->expert, &p->e) < 0)
		return -1;
	for (int i = 0; i < p->layers; i++)
		if ((p->rows ? attention_add(&p->b->attn.attention, p->layer + i, p->h, &p->rows[i],
		    &none) : attention_whole(p, f, p->layer + i)) < 0 || experts_add(p, i) < 0)
			return fail_in("layer %d", p->layer + i);
	return 0;
}

/* --- batches of a few rows --- */

/* Few rows, and no sequence twice: all get their slots before anything is computed. */
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

/* Pages that a graph is recorded for: contexts that grow seldom reach the next power of two. */
static int
bound(int pages)
{
	int n = 1;

	while (n < pages)
		n *= 2;
	return n;
}

static int
slots_reserve(struct pass *p, const struct frame *f)
{
	for (int i = 0; i < p->layers; i++) {
		struct attn_cursor at = {0};

		if (attn_reserve(&p->b->attn, p->layer + i, f, &at, &p->rows[i]) < 0)
			return fail_in("layer %d", p->layer + i);
		p->rows[i].most = bound(p->rows[i].most);
	}
	return 0;
}

/* The graph of the pass's shape, or an empty one in place of the one not used for longest. */
static struct block_graph *
graph_find(struct block *b, const struct pass *p)
{
	struct block_graph key = {.layer = p->layer, .layers = p->layers, .rows = p->T,
	    .most = p->rows[0].most};
	struct block_graph *oldest = b->graphs;

	for (struct block_graph *g = b->graphs; g < b->graphs + BLOCK_GRAPHS; g++) {
		if (g->layer == key.layer && g->layers == key.layers && g->rows == key.rows &&
		    g->most == key.most)
			return g;
		if (g->used < oldest->used)
			oldest = g;
	}
	if (oldest->graph)
		p->d->ops->graph_free(p->d, oldest->graph);
	*oldest = key;
	return oldest;
}

static int
graph_record(struct pass *p, const struct frame *f, struct block_graph *g)
{
	const struct ops *ops = p->d->ops;
	int r;

	if (ops->record(p->d) < 0)
		return -1;
	r = pass_add(p, f);
	if (r == 0)
		r = ops->recorded(p->d, &g->graph);
	else
		(void)ops->recorded(p->d, &g->graph);
	p->b->recorded += r == 0;
	return r;
}

/* The first batch of a shape runs directly, so that all memory is there when the second is
 * recorded. */
static int
small_add(struct pass *p, const struct frame *f)
{
	struct block *b = p->b;
	struct block_graph *g;
	int known;

	if (!p->d->ops->record)
		return pass_add(p, f);
	if (b->moves != p->d->moves)
		graphs_free(b);
	b->moves = p->d->moves;
	g = graph_find(b, p);
	known = g->used > 0;
	g->used = b->batches;
	if (!known)
		return pass_add(p, f);
	if (!g->graph && graph_record(p, f, g) < 0)
		return -1;
	b->replayed++;
	return p->d->ops->replay(p->d, g->graph);
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

static int
layers_run(struct block *b, struct frame *f)
{
	const struct stage *s = b->s;
	struct pass p = {.b = b, .d = s->device, .c = &s->model->config, .layer = f->layer,
	    .T = (int)f->rows};
	struct kv_rows rows[LAYERS_MAX];
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
	b->batches++;
	if ((small ? slots_reserve(&p, f) < 0 || small_add(&p, f) < 0 : pass_add(&p, f) < 0) ||
	    pass_end(&p, f) < 0)
		return -1;
	p.d->ops->wrote(f, "h");
	f->layer = p.layer + p.layers - 1;
	partial_leave(p.c, f);
	return 0;
}

/* Whether nothing reads what is between the layers of f, which waits for attention.  A
 * frame with `learn` passes the stages one by one: each keeps what its backward pass needs. */
static int
is_whole(const struct block *b, struct frame *f)
{
	return f->rows > 0 && !(b->s->taps & TAPS_BLOCK) && trace_begin(f).start == 0 &&
	    !f->experts_done && !frame_tensor(f, "expert.acc") && !frame_other(f, "learn");
}

/* 1 if f has come back to a layer of the block, 0, or -1 and a message. */
static int
comes_back(const struct block *b, const struct frame *f)
{
	return f->at == AT_EXPERT_BACK || f->at == AT_ROUTE_BACK || f->at == AT_ATTN_BACK ?
	    stage_learns(b->s, f, f->at) : 0;
}

/* One layer, or the steps of it that f waits for. */
static int
layer_frame(struct frame *f, size_t bytes, stage_fn *const fn[3], void *const state[3])
{
	struct trace t = trace_begin(f);

	t.bytes = bytes;        /* all that came counts for the first layer */
	for (int i = 0; i < 3; i++)
		if (fn[i](state[i], f, NULL, 0) < 0)
			return -1;
	return trace_end(&t, f);
}

int
block_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	static stage_fn *const forward[] = {attn_frame, route_frame, expert_frame},
	    *const backward[] = {expert_frame, route_frame, attn_frame};
	struct block *b = arg;
	void *const states[] = {&b->attn, &b->route, &b->expert},
	    *const reversed[] = {&b->expert, &b->route, &b->attn};
	int acts = stage_multiplies(b->s, f, AT_ATTN);
	int back = acts < 0 ? -1 : comes_back(b, f);
	size_t bytes = f->nraw;

	if (acts == 0 && back == 0)
		return attn_frame(&b->attn, f, out, nout);
	for (; acts > 0; acts = stage_multiplies(b->s, f, AT_ATTN), bytes = 0)
		if ((is_whole(b, f) ? layers_run(b, f) :
		    layer_frame(f, bytes, forward, states)) < 0)
			return -1;
	for (; back > 0; back = comes_back(b, f), bytes = 0)
		if (layer_frame(f, bytes, backward, reversed) < 0)
			return -1;
	return acts < 0 || back < 0 ? -1 : 1;
}
