/*
 * The backward pass of grouped-query attention.
 */
#include <string.h>

#include "attention/attend_back.h"
#include "attention/backward.h"
#include "attention/gqa_internal.h"
#include "base/mem.h"

struct gqa_params {     /* as in struct gqa; NULL: the model lacks it */
	struct param *norm, *q, *k, *v, *q_bias, *k_bias, *v_bias, *q_norm, *k_norm, *o, *o_bias;
};

int
gqa_learn(void *weights, struct learn *l, int layer)
{
	struct gqa *m = weights;
	struct gqa_params *p = m->params = mem_new(1, sizeof(*p));

	if (!p)
		return -1;

	const struct {
		struct param **p;
		enum role role;
		float *vector;
	} vectors[] = {
		{&p->norm, ROLE_ATTN_NORM, m->norm}, {&p->q_bias, ROLE_Q_BIAS, m->q_bias},
		{&p->k_bias, ROLE_K_BIAS, m->k_bias}, {&p->v_bias, ROLE_V_BIAS, m->v_bias},
		{&p->q_norm, ROLE_Q_NORM, m->q_norm}, {&p->k_norm, ROLE_K_NORM, m->k_norm},
		{&p->o_bias, ROLE_O_BIAS, m->o_bias},
	};

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		if (vectors[i].vector && !(*vectors[i].p = learn_vector(l, vectors[i].role, layer,
		    vectors[i].vector)))
			return -1;
	return (p->q = learn_matrix(l, ROLE_Q, layer, -1)) &&
	    (p->k = learn_matrix(l, ROLE_K, layer, -1)) &&
	    (p->v = learn_matrix(l, ROLE_V, layer, -1)) &&
	    (p->o = learn_matrix(l, ROLE_O, layer, -1)) ? 0 : -1;
}

/* The forward pass of the rows again, and gradients; all [T][...]. */
struct gqa_grads {
	struct gqa_block f;
	float *q, *k;           /* [H][d], [G][d] before the norms of heads, then their gradients */
	float *dvalues;         /* [H][d] */
	float *dq, *dk, *dv;    /* [H][d], [G][d], [G][d] */
	float *dx;              /* [D] */
};

static void
layout(const struct config *c, struct arena *arena, size_t n, struct gqa_grads *g)
{
	size_t q = (size_t)c->num_heads * (size_t)c->head_dim,
	    kv = (size_t)c->num_kv_heads * (size_t)c->head_dim;

	gqa_layout(c, arena, n, &g->f.r);
	n *= sizeof(float);
	g->q = arena_next(arena, c->qk_norm ? n * q : 0);
	g->k = arena_next(arena, c->qk_norm ? n * kv : 0);
	g->dvalues = arena_next(arena, n * q);
	g->dq = arena_next(arena, n * q);
	g->dk = arena_next(arena, n * kv);
	g->dv = arena_next(arena, n * kv);
	g->dx = arena_next(arena, n * (size_t)c->hidden_size);
}

/* A copy [T][n] of x with the bias, as a norm of heads sees it. */
static int
before_norm(const struct backward *b, float *to, const float *x, const float *bias, int n)
{
	struct device *d = b->a->device;

	memcpy(to, x, (size_t)b->rows.n * (size_t)n * sizeof(*to));
	return bias ? d->ops->bias(d, to, bias, b->rows.n, n) : 0;
}

/* Queries, keys and values of all rows. */
static int
forward(const struct backward *b, struct gqa_grads *g)
{
	const struct gqa *m = g->f.m;

	if (gqa_inputs(&g->f, b->h) < 0)
		return -1;
	if (m->q_norm && (before_norm(b, g->q, g->f.r.q, m->q_bias, m->q.rows) < 0 ||
	    before_norm(b, g->k, g->f.r.k, m->k_bias, m->k.rows) < 0))
		return -1;
	return gqa_append(&g->f, b->cosine, b->sine);
}

static int
bias_back(const struct backward *b, struct param *bias, const float *dy, int n)
{
	return bias ? back_bias(b->l, bias, dy, n, n, b->pages) : 0;
}

/* From dh to queries, keys and values as attention read them. */
static int
attention_of_rows(const struct backward *b, struct gqa_grads *g)
{
	const struct config *c = g->f.c;
	const struct gqa *m = g->f.m;
	const struct gqa_params *p = m->params;
	const struct attend_back attend = {.rows = &g->f.rows, .pages = b->pages,
	    .kv = gqa_kv_shape(c), .H = c->num_heads, .scale = b->a->scale, .query = g->f.r.q,
	    .dout = g->dvalues, .out = g->f.r.values, .dquery = g->dq, .dk = g->dk, .dv = g->dv};
	int D = c->hidden_size, q = m->q.rows;

	return back_input(b->l, g->dvalues, q, b->dh, D, b->rows.n, &m->o, 0) < 0 ||
	    attend_back(b->a->device, &b->a->back_sums, &attend) < 0 ||
	    back_weight(b->l, p->o, 0, b->dh, D, D, g->f.r.values, q, b->pages) < 0 ?
	    -1 : bias_back(b, p->o_bias, b->dh, D);
}

/* A product with a bias, a norm and a rotation of its `heads` heads: from the gradient dy [T][heads
 * d] of its result to what dx gets. y: before the norm, and then its gradient. */
struct heads {
	float *dy, *y;
	int heads, rotated;
	struct param *norm, *bias, *weight;
	const float *scale;     /* of the norm */
	const struct mat *w;
};

static int
norm_back(const struct backward *b, const struct heads *x, int d)
{
	struct learn_pages pages = {0};
	int status = learn_pages_repeat(&pages, b->pages, x->heads) < 0 ? -1 :
	    back_norm(b->l, x->norm, x->y, d, x->y, d, x->dy, d, d, x->scale,
	    b->a->model->config.rms_norm_eps, &pages, 0);

	learn_pages_free(&pages);
	return status;
}

static int
heads_back(const struct backward *b, struct gqa_grads *g, const struct heads *x, int add)
{
	int d = g->f.c->head_dim, D = g->f.c->hidden_size, n = x->w->rows;
	const float *dy = x->norm ? x->y : x->dy;

	if (x->rotated)
		backward_turn(b, x->dy, n, x->heads, d);
	if (x->norm && norm_back(b, x, d) < 0)
		return -1;
	return bias_back(b, x->bias, dy, n) < 0 ||
	    back_weight(b->l, x->weight, 0, dy, n, n, g->f.r.x, D, b->pages) < 0 ?
	    -1 : back_input(b->l, g->dx, D, dy, n, b->rows.n, x->w, add);
}

static int
inputs_back(const struct backward *b, struct gqa_grads *g)
{
	const struct gqa *m = g->f.m;
	const struct gqa_params *p = m->params;
	int H = g->f.c->num_heads, G = g->f.c->num_kv_heads;
	const struct heads all[] = {
		{g->dq, g->q, H, 1, p->q_norm, p->q_bias, p->q, m->q_norm, &m->q},
		{g->dk, g->k, G, 1, p->k_norm, p->k_bias, p->k, m->k_norm, &m->k},
		{g->dv, NULL, G, 0, NULL, p->v_bias, p->v, NULL, &m->v},
	};

	for (int i = 0; i < 3; i++)
		if (heads_back(b, g, &all[i], i > 0) < 0)
			return -1;
	return 0;
}

int
gqa_back(const struct backward *b, void *weights)
{
	const struct attention_taps none = {0};
	const struct gqa *m = weights;
	const struct config *c = &b->a->model->config;
	struct gqa_grads g = {.f = {.a = b->a, .m = m, .c = c, .rows = b->rows, .taps = &none}};
	struct arena arena = {0};
	size_t T = (size_t)b->rows.n;
	int D = c->hidden_size;

	g.f.rows.window = m->window;
	layout(c, &arena, T, &g);
	if (!(arena.base = scratch_reserve(&b->a->back_rows, arena.used, 1)))
		return -1;
	arena.used = 0;
	layout(c, &arena, T, &g);
	return forward(b, &g) < 0 || attention_of_rows(b, &g) < 0 || inputs_back(b, &g) < 0 ? -1 :
	    back_norm(b->l, m->params->norm, b->dh, D, b->h, D, g.dx, D, D, m->norm,
	    c->rms_norm_eps, b->pages, 1);
}
