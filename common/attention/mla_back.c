/*
 * The backward pass of multi-head latent attention, in the latent space like the forward pass: a
 * query in that space is q_nope Wk, and a head's values are latent Wv, with Wk and Wv the head's
 * rows of kv_b.
 */
#include <string.h>

#include "attention/attend_back.h"
#include "attention/backward.h"
#include "attention/mla_internal.h"
#include "base/mem.h"

struct mla_params {
	/* as in struct mla */
	struct param *norm, *q, *q_a, *q_norm, *kv_a, *kv_norm, *kv_b, *o;
};

int
mla_learn(void *weights, struct learn *l, int layer)
{
	struct mla *m = weights;
	struct mla_params *p = m->params = mem_new(1, sizeof(*p));

	if (!p || !(p->norm = learn_vector(l, ROLE_ATTN_NORM, layer, m->norm)) ||
	    !(p->q = learn_matrix(l, ROLE_Q, layer, -1)) ||
	    !(p->kv_a = learn_matrix(l, ROLE_KV_A, layer, -1)) ||
	    !(p->kv_norm = learn_vector(l, ROLE_KV_A_NORM, layer, m->kv_norm)) ||
	    !(p->kv_b = learn_matrix(l, ROLE_KV_B, layer, -1)) ||
	    !(p->o = learn_matrix(l, ROLE_O, layer, -1)))
		return -1;
	return m->q_norm && (!(p->q_a = learn_matrix(l, ROLE_Q_A, layer, -1)) ||
	    !(p->q_norm = learn_vector(l, ROLE_Q_A_NORM, layer, m->q_norm))) ? -1 : 0;
}

/* The forward pass of the rows again, and gradients; all [T][...]. */
struct mla_grads {
	struct mla_block f;
	float *kv;              /* [R + rope] as it comes out of kv_a */
	float *dv;              /* [H][v] */
	float *dlatent;         /* [H][R] */
	float *dquery;          /* [H][R + rope] */
	float *dq;              /* [H][nope + rope] */
	float *dqa;             /* [q_lora] */
	float *dkv;             /* [R + rope] */
	float *dx;              /* [D] */
};

static void
layout(const struct config *c, struct arena *arena, size_t n, struct mla_grads *g)
{
	size_t H = (size_t)c->num_heads, key = (size_t)(c->kv_lora_rank + c->qk_rope_head_dim),
	    lora = (size_t)c->q_lora_rank;

	mla_layout(c, arena, n, &g->f.r);
	n *= sizeof(float);
	g->f.r.qn = arena_next(arena, n * lora);
	g->kv = arena_next(arena, n * key);
	g->dv = arena_next(arena, n * H * (size_t)c->v_head_dim);
	g->dlatent = arena_next(arena, n * H * (size_t)c->kv_lora_rank);
	g->dquery = arena_next(arena, n * H * key);
	g->dq = arena_next(arena, n * H * (size_t)(c->qk_nope_head_dim + c->qk_rope_head_dim));
	g->dqa = arena_next(arena, n * lora);
	g->dkv = arena_next(arena, n * key);
	g->dx = arena_next(arena, n * (size_t)c->hidden_size);
}

/* Queries, keys and latents of all rows. */
static int
forward(const struct backward *b, struct mla_grads *g)
{
	size_t key = (size_t)g->f.m->kv_a.rows;

	if (mla_inputs(&g->f, b->h) < 0)
		return -1;
	memcpy(g->kv, g->f.r.kv, (size_t)b->rows.n * key * sizeof(*g->kv));
	return mla_append(&g->f, b->cosine, b->sine);
}

/* The gradient of each head's rows of kv_b from `from` on: dy [T][H][n] of the products with x
 * [T][H][..], or of what the products with them began from. */
static int
heads_weight(const struct backward *b, const struct mla_grads *g, int from, int n, const float *dy,
    int width, const float *x, int wide)
{
	const struct config *c = g->f.c;
	ptrdiff_t H = c->num_heads;

	for (int h = 0; h < H; h++)
		if (back_weight(b->l, g->f.m->params->kv_b, h * (c->qk_nope_head_dim +
		    c->v_head_dim) + from, dy + (ptrdiff_t)h * width, H * width, n,
		    x + (ptrdiff_t)h * wide, H * wide, b->pages) < 0)
			return -1;
	return 0;
}

/* From dh through the output matrix and the values to the latents that attention put out. */
static int
values_back(const struct backward *b, struct mla_grads *g)
{
	struct device *d = b->a->device;
	const struct config *c = g->f.c;
	const struct mla *m = g->f.m;
	int T = b->rows.n, H = c->num_heads, R = c->kv_lora_rank, v = c->v_head_dim,
	    nope = c->qk_nope_head_dim;

	return back_input(b->l, g->dv, (ptrdiff_t)H * v, b->dh, c->hidden_size, T, &m->o, 0) < 0 ?
	    -1 : d->ops->heads_t(d, g->dlatent, (ptrdiff_t)H * R, R, g->dv, (ptrdiff_t)H * v, v, T,
	    &m->kv_b, nope, nope + v, v, H);
}

/* Attention, and with what it puts out the gradients of the matrices after it. */
static int
attention_of_rows(const struct backward *b, struct mla_grads *g)
{
	const struct config *c = g->f.c;
	const struct mla_rows *r = &g->f.r;
	const struct attend_back attend = {.rows = &b->rows, .pages = b->pages,
	    .kv = mla_kv_shape(c), .H = c->num_heads, .scale = b->a->scale, .query = r->query,
	    .dout = g->dlatent, .out = r->latent, .dquery = g->dquery, .dk = g->dkv};
	int D = c->hidden_size, v = c->v_head_dim;

	return attend_back(b->a->device, &b->a->back_sums, &attend) < 0 || mla_values(&g->f) < 0 ||
	    back_weight(b->l, g->f.m->params->o, 0, b->dh, D, D, r->v, g->f.m->o.cols,
	    b->pages) < 0 ||
	    heads_weight(b, g, c->qk_nope_head_dim, v, g->dv, v, r->latent,
	    c->kv_lora_rank) < 0 ? -1 : 0;
}

/* Gradients of queries in the latent space become gradients of the queries before it. */
static int
queries_back(const struct backward *b, struct mla_grads *g)
{
	struct device *d = b->a->device;
	const struct config *c = g->f.c;
	int H = c->num_heads, nope = c->qk_nope_head_dim, rope = c->qk_rope_head_dim,
	    R = c->kv_lora_rank;
	ptrdiff_t qk = nope + rope, key = R + rope;

	if (d->ops->heads(d, g->dq, H * qk, qk, g->dquery, H * key, key, b->rows.n, &g->f.m->kv_b,
	    0, nope + c->v_head_dim, nope, H) < 0 ||
	    heads_weight(b, g, 0, nope, g->f.r.q, (int)qk, g->dquery, (int)key) < 0)
		return -1;
	for (ptrdiff_t i = 0; i < (ptrdiff_t)b->rows.n * H; i++)
		memcpy(g->dq + i * qk + nope, g->dquery + i * key + R,
		    (size_t)rope * sizeof(float));
	backward_turn(b, g->dq, H * qk, H, (int)qk);
	return 0;
}

/* dx becomes what the queries add to the gradient of the normed input; qa becomes its own. */
static int
q_back(const struct backward *b, struct mla_grads *g)
{
	struct learn *l = b->l;
	const struct mla *m = g->f.m;
	const struct mla_params *p = m->params;
	int T = b->rows.n, D = g->f.c->hidden_size, n = m->q.rows, lora = g->f.c->q_lora_rank;
	float *qa = g->f.r.qa;

	if (!m->q_norm)
		return back_weight(l, p->q, 0, g->dq, n, n, g->f.r.x, D, b->pages) < 0 ? -1 :
		    back_input(l, g->dx, D, g->dq, n, T, &m->q, 0);
	return back_weight(l, p->q, 0, g->dq, n, n, g->f.r.qn, lora, b->pages) < 0 ||
	    back_input(l, g->dqa, lora, g->dq, n, T, &m->q, 0) < 0 ||
	    back_norm(l, p->q_norm, qa, lora, qa, lora, g->dqa, lora, lora, m->q_norm, LORA_EPS,
	    b->pages, 0) < 0 ||
	    back_weight(l, p->q_a, 0, qa, lora, lora, g->f.r.x, D, b->pages) < 0 ?
	    -1 : back_input(l, g->dx, D, qa, lora, T, &m->q_a, 0);
}

/* dx gets what keys and latents add to it; kv becomes its own gradient. */
static int
kv_back(const struct backward *b, struct mla_grads *g)
{
	const struct mla *m = g->f.m;
	int D = g->f.c->hidden_size, key = m->kv_a.rows, R = g->f.c->kv_lora_rank;

	if (back_norm(b->l, m->params->kv_norm, g->kv, key, g->kv, key, g->dkv, key, R, m->kv_norm,
	    LORA_EPS, b->pages, 0) < 0)
		return -1;
	for (ptrdiff_t i = R; i < (ptrdiff_t)b->rows.n * key; i += key)
		memcpy(g->kv + i, g->dkv + i, (size_t)(key - R) * sizeof(float));
	backward_turn(b, g->kv, key, 1, key);
	return back_weight(b->l, m->params->kv_a, 0, g->kv, key, key, g->f.r.x, D, b->pages) < 0 ?
	    -1 : back_input(b->l, g->dx, D, g->kv, key, b->rows.n, &m->kv_a, 1);
}

int
mla_back(const struct backward *b, void *weights)
{
	const struct attention_taps none = {0};
	const struct mla *m = weights;
	const struct config *c = &b->a->model->config;
	struct mla_grads g = {.f = {.a = b->a, .m = m, .c = c, .rows = &b->rows, .taps = &none}};
	struct arena arena = {0};
	size_t T = (size_t)b->rows.n;
	int D = c->hidden_size;

	layout(c, &arena, T, &g);
	if (!(arena.base = scratch_reserve(&b->a->back_rows, arena.used, 1)))
		return -1;
	arena.used = 0;
	layout(c, &arena, T, &g);
	return forward(b, &g) < 0 || values_back(b, &g) < 0 || attention_of_rows(b, &g) < 0 ||
	    queries_back(b, &g) < 0 || q_back(b, &g) < 0 || kv_back(b, &g) < 0 ? -1 :
	    back_norm(b->l, m->params->norm, b->dh, D, b->h, D, g.dx, D, D, m->norm,
	    c->rms_norm_eps, b->pages, 1);
}
