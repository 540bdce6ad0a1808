/*
 * Grouped-query attention (Ainslie et al. 2023), of Llama and Qwen: H query heads, of which H / G
 * read one of G key heads, all of d numbers. Queries, keys and values have biases, and queries and
 * keys a norm for each head, where the model has them. A row of the cache is the rotated keys and
 * the values of all key heads.
 *
 * A layer may have a window: its rows see that many last positions.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/gqa_internal.h"
#include "base/mem.h"

struct kv_shape
gqa_kv_shape(const struct config *c)
{
	return (struct kv_shape){c->num_kv_heads, c->head_dim, c->head_dim, 0};
}

static size_t
cache_row(const struct config *c, struct attention_where where)
{
	const struct kv_shape kv = gqa_kv_shape(c);

	return where.gpu ? gpu_kv_position(&kv, where.precision) :
	    dtype_row(where.type, kv.heads * kv_numbers(&kv));
}

/* A score is a product of d numbers, a weighted sum has d. */
static double
operations(const struct config *c, double rows, double held)
{
	return 2 * rows * held * c->num_heads * 2 * c->head_dim;
}

static float
scale(const struct config *c)
{
	return (float)(1 / sqrt(c->head_dim));
}

static int
rotated(const struct config *c)
{
	return c->head_dim / 2;
}

static int
tap(const struct config *c, enum attention_tap tap, uint64_t P, uint64_t shape[2])
{
	uint64_t D = (uint64_t)c->hidden_size, H = (uint64_t)c->num_heads,
	    G = (uint64_t)c->num_kv_heads, d = (uint64_t)c->head_dim;
	const uint64_t all[ATTENTION_TAPS][2] = {
		[ATTENTION_NORM] = {D},
		[ATTENTION_Q] = {H, d},
		[ATTENTION_K] = {G, d},
		[ATTENTION_V] = {G, d},
		[ATTENTION_PROBS] = {H, P},
		[ATTENTION_HEADS] = {H, D},
		[ATTENTION_OUT] = {D},
	};

	memcpy(shape, all[tap], sizeof(all[tap]));
	return all[tap][0] == 0 ? 0 : all[tap][1] == 0 ? 1 : 2;
}

static void
describe(const struct config *c, char *to, size_t size)
{
	int windows = 0, n;

	for (int i = 0; i < c->num_layers; i++)
		windows += config_window(c, i) > 0;
	n = snprintf(to, size, "%d heads of %d, %d key heads", c->num_heads, c->head_dim,
	    c->num_kv_heads);
	if (windows > 0 && n > 0 && (size_t)n < size)
		snprintf(to + n, size - (size_t)n, "; windows of %d in %d layers",
		    c->sliding_window, windows);
}

/* --- weights --- */

/* A vector of a layer: where it is, its tensor, and how many numbers it has; 0: the model lacks
 * it. */
struct vector {
	float **at;
	enum role role;
	int n;
};

#define VECTORS 7

static void
vectors_list(struct gqa *m, const struct config *c, struct vector to[VECTORS])
{
	int q = c->num_heads * c->head_dim, kv = c->num_kv_heads * c->head_dim;
	const struct vector all[VECTORS] = {
		{&m->norm, ROLE_ATTN_NORM, c->hidden_size},
		{&m->q_bias, ROLE_Q_BIAS, c->qkv_bias ? q : 0},
		{&m->k_bias, ROLE_K_BIAS, c->qkv_bias ? kv : 0},
		{&m->v_bias, ROLE_V_BIAS, c->qkv_bias ? kv : 0},
		{&m->o_bias, ROLE_O_BIAS, c->o_bias ? c->hidden_size : 0},
		{&m->q_norm, ROLE_Q_NORM, c->qk_norm ? c->head_dim : 0},
		{&m->k_norm, ROLE_K_NORM, c->qk_norm ? c->head_dim : 0},
	};

	memcpy(to, all, sizeof(all));
}

static int
weights_open(struct gqa *m, const struct attention_layers *a, int layer)
{
	static const enum role roles[] = {ROLE_Q, ROLE_K, ROLE_V, ROLE_O};
	struct mat *mats[] = {&m->q, &m->k, &m->v, &m->o};
	struct vector vectors[VECTORS];

	vectors_list(m, &a->model->config, vectors);
	for (int i = 0; i < VECTORS; i++)
		if (vectors[i].n > 0 && (!(*vectors[i].at = model_vector(a->model, vectors[i].role,
		    layer)) || device_register_vec(a->device, vectors[i].at,
		    (size_t)vectors[i].n) < 0))
			return -1;
	for (int i = 0; i < 4; i++) {
		if (model_weight(a->model, roles[i], layer, -1, mats[i]) < 0)
			return -1;
		m->mapped_o = m->o;
		if (device_register(a->device, mats[i]) < 0)
			return -1;
	}
	return 0;
}

static void
gqa_close(const struct attention_layers *a, void *weights)
{
	struct gqa *m = weights;
	struct vector vectors[VECTORS];

	vectors_list(m, &a->model->config, vectors);
	for (int i = 0; i < VECTORS; i++)
		device_vec_free(a->device, *vectors[i].at);
	free(m->params);
	free(m);
}

static void *
gqa_open(const struct attention_layers *a, int layer)
{
	struct gqa *m = mem_new(1, sizeof(*m));

	if (!m)
		return NULL;
	m->window = config_window(&a->model->config, layer);
	if (weights_open(m, a, layer) == 0)
		return m;
	gqa_close(a, m);
	return NULL;
}

/* --- rows --- */

void
gqa_layout(const struct config *c, struct arena *arena, size_t n, void *rows)
{
	struct gqa_rows none, *r = rows ? rows : &none;
	size_t q = (size_t)c->num_heads * (size_t)c->head_dim,
	    kv = (size_t)c->num_kv_heads * (size_t)c->head_dim;

	n *= sizeof(float);
	r->x = arena_next(arena, n * (size_t)c->hidden_size);
	r->q = arena_next(arena, n * q);
	r->k = arena_next(arena, n * kv);
	r->v = arena_next(arena, n * kv);
	r->values = arena_next(arena, n * q);
	r->max = arena_next(arena, n * (size_t)c->num_heads);
	r->sum = arena_next(arena, n * (size_t)c->num_heads);
}

int
gqa_inputs(const struct gqa_block *b, const float *h)
{
	struct device *d = b->a->device;
	const struct gqa_rows *r = &b->r;
	enum precision p = d->k->precision;
	int n = b->rows.n, D = b->c->hidden_size, q = b->m->q.rows, kv = b->m->k.rows;

	if (d->ops->norm(d, r->x, D, h, D, n, D, b->m->norm, b->c->rms_norm_eps) < 0 ||
	    attention_tap_copy(b->a, b->taps, ATTENTION_NORM, r->x, (size_t)n * (size_t)D) < 0)
		return -1;
	return d->ops->product(d, r->q, q, r->x, D, n, &b->m->q, p) < 0 ||
	    d->ops->product(d, r->k, kv, r->x, D, n, &b->m->k, p) < 0 ||
	    d->ops->product(d, r->v, kv, r->x, D, n, &b->m->v, p) < 0 ? -1 : 0;
}

int
gqa_append(const struct gqa_block *b, const float *cosine, const float *sine)
{
	const struct config *c = b->c;
	const struct gqa *m = b->m;
	const struct gqa_rows *r = &b->r;
	const struct kv_append append = {.kv = gqa_kv_shape(c), .k = r->k, .v = r->v,
	    .k_bias = m->k_bias, .v_bias = m->v_bias, .norm = m->k_norm, .H = c->num_heads,
	    .width = c->head_dim, .q = r->q, .q_bias = m->q_bias, .q_norm = m->q_norm,
	    .eps = c->rms_norm_eps, .cosine = cosine, .sine = sine, .half = c->head_dim / 2,
	    .halves = c->rope_half, .zipped = m->q.zipped > 0};

	return b->a->device->ops->kv_append(b->a->device, &append, &b->rows);
}

/* Keys and values are appended to the cache; the queries meet it. */
static int
attend(const struct gqa_block *b, const float *cosine, const float *sine)
{
	struct attention_layers *a = b->a;
	struct device *d = a->device;
	const struct gqa_rows *r = &b->r;
	const struct kv_shape kv = gqa_kv_shape(b->c);

	return gqa_append(b, cosine, sine) < 0 ||
	    d->ops->attend(d, r->values, r->max, r->sum, r->q, &b->rows, b->c->num_heads, &kv,
	    a->scale) < 0 ? -1 :
	    attention_tap_probs(a, b->taps, r->max, r->sum, r->q, &b->rows, &kv);
}

/* x becomes the output of attention. */
static int
output(const struct gqa_block *b)
{
	struct device *d = b->a->device;
	int n = b->rows.n, D = b->c->hidden_size;

	if (d->ops->product(d, b->r.x, D, b->r.values, b->m->o.cols, n, &b->m->o,
	    d->k->precision) < 0)
		return -1;
	return b->m->o_bias ? d->ops->bias(d, b->r.x, b->m->o_bias, n, D) : 0;
}

static int
taps_copy(const struct gqa_block *b)
{
	size_t n = (size_t)b->rows.n, q = (size_t)b->m->q.rows, kv = (size_t)b->m->k.rows;
	float *heads = b->taps->to[ATTENTION_HEADS], *values;

	if (attention_tap_copy(b->a, b->taps, ATTENTION_Q, b->r.q, n * q) < 0 ||
	    attention_tap_copy(b->a, b->taps, ATTENTION_K, b->r.k, n * kv) < 0 ||
	    attention_tap_copy(b->a, b->taps, ATTENTION_V, b->r.v, n * kv) < 0 ||
	    attention_tap_copy(b->a, b->taps, ATTENTION_OUT, b->r.x,
	    n * (size_t)b->c->hidden_size) < 0)
		return -1;
	if (!heads)
		return 0;
	if (!(values = scratch_reserve(&b->a->fetched, n * q, sizeof(*values))) ||
	    b->a->device->ops->fetch(b->a->device, values, b->r.values,
	    n * q * sizeof(*values)) < 0)
		return -1;
	return attention_tap_heads(b->a, &b->m->mapped_o, values, b->rows.n, b->c->num_heads,
	    heads);
}

static int
gqa_add(struct attention_layers *a, void *weights, float *h, const struct kv_rows *rows,
    const float *cosine, const float *sine, const struct attention_taps *taps)
{
	struct gqa_block b = {.a = a, .m = weights, .c = &a->model->config, .rows = *rows,
	    .taps = taps};
	struct device *d = a->device;

	b.rows.window = b.m->window;
	return attention_layout(a, (size_t)rows->n, &b.r) < 0 || gqa_inputs(&b, h) < 0 ||
	    attend(&b, cosine, sine) < 0 || output(&b) < 0 ||
	    d->ops->add(d, h, b.r.x, (size_t)rows->n * (size_t)b.c->hidden_size) < 0 ? -1 :
	    taps_copy(&b);
}

static const struct attention_shape shapes[] = {
	{"num_key_value_heads", offsetof(struct config, num_kv_heads)},
	{"head_dim", offsetof(struct config, head_dim)},
	{0}
};

const struct attention_kind attention_gqa = {
	"gqa", cache_row, gqa_kv_shape, operations, describe, scale, rotated, tap, gqa_open,
	    gqa_close, gqa_layout, gqa_add, shapes, NULL, NULL, gqa_learn, gqa_back
};
