#include "stage/expert_back.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "learn/back.h"
#include "stage/frame_rows.h"
#include "stage/keep.h"
#include "stage/partial.h"

const char *const expert_kept[] = {"h", "expert.idx", "expert.w", NULL};

struct mlp_params {
	struct param *gate, *up, *down;
};

/* What is kept besides, of routed and of shared experts. */
static const char *const kept_gate[] = {"expert.gate", "shared.gate"},
    *const kept_up[] = {"expert.up", "shared.up"};

struct expert_learn {
	struct mlp_params *params;      /* [num_layers][E + 1], as expert.mlps */
	struct learn_pages pages, sub;  /* of a frame; of an expert's rows */
	struct scratch rows, work;      /* of a frame; of an expert */
};

/* --- weights --- */

static struct mlp_params *
layer_params(const struct expert *x, int layer)
{
	return x->learn->params + (ptrdiff_t)layer * (x->s->model->config.n_routed_experts + 1);
}

static int
mlp_learn(const struct expert *x, struct mlp_params *p, enum role gate, int layer, int expert)
{
	struct param **all[] = {&p->gate, &p->up, &p->down};

	for (int i = 0; i < 3; i++)
		if (!(*all[i] = learn_matrix(x->s->learn, gate + (enum role)i, layer, expert)))
			return -1;
	return 0;
}

static int
layer_learn(struct expert *x, int layer)
{
	const struct config *c = &x->s->model->config;
	struct mlp_params *p = layer_params(x, layer);
	int E = c->n_routed_experts, moe = config_is_moe(c, layer);

	if (!learn_reader(x->s->learn, ROLE_MLP_NORM, layer, x->norms[layer]))
		return -1;
	for (int e = 0; moe && e < E; e++)
		if (x->set.has[e] && mlp_learn(x, &p[e], ROLE_EXPERT_GATE, layer, e) < 0)
			return -1;
	return expert_has_shared(x, layer) ? mlp_learn(x, &p[E], moe ? ROLE_SHARED_GATE :
	    ROLE_DENSE_GATE, layer, -1) : 0;
}

int
expert_learn(struct expert *x)
{
	const struct config *c = &x->s->model->config;

	if (!(x->learn = mem_new(1, sizeof(*x->learn))) ||
	    !(x->learn->params = mem_new((size_t)c->num_layers * ((size_t)c->n_routed_experts + 1),
	    sizeof(*x->learn->params))))
		return -1;
	for (int i = 0; i < c->num_layers; i++)
		if (x->s->layers.has[i] && layer_learn(x, i) < 0)
			return -1;
	return 0;
}

void
expert_forget(struct expert *x)
{
	struct expert_learn *l = x->learn;

	if (!l)
		return;
	learn_pages_free(&l->pages);
	learn_pages_free(&l->sub);
	scratch_free(&l->rows);
	scratch_free(&l->work);
	free(l->params);
	free(l);
}

/* --- an expert --- */

/* A frame on its way back through a layer. */
struct back {
	struct expert *x;
	struct learn *l;
	struct frame *f;
	int T, D, K;
	const float *in, *dy;           /* [T][D]: the normed rows; the gradient of the output */
	float *gate[2], *up[2];         /* as in struct expert_rows */
	int64_t *acc, *wacc;            /* [T][D]; [T][K] */
};

/* Rows of an expert, the shared experts or a dense MLP. */
struct group {
	const struct back *b;
	const struct mlp *mlp;
	const struct mlp_params *p;
	const char *who;
	int n, width;
	const int32_t *row, *slot;      /* [n]; NULL: all rows, with weight 1 */
	const float *w;
	const float *x, *dy;            /* [n][D]; dy: with the weight, from inner_part on */
	float *rows, *grads;            /* [n][D] the same where they are gathered */
	float *gate, *up;               /* [n][width]; not NULL from the start: kept */
	float *da, *a;                  /* [n][width]; da: the gradient of a with weight 1 */
	float *dx;                      /* [n][D] */
	atomic_int bad;                 /* the first of the n rows that is refused; n: none */
};

static void
refuse(struct group *g, int i)
{
	int seen = atomic_load(&g->bad);

	while (i < seen && !atomic_compare_exchange_weak(&g->bad, &seen, i))
		;
}

static int
group_layout(struct group *g)
{
	size_t D = (size_t)g->b->D, n = (size_t)g->n, width = (size_t)g->width;
	int kept = g->gate && g->up;
	float *p = scratch_reserve(&g->b->x->learn->work, n * (3 * D + (kept ? 2 : 4) * width),
	    sizeof(*p));

	if (!p)
		return -1;
	g->rows = p;
	g->grads = g->rows + n * D;
	g->x = g->row ? g->rows : g->b->in;
	g->dy = g->row ? g->grads : g->b->dy;
	g->dx = g->grads + n * D;
	g->da = g->dx + n * D;
	g->a = g->da + n * width;
	if (!kept) {
		g->gate = g->a + n * width;
		g->up = g->gate + n * width;
	}
	return 0;
}

static void
gather_part(void *arg, size_t from, size_t to, int thread)
{
	const struct group *g = arg;
	size_t D = (size_t)g->b->D;

	(void)thread;
	for (size_t i = from; i < to; i++) {
		size_t t = (size_t)g->row[i];

		memcpy(g->rows + i * D, g->b->in + t * D, D * sizeof(*g->rows));
		memcpy(g->grads + i * D, g->b->dy + t * D, D * sizeof(*g->grads));
	}
}

/* From da to the gradients of gate and up, a, and that of the weights; dy gets its weight. */
static void
inner_part(void *arg, size_t from, size_t to, int thread)
{
	struct group *g = arg;
	const struct kernels *k = g->b->l->k;
	ptrdiff_t n = g->width, D = g->b->D;

	(void)thread;
	for (ptrdiff_t i = (ptrdiff_t)from; i < (ptrdiff_t)to; i++) {
		float *a = g->a + i * n, dw;
		struct mat row = {.data = a, .rows = 1, .cols = (int)n, .dtype = F32};

		memcpy(a, g->da + i * n, (size_t)n * sizeof(*a));
		if (g->w)
			k->scale(a, g->w[i], (int)n);
		k->silu_back(g->gate + i * n, g->up + i * n, a, (int)n);
		if (!g->w)
			continue;
		k->scale(g->grads + i * D, g->w[i], (int)D);
		k->matmul(&dw, 1, g->da + i * n, n, 1, &row, 0, 1);
		if (k->fixed_add(g->b->wacc + g->slot[i], &dw, 1, 1) < 0)
			refuse(g, (int)i);
	}
}

static void
add_part(void *arg, size_t from, size_t to, int thread)
{
	struct group *g = arg;
	ptrdiff_t D = g->b->D;

	(void)thread;
	for (ptrdiff_t i = (ptrdiff_t)from; i < (ptrdiff_t)to; i++)
		if (g->b->l->k->fixed_add(g->b->acc + (g->row ? g->row[i] : i) * D, g->dx + i * D,
		    1, (int)D) < 0)
			refuse(g, (int)i);
}

static int
group_check(const struct group *g)
{
	int i = atomic_load(&g->bad);
	struct span at;

	if (i == g->n)
		return 0;
	at = row_at(g->b->f, (uint32_t)(g->row ? g->row[i] : i));
	return fail(FAIL_DATA, "%s: gradient is not finite or is 2^18 or more (sequence %" PRIu64
	    " position %" PRIu32 ")", g->who, at.seq, at.pos);
}

/* Before the backward pass of gate and up: their products, if they are not kept, and da. */
static int
inner_open(const struct group *g, int kept)
{
	struct device *d = g->b->x->s->device;
	const struct mlp *m = g->mlp;
	int n = g->n, D = g->b->D, width = g->width;

	if (!kept && (d->ops->product(d, g->gate, width, g->x, D, n, &m->gate, PRECISION_F32) < 0 ||
	    d->ops->product(d, g->up, width, g->x, D, n, &m->up, PRECISION_F32) < 0))
		return -1;
	return back_input(g->b->l, g->da, width, g->dy, D, n, &m->down, 0);
}

/* The gradients of the weights, and what the rows get of theirs. */
static int
group_back(struct group *g)
{
	const struct back *b = g->b;
	struct expert_learn *e = b->x->learn;
	const struct mlp *m = g->mlp;
	const struct learn_pages *pages = g->row ? &e->sub : &e->pages;
	int n = g->n, D = b->D, width = g->width = m->gate.rows, kept = g->gate && g->up;

	atomic_store(&g->bad, n);
	if (group_layout(g) < 0 ||
	    (g->row && learn_pages_select(&e->sub, &e->pages, g->row, n) < 0))
		return -1;
	if (g->row)
		pool_run(b->l->pool, (size_t)n, 1, D, gather_part, g);
	if (inner_open(g, kept) < 0)
		return -1;
	pool_run(b->l->pool, (size_t)n, 1, 16.0 * width, inner_part, g);
	if (back_weight(b->l, g->p->down, 0, g->dy, D, D, g->a, width, pages) < 0 ||
	    back_weight(b->l, g->p->gate, 0, g->gate, width, width, g->x, D, pages) < 0 ||
	    back_weight(b->l, g->p->up, 0, g->up, width, width, g->x, D, pages) < 0 ||
	    back_input(b->l, g->dx, D, g->gate, width, n, &m->gate, 0) < 0 ||
	    back_input(b->l, g->dx, D, g->up, width, n, &m->up, 1) < 0)
		return -1;
	pool_run(b->l->pool, (size_t)n, 1, 2.0 * D, add_part, g);
	return group_check(g);
}

/* --- a layer --- */

/* The routed experts of the set: idx and w [T][K]. */
static int
routed_back(const struct back *b, const struct expert_pairs *c, const struct expert_set *mine,
    const int32_t *idx, const float *w)
{
	struct device *d = b->x->s->device;
	int layer = b->f->layer, E = c->E;
	char who[32];

	if (d->ops->sort(d, c, idx, w, b->T, b->K, mine->has) < 0)
		return -1;
	for (int e = 0; e < E; e++) {
		int at = c->start[e], n = c->start[e + 1] - at;
		struct group g = {.b = b, .mlp = &expert_mlps(b->x, layer)[e],
		    .p = &layer_params(b->x, layer)[e], .who = who, .n = n, .row = c->row + at,
		    .slot = c->slot + at, .w = c->w + at};

		if (b->gate[0] && b->up[0]) {
			g.gate = b->gate[0] + (ptrdiff_t)at * g.mlp->gate.rows;
			g.up = b->up[0] + (ptrdiff_t)at * g.mlp->gate.rows;
		}
		snprintf(who, sizeof(who), "expert %d", e);
		if (n > 0 && group_back(&g) < 0)
			return -1;
	}
	return 0;
}

static int
shared_back(const struct back *b)
{
	const struct config *c = &b->x->s->model->config;
	int layer = b->f->layer, E = c->n_routed_experts;
	struct group g = {.b = b, .mlp = &expert_mlps(b->x, layer)[E],
	    .p = &layer_params(b->x, layer)[E], .n = b->T, .gate = b->gate[1], .up = b->up[1],
	    .who = config_is_moe(c, layer) ? "shared experts" : "MLP"};

	return group_back(&g);
}

/* The normed rows of what was kept, and room for the pairs of rows and experts. */
static int
back_layout(struct back *b, struct frame *kept, struct expert_pairs *c)
{
	const struct config *config = &b->x->s->model->config;
	struct device *d = b->x->s->device;
	const float *norm = b->x->norms[b->f->layer];
	size_t T = (size_t)b->T, pairs = T * (size_t)b->K, E = (size_t)config->n_routed_experts;
	const struct tensor *h = frame_require(kept, "h", F32, T, (uint64_t)b->D);
	struct arena a = {0};
	float *x = NULL;

	for (int i = 0; h && i < 2; i++) {
		a.used = 0;
		x = arena_next(&a, T * (size_t)b->D * sizeof(*x));
		*c = (struct expert_pairs){.E = (int)E, .pairs = (int)pairs,
		    .start = arena_next(&a, (E + 1) * sizeof(*c->start)),
		    .row = arena_next(&a, pairs * sizeof(*c->row)),
		    .slot = arena_next(&a, pairs * sizeof(*c->slot)),
		    .w = arena_next(&a, pairs * sizeof(*c->w))};
		if (i == 0 && !(a.base = scratch_reserve(&b->x->learn->rows, a.used, 1)))
			return -1;
	}
	if (!h || d->ops->norm(d, x, b->D, h->data, b->D, b->T, b->D, norm, config->rms_norm_eps) <
	    0)
		return -1;
	b->in = x;
	return 0;
}

/* Width and pairs of the routed (0) or shared experts (1) of mine; no pairs: there are none. */
static size_t
inner_pairs(const struct expert *x, int layer, const struct expert_set *mine, int T, int which,
    int *width)
{
	const struct config *c = &x->s->model->config;
	int E = c->n_routed_experts, moe = config_is_moe(c, layer);
	const unsigned char *first = moe ? memchr(mine->has, 1, (size_t)E) : NULL;

	if (which ? !mine->shared || !expert_has_shared(x, layer) : !first)
		return 0;
	*width = expert_mlps(x, layer)[which ? E : (int)(first - mine->has)].gate.rows;
	return (size_t)T * (which ? 1 : (size_t)c->num_experts_per_tok);
}

int
expert_keep(struct expert *x, const struct frame *f, const struct expert_set *mine,
    struct expert_rows *r)
{
	for (int i = 0; i < 2; i++) {
		int width = 0;
		size_t n = inner_pairs(x, f->layer, mine, r->T, i, &width);

		r->gate[i] = r->up[i] = NULL;
		if (n > 0 && (keep_more(x->s->keep, f, kept_gate[i], n, (uint64_t)width,
		    &r->gate[i]) < 0 || (r->gate[i] && keep_more(x->s->keep, f, kept_up[i], n,
		    (uint64_t)width, &r->up[i]) < 0)))
			return -1;
		if (!r->up[i])
			r->gate[i] = NULL;
	}
	return 0;
}

/* The products that expert_keep kept. */
static void
kept_open(struct back *b, struct frame *kept)
{
	for (int i = 0; i < 2; i++) {
		const struct tensor *gate = frame_tensor(kept, kept_gate[i]),
		    *up = frame_tensor(kept, kept_up[i]);

		b->gate[i] = gate && up ? gate->data : NULL;
		b->up[i] = gate && up ? up->data : NULL;
	}
}

/* What the process's experts add to the sums of f. */
static int
contribute(struct back *b, struct frame *kept, const struct partial *p,
    const struct expert_set *mine)
{
	const struct config *c = &b->x->s->model->config;
	struct expert_pairs pairs;
	struct tensor *dy = frame_require(b->f, "h.grad", F32, b->f->rows, (uint64_t)b->D);

	if (!dy || learn_pages_open(&b->x->learn->pages, b->f) < 0)
		return -1;
	if (b->T == 0)
		return 0;
	b->dy = dy->data;
	kept_open(b, kept);
	if (back_layout(b, kept, &pairs) < 0 || (config_is_moe(c, b->f->layer) &&
	    routed_back(b, &pairs, mine, p->idx, p->w) < 0))
		return -1;
	return mine->shared && expert_has_shared(b->x, b->f->layer) ? shared_back(b) : 0;
}

/* The sum of the weights' gradients, made if there is none yet. */
static int64_t *
weights_begin(const struct back *b, int begun)
{
	uint64_t shape[] = {b->f->rows, (uint64_t)b->K};
	struct tensor *t = begun ? frame_require(b->f, "expert.wacc", I64, shape[0], shape[1]) :
	    frame_add(b->f, "expert.wacc", I64, 2, shape);

	if (t && !begun)
		memset(t->data, 0, t->bytes);
	return t ? t->data : NULL;
}

int
expert_back(struct expert *x, struct frame *f)
{
	const struct stage *s = x->s;
	const struct config *c = &s->model->config;
	struct back b = {.x = x, .l = s->learn, .f = f, .T = (int)f->rows, .D = c->hidden_size,
	    .K = c->num_experts_per_tok};
	struct expert_set mine;
	struct partial p;
	struct frame kept;
	int r;

	frame_init(&kept);
	r = keep_take(s->keep, f, AT_EXPERT, &kept);
	if (r == 0 && (partial_read_back(&p, s, f, &kept) < 0 || expert_mine(x, &p, &mine) < 0 ||
	    (config_is_moe(c, f->layer) && !(b.wacc = weights_begin(&b, p.begun))) ||
	    partial_begin(&p, s, f) < 0))
		r = -1;
	b.acc = r == 0 ? p.acc : NULL;
	if (r == 0 && (contribute(&b, &kept, &p, &mine) < 0 || partial_write_back(&p, s, f) < 0))
		r = -1;
	frame_free(&kept);
	return r;
}
