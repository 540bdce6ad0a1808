/*
 * Multi-head latent attention (DeepSeek-V2, 2405.04434, section 2.1), computed in the latent
 * space: instead of expanding the cache's latents to keys and values, the query is
 * brought into the space of the latents, and their weighted sum back out of it.  Prefill and decode
 * alike, over the cache's pages in order: the bits of a row depend on nothing but its sequence.
 *
 * H heads, R the latent rank; a row of the cache is the latent [R] and the rotated
 * key [rope] that all heads share.
 */
#include "attention/mla_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct kv_shape
mla_kv_shape(const struct config *c)
{
	return (struct kv_shape){1, c->kv_lora_rank + c->qk_rope_head_dim, c->kv_lora_rank, 1};
}

static size_t
cache_row(const struct config *c, struct attention_where where)
{
	const struct kv_shape kv = mla_kv_shape(c);

	return where.gpu ? gpu_kv_position(&kv, where.precision) :
	    dtype_row(where.type, kv.heads * kv_numbers(&kv));
}

/* A score is a product of R + rope numbers, a weighted sum has R. */
static double
operations(const struct config *c, double rows, double held)
{
	return 2 * rows * held * c->num_heads * (2.0 * c->kv_lora_rank + c->qk_rope_head_dim);
}

float
mla_scale(const struct config *c)
{
	return (float)(1 / sqrt(c->qk_nope_head_dim + c->qk_rope_head_dim) *
	    rope_softmax_factor(&c->rope));
}

int
mla_rotated(const struct config *c)
{
	return c->qk_rope_head_dim / 2;
}

int
mla_tap(const struct config *c, enum attention_tap tap, uint64_t P, uint64_t shape[2])
{
	uint64_t D = (uint64_t)c->hidden_size, H = (uint64_t)c->num_heads,
	    rope = (uint64_t)c->qk_rope_head_dim;
	const uint64_t all[ATTENTION_TAPS][2] = {
		[ATTENTION_NORM] = {D},
		[ATTENTION_Q] = {H, (uint64_t)c->qk_nope_head_dim + rope},
		[ATTENTION_LATENT] = {(uint64_t)c->kv_lora_rank},
		[ATTENTION_KROPE] = {rope},
		[ATTENTION_PROBS] = {H, P},
		[ATTENTION_HEADS] = {H, D},
		[ATTENTION_OUT] = {D},
	};

	memcpy(shape, all[tap], sizeof(all[tap]));
	return all[tap][0] == 0 ? 0 : all[tap][1] == 0 ? 1 : 2;
}

/* --- weights --- */

static int
kv_b_open(struct mla *m, struct model *model, int layer)
{
	int split = model->config.kv_b_split;

	if (model_weight(model, split ? ROLE_K_B : ROLE_KV_B, layer, -1, &m->kv_b) < 0)
		return -1;
	return split ? model_weight(model, ROLE_V_B, layer, -1, &m->v_b) : 0;
}

static int
find(struct mla *m, struct model *model, int layer)
{
	if (!(m->norm = model_vector(model, ROLE_ATTN_NORM, layer)) ||
	    !(m->kv_norm = model_vector(model, ROLE_KV_A_NORM, layer)) ||
	    model_weight(model, ROLE_KV_A, layer, -1, &m->kv_a) < 0 ||
	    kv_b_open(m, model, layer) < 0 ||
	    model_weight(model, ROLE_O, layer, -1, &m->o) < 0)
		return -1;
	if (model->config.q_lora_rank > 0 &&
	    (!(m->q_norm = model_vector(model, ROLE_Q_A_NORM, layer)) ||
	    model_weight(model, ROLE_Q_A, layer, -1, &m->q_a) < 0))
		return -1;
	return model_weight(model, ROLE_Q, layer, -1, &m->q);
}

static int
registered(struct mla *m, const struct config *c, struct device *d)
{
	struct mat *mats[] = {&m->q, &m->q_a, &m->kv_a, &m->kv_b, &m->v_b, &m->o};

	m->mapped_o = m->o;
	for (size_t i = 0; i < sizeof(mats) / sizeof(mats[0]); i++)
		if (mats[i]->data && device_register(d, mats[i]) < 0)
			return -1;
	if (m->q_norm && device_register_vec(d, &m->q_norm, (size_t)c->q_lora_rank) < 0)
		return -1;
	return device_register_vec(d, &m->norm, (size_t)c->hidden_size) < 0 ||
	    device_register_vec(d, &m->kv_norm, (size_t)c->kv_lora_rank) < 0 ? -1 : 0;
}

int
mla_weights_open(struct mla *m, const struct attention_layers *a, int layer)
{
	return find(m, a->model, layer) < 0 ? -1 : registered(m, &a->model->config, a->device);
}

void
mla_weights_close(struct mla *m, const struct attention_layers *a)
{
	device_vec_free(a->device, m->norm);
	device_vec_free(a->device, m->q_norm);
	device_vec_free(a->device, m->kv_norm);
	free(m->params);
}

static void
mla_close(const struct attention_layers *a, void *weights)
{
	mla_weights_close(weights, a);
	free(weights);
}

static void *
mla_open(const struct attention_layers *a, int layer)
{
	struct mla *m = mem_new(1, sizeof(*m));

	if (m && mla_weights_open(m, a, layer) == 0)
		return m;
	if (m)
		mla_close(a, m);
	return NULL;
}

/* --- rows --- */

void
mla_layout(const struct config *c, struct arena *arena, size_t n, void *rows)
{
	struct mla_rows none, *r = rows ? rows : &none;
	size_t H = (size_t)c->num_heads, R = (size_t)c->kv_lora_rank,
	    rope = (size_t)c->qk_rope_head_dim;

	n *= sizeof(float);
	r->x = arena_next(arena, n * (size_t)c->hidden_size);
	r->qa = r->qn = arena_next(arena, n * (size_t)c->q_lora_rank);
	r->q = arena_next(arena, n * H * ((size_t)c->qk_nope_head_dim + rope));
	r->kv = arena_next(arena, n * (R + rope));
	r->query = arena_next(arena, n * H * (R + rope));
	r->latent = arena_next(arena, n * H * R);
	r->v = arena_next(arena, n * H * (size_t)c->v_head_dim);
	r->max = arena_next(arena, n * H);
	r->sum = arena_next(arena, n * H);
}

int
mla_inputs(const struct mla_block *b, const float *h)
{
	struct device *d = b->a->device;
	const struct ops *ops = d->ops;
	const struct config *c = b->c;
	const struct mla_rows *r = &b->r;
	enum precision p = d->k->precision;
	int n = b->rows->n, D = c->hidden_size, lora = c->q_lora_rank, q = b->m->q.rows;
	const float *x = r->x;

	if (ops->norm(d, r->x, D, h, D, n, D, b->m->norm, c->rms_norm_eps) < 0 ||
	    attention_tap_copy(b->a, b->taps, ATTENTION_NORM, r->x, (size_t)n * (size_t)D) < 0)
		return -1;
	if (b->m->q_norm) {
		if (ops->product(d, r->qa, lora, r->x, D, n, &b->m->q_a, p) < 0 ||
		    ops->norm(d, r->qn, lora, r->qa, lora, n, lora, b->m->q_norm, LORA_EPS) < 0)
			return -1;
		x = r->qn;
	}
	if (ops->product(d, r->q, q, x, b->m->q.cols, n, &b->m->q, p) < 0)
		return -1;
	return ops->product(d, r->kv, b->m->kv_a.rows, r->x, D, n, &b->m->kv_a, p);
}

int
mla_append(const struct mla_block *b, const float *cosine, const float *sine)
{
	struct device *d = b->a->device;
	const struct config *c = b->c;
	const struct mla_rows *r = &b->r;
	const struct kv_shape kv = mla_kv_shape(c);
	int n = b->rows->n, H = c->num_heads, nope = c->qk_nope_head_dim;
	int qk = nope + c->qk_rope_head_dim;
	const struct kv_append append = {.kv = kv, .k = r->kv, .norm = b->m->kv_norm,
	    .eps = LORA_EPS, .H = H, .width = qk, .q = r->q, .query = r->query, .cosine = cosine,
	    .sine = sine, .half = c->qk_rope_head_dim / 2};

	return d->ops->kv_append(d, &append, b->rows) < 0 ? -1 :
	    d->ops->heads_t(d, r->query, (ptrdiff_t)H * kv.key, kv.key, r->q, (ptrdiff_t)H * qk, qk,
	    n, &b->m->kv_b, 0, c->kv_b_split ? nope : nope + c->v_head_dim, nope, H);
}

int
mla_values(const struct mla_block *b)
{
	struct device *d = b->a->device;
	const struct config *c = b->c;
	int H = c->num_heads, R = c->kv_lora_rank, nope = c->qk_nope_head_dim, v = c->v_head_dim,
	    split = c->kv_b_split;

	return d->ops->heads(d, b->r.v, (ptrdiff_t)H * v, v, b->r.latent, (ptrdiff_t)H * R, R,
	    b->rows->n, split ? &b->m->v_b : &b->m->kv_b, split ? 0 : nope, split ? v : nope + v, v,
	    H);
}

/* Latents and keys are appended to the cache; the queries, in the latent space, meet it; the
 * values come out of the latent space. */
static int
attend(const struct mla_block *b, const float *cosine, const float *sine)
{
	struct device *d = b->a->device;
	const struct mla_rows *r = &b->r;
	const struct kv_shape kv = mla_kv_shape(b->c);

	if (mla_append(b, cosine, sine) < 0 ||
	    d->ops->attend(d, r->latent, r->max, r->sum, r->query, b->rows, b->c->num_heads, &kv,
	    b->a->scale) < 0 ||
	    attention_tap_probs(b->a, b->taps, r->max, r->sum, r->query, b->rows, &kv) < 0)
		return -1;
	return mla_values(b);
}

/* Of each row of kv [n][width], n numbers from `from` on. */
static void
split(float *to, const float *kv, size_t rows, size_t width, size_t from, size_t n)
{
	for (size_t t = 0; t < rows; t++)
		memcpy(to + t * n, kv + t * width + from, n * sizeof(*to));
}

/* The taps that need work on the host. A head's part of the output is only a tap: the CPU
 * multiplies the values with the mapped weights. */
static int
host_taps(const struct mla_block *b)
{
	struct attention_layers *a = b->a;
	struct device *d = a->device;
	float *const *to = b->taps->to;
	size_t n = (size_t)b->rows->n, R = (size_t)b->c->kv_lora_rank,
	    width = R + (size_t)b->c->qk_rope_head_dim;
	size_t v = (size_t)b->m->o.cols;
	float *kv, *values;

	if (!to[ATTENTION_LATENT] && !to[ATTENTION_KROPE] && !to[ATTENTION_HEADS])
		return 0;
	if (!(kv = scratch_reserve(&a->fetched, n * (width + v), sizeof(*kv))))
		return -1;
	values = kv + n * width;
	if (d->ops->fetch(d, kv, b->r.kv, n * width * sizeof(*kv)) < 0 || d->ops->fetch(d, values,
	    b->r.v, n * v * sizeof(*kv)) < 0)
		return -1;
	if (to[ATTENTION_LATENT])
		split(to[ATTENTION_LATENT], kv, n, width, 0, R);
	if (to[ATTENTION_KROPE])
		split(to[ATTENTION_KROPE], kv, n, width, R, width - R);
	return to[ATTENTION_HEADS] ?
	    attention_tap_heads(a, &b->m->mapped_o, values, (int)n, b->c->num_heads,
	    to[ATTENTION_HEADS]) : 0;
}

int
mla_outputs(const struct mla_block *b, float *h, const float *cosine, const float *sine)
{
	struct attention_layers *a = b->a;
	struct device *d = a->device;
	int n = b->rows->n, D = b->c->hidden_size;
	size_t T = (size_t)n, all = T * (size_t)D;

	if (attend(b, cosine, sine) < 0 ||
	    d->ops->product(d, b->r.x, D, b->r.v, b->m->o.cols, n, &b->m->o, d->k->precision) < 0 ||
	    d->ops->add(d, h, b->r.x, all) < 0)
		return -1;
	if (attention_tap_copy(a, b->taps, ATTENTION_Q, b->r.q, T * (size_t)b->m->q.rows) < 0 ||
	    attention_tap_copy(a, b->taps, ATTENTION_OUT, b->r.x, all) < 0)
		return -1;
	return host_taps(b);
}

static int
mla_add(struct attention_layers *a, void *weights, float *h, const struct kv_rows *rows,
    const float *cosine, const float *sine, const struct attention_taps *taps)
{
	struct mla_block b = {.a = a, .m = weights, .c = &a->model->config, .rows = rows,
	    .taps = taps};

	return attention_layout(a, (size_t)rows->n, &b.r) < 0 || mla_inputs(&b, h) < 0 ?
	    -1 : mla_outputs(&b, h, cosine, sine);
}

void
mla_describe(const struct config *c, char *to, size_t size)
{
	snprintf(to, size, "%d heads of %d + %d, values %d; latent %d + %d, query %d", c->num_heads,
	    c->qk_nope_head_dim, c->qk_rope_head_dim, c->v_head_dim, c->kv_lora_rank,
	    c->qk_rope_head_dim, c->q_lora_rank);
}

static const struct attention_shape shapes[] = {MLA_SHAPES, {0}};

const struct attention_kind attention_mla = {
	"mla", cache_row, mla_kv_shape, operations, mla_describe, mla_scale, mla_rotated, mla_tap,
	    mla_open, mla_close, mla_layout, mla_add, shapes, NULL, NULL, mla_learn, mla_back
};
