/*
 * Multi-head latent attention over chosen positions (DeepSeek-V3.2, 2512.02556, section 2.1).  An
 * indexer scores all positions with small heads of its own; attention reads the best.  A row of
 * the cache is MLA's, and the indexer's key.
 *
 * I heads of the indexer, of width i, read one key; topk positions are chosen.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/mla_internal.h"
#include "base/mem.h"

#define KEY_EPS 1e-6f   /* of the keys' LayerNorm, whatever rms_norm_eps is */

struct indexed {        /* a layer's weights */
	struct mla mla;
	struct mat q;                   /* [I i][q_lora] */
	struct mat k;                   /* [i][D] */
	float *k_norm, *k_bias;         /* [i] */
	struct mat weights;             /* [I][D] */
};

struct indexed_rows {   /* all [n][...] */
	struct mla_rows mla;
	float *q;               /* [I][i] */
	float *k;               /* [i] */
	float *weights;         /* [I] */
	int32_t *chosen;        /* [topk] */
};

/* --- what it costs --- */

static size_t
key_bytes(const struct config *c, struct attention_where where)
{
	return dtype_row(where.type, c->index_head_dim);
}

static size_t
cache_row(const struct config *c, struct attention_where where)
{
	return attention_mla.cache_row(c, where) + key_bytes(c, where);
}

/* Positions that attention reads of those held. */
static double
attended(const struct config *c, double held)
{
	return fmin(held, c->index_topk);
}

/* The keys of all positions, and what MLA reads of those chosen. */
static double
cache_read(const struct config *c, struct attention_where where, double held)
{
	return held * (double)key_bytes(c, where) +
	    attended(c, held) * (double)attention_mla.cache_row(c, where);
}

static double
operations(const struct config *c, double rows, double held)
{
	return 2 * rows * held * c->index_n_heads * (c->index_head_dim + 1.0) +
	    attention_mla.operations(c, rows, attended(c, held));
}

static void
describe(const struct config *c, char *to, size_t size)
{
	size_t n;

	mla_describe(c, to, size);
	n = strlen(to);
	snprintf(to + n, size - n, "; indexer: %d heads of %d choose %d positions",
	    c->index_n_heads, c->index_head_dim, c->index_topk);
}

static int
tap(const struct config *c, enum attention_tap tap, uint64_t P, uint64_t shape[2])
{
	if (tap != ATTENTION_INDEX)
		return mla_tap(c, tap, P, shape);
	shape[0] = (uint64_t)c->index_topk;
	return 1;
}

/* --- weights --- */

static int
find(struct indexed *w, struct model *model, int layer)
{
	return model_weight(model, ROLE_INDEX_Q, layer, -1, &w->q) < 0 ||
	    model_weight(model, ROLE_INDEX_K, layer, -1, &w->k) < 0 ||
	    !(w->k_norm = model_vector(model, ROLE_INDEX_K_NORM, layer)) ||
	    !(w->k_bias = model_vector(model, ROLE_INDEX_K_NORM_BIAS, layer)) ||
	    model_weight(model, ROLE_INDEX_WEIGHTS, layer, -1, &w->weights) < 0 ? -1 : 0;
}

static int
registered(struct indexed *w, const struct config *c, struct device *d)
{
	size_t width = (size_t)c->index_head_dim;

	return device_register(d, &w->q) < 0 || device_register(d, &w->k) < 0 ||
	    device_register(d, &w->weights) < 0 || device_register_vec(d, &w->k_norm, width) < 0 ||
	    device_register_vec(d, &w->k_bias, width) < 0 ? -1 : 0;
}

static void
indexed_close(const struct attention_layers *a, void *weights)
{
	struct indexed *w = weights;

	mla_weights_close(&w->mla, a);
	device_vec_free(a->device, w->k_norm);
	device_vec_free(a->device, w->k_bias);
	free(w);
}

static void *
indexed_open(const struct attention_layers *a, int layer)
{
	struct indexed *w = mem_new(1, sizeof(*w));

	if (!w)
		return NULL;
	if (mla_weights_open(&w->mla, a, layer) == 0 && find(w, a->model, layer) == 0 &&
	    registered(w, &a->model->config, a->device) == 0)
		return w;
	indexed_close(a, w);
	return NULL;
}

/* --- rows --- */

static void
layout(const struct config *c, struct arena *arena, size_t n, void *rows)
{
	struct indexed_rows none, *r = rows ? rows : &none;
	size_t heads = (size_t)c->index_n_heads, width = (size_t)c->index_head_dim;

	mla_layout(c, arena, n, rows ? &r->mla : NULL);
	r->q = arena_next(arena, n * heads * width * sizeof(*r->q));
	r->k = arena_next(arena, n * width * sizeof(*r->k));
	r->weights = arena_next(arena, n * heads * sizeof(*r->weights));
	r->chosen = arena_next(arena, n * (size_t)c->index_topk * sizeof(*r->chosen));
}

/* What the rows choose, in r->chosen. */
static int
choose(const struct mla_block *b, const struct indexed *w, const struct indexed_rows *r,
    const float *cosine, const float *sine)
{
	struct device *d = b->a->device;
	const struct config *c = b->c;
	const struct kv_shape kv = mla_kv_shape(c);
	enum precision p = d->k->precision;
	int n = b->rows->n, D = c->hidden_size, heads = c->index_n_heads, width = c->index_head_dim;
	const struct indexer x = {.heads = heads, .width = width, .topk = c->index_topk,
	    .at = (ptrdiff_t)CACHE_PAGE * kv_numbers(&kv), .k = r->k, .norm = w->k_norm,
	    .bias = w->k_bias, .eps = KEY_EPS, .q = r->q, .weight = r->weights,
	    .scale = (float)(1 / sqrt((double)heads * width)), .cosine = cosine, .sine = sine,
	    .half = c->qk_rope_head_dim / 2};

	if (d->ops->product(d, r->q, w->q.rows, b->r.qa, w->q.cols, n, &w->q, p) < 0 ||
	    d->ops->product(d, r->k, width, b->r.x, D, n, &w->k, p) < 0 ||
	    d->ops->product(d, r->weights, heads, b->r.x, D, n, &w->weights, PRECISION_F32) < 0 ||
	    d->ops->index(d, r->chosen, &x, b->rows) < 0)
		return -1;
	return attention_tap_copy(b->a, b->taps, ATTENTION_INDEX, r->chosen,
	    (size_t)n * (size_t)c->index_topk);
}

static int
indexed_add(struct attention_layers *a, void *weights, float *h, const struct kv_rows *rows,
    const float *cosine, const float *sine, const struct attention_taps *taps)
{
	const struct indexed *w = weights;
	struct kv_rows seen = *rows;
	struct indexed_rows r;
	struct mla_block b = {.a = a, .m = &w->mla, .c = &a->model->config, .rows = &seen,
	    .taps = taps};

	if (attention_layout(a, (size_t)rows->n, &r) < 0)
		return -1;
	b.r = r.mla;
	if (mla_inputs(&b, h) < 0 || choose(&b, w, &r, cosine, sine) < 0)
		return -1;
	seen.chosen = r.chosen;
	seen.topk = b.c->index_topk;
	return mla_outputs(&b, h, cosine, sine);
}

static const struct attention_shape shapes[] = {
	MLA_SHAPES, MLA_SHAPE(index_n_heads), MLA_SHAPE(index_head_dim), MLA_SHAPE(index_topk), {0}
};

const struct attention_kind attention_mla_indexed = {
	"mla, indexed", cache_row, mla_kv_shape, operations, describe, mla_scale, mla_rotated, tap,
	    indexed_open, indexed_close, layout, indexed_add, shapes, cache_read,
	    "the indexer", NULL, NULL
};
