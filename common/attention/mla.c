#include "attention/mla.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attention.h"
#include "device/ops.h"
#include "attention/mla_work.h"

int
mla_math_open(struct mla_math *a, const struct stage *s)
{
	const struct config *c = &s->model->config;

	memset(a, 0, sizeof(*a));
	a->s = s;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->passed, NULL);
	a->scale = (float)(1 / sqrt(c->qk_nope_head_dim + c->qk_rope_head_dim) * rope_softmax_factor(c));
	return rope_open(&a->rope, c);
}

void
mla_math_close(struct mla_math *a)
{
	if (!a->s)
		return;
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->passed);
	rope_close(&a->rope);
	scratch_free(&a->rows);
	scratch_free(&a->tasks);
	scratch_free(&a->parts);
}

static int
weights_open(struct mla *m, struct model *model, int layer)
{
	if (!(m->norm = model_vector(model, ROLE_ATTN_NORM, layer)) ||
	    !(m->kv_norm = model_vector(model, ROLE_KV_A_NORM, layer)) ||
	    model_weight(model, ROLE_KV_A, layer, -1, &m->kv_a) < 0 ||
	    model_weight(model, ROLE_KV_B, layer, -1, &m->kv_b) < 0 ||
	    model_weight(model, ROLE_O, layer, -1, &m->o) < 0)
		return -1;
	if (model->config.q_lora_rank > 0 &&
	    (!(m->q_norm = model_vector(model, ROLE_Q_A_NORM, layer)) ||
	    model_weight(model, ROLE_Q_A, layer, -1, &m->q_a) < 0))
		return -1;
	return model_weight(model, ROLE_Q, layer, -1, &m->q);
}

/* All of them shall be in the GPU. */
static int
weights_want(struct mla *m, const struct config *c, struct device *d)
{
	struct mat *mats[] = {&m->q, &m->q_a, &m->kv_a, &m->kv_b, &m->o};

	for (size_t i = 0; i < sizeof(mats) / sizeof(mats[0]); i++)
		if (mats[i]->data && device_register(d, mats[i]) < 0)
			return -1;
	if (m->q_norm && device_register_vec(d, &m->q_norm, (size_t)c->q_lora_rank) < 0)
		return -1;
	return device_register_vec(d, &m->norm, (size_t)c->hidden_size) < 0 ||
	    device_register_vec(d, &m->kv_norm, (size_t)c->kv_lora_rank) < 0 ? -1 : 0;
}

int
mla_open(struct mla *m, const struct stage *s, int layer, const struct cache_memory *memory)
{
	const struct config *c = &s->model->config;
	struct attention_where where = {s->gpu != NULL, s->k->precision};

	memset(m, 0, sizeof(*m));
	cache_init(&m->cache, attention_of(c)->cache_row(c, where), memory);
	if (weights_open(m, s->model, layer) < 0)
		return -1;
	m->mapped_o = m->o;
	return weights_want(m, c, s->device);
}

void
mla_close(struct mla *m, const struct stage *s)
{
	cache_free(&m->cache);
	device_vec_free(s->device, m->norm);
	device_vec_free(s->device, m->q_norm);
	device_vec_free(s->device, m->kv_norm);
}

/* One piece of memory for all of a block's results, each at a multiple of 64 bytes. */
static int
work_place(struct work *w)
{
	const struct config *c = w->c;
	size_t H = (size_t)c->num_heads, R = (size_t)c->kv_lora_rank, rope = (size_t)c->qk_rope_head_dim;
	size_t n = (size_t)w->r->n, used = 0;
	struct { float **to; size_t width; } part[] = {
		{&w->x, (size_t)c->hidden_size},
		{&w->qa, (size_t)c->q_lora_rank},
		{&w->q, H * ((size_t)c->qk_nope_head_dim + rope)},
		{&w->kv, R + rope},
		{&w->cosine, rope / 2},
		{&w->sine, rope / 2},
		{&w->query, H * (R + rope)},
		{&w->latent, H * R},
		{&w->v, H * (size_t)c->v_head_dim},
	};
	size_t parts = sizeof(part) / sizeof(part[0]);
	float *p;

	for (size_t i = 0; i < parts; i++)
		used += (n * part[i].width + 15) / 16 * 16;
	p = scratch_reserve(&w->a->rows, used, sizeof(*p));
	if (!p)
		return -1;
	for (size_t i = 0; i < parts; i++) {
		*part[i].to = p;
		p += (n * part[i].width + 15) / 16 * 16;
	}
	return 0;
}

/* What a row leaves in the cache, and its queries' rotated part. */
static void
row_enter(void *arg, size_t from, size_t to, int thread)
{
	const struct work *w = arg;
	const struct config *c = w->c;
	const struct kernels *k = w->a->s->k;
	size_t R = (size_t)c->kv_lora_rank, rope = (size_t)c->qk_rope_head_dim, half = rope / 2;
	size_t nope = (size_t)c->qk_nope_head_dim, H = (size_t)c->num_heads;

	(void)thread;
	for (size_t t = from; t < to; t++) {
		float *cosine = w->cosine + t * half, *sine = w->sine + t * half;
		float *kv = w->kv + t * (R + rope), *q = w->q + t * H * (nope + rope), *kept = w->r->kv[t];

		rope_angles(&w->a->rope, w->r->pos[t], cosine, sine);
		k->rmsnorm(kept, kv, w->m->kv_norm, (int)R, LORA_EPS);
		k->rope(kv + R, cosine, sine, (int)half);
		memcpy(kept + R, kv + R, rope * sizeof(*kv));
		for (size_t h = 0; h < H; h++) {
			float *query = w->query + (t * H + h) * (R + rope) + R;

			memcpy(query, q + h * (nope + rope) + nope, rope * sizeof(*q));
			k->rope(query, cosine, sine, (int)half);
		}
	}
}

/* The part of each query that meets the latents: q_nope times the head's key rows of kv_b. */
static void
head_absorb(void *arg, size_t from, size_t to, int thread)
{
	const struct work *w = arg;
	const struct config *c = w->c;
	int H = c->num_heads, nope = c->qk_nope_head_dim, R = c->kv_lora_rank, rope = c->qk_rope_head_dim;

	(void)thread;
	for (int h = (int)from; h < (int)to; h++) {
		struct mat keys = mat_rows(&w->m->kv_b, h * (nope + c->v_head_dim), nope);

		w->a->s->k->matmul_t(w->query + (ptrdiff_t)h * (R + rope), (ptrdiff_t)H * (R + rope),
		    w->q + (ptrdiff_t)h * (nope + rope), (ptrdiff_t)H * (nope + rope), w->r->n, &keys, 0, R);
	}
}

/* Out of the latent space: the sums of latents times the head's value rows of kv_b. */
static void
head_values(void *arg, size_t from, size_t to, int thread)
{
	const struct work *w = arg;
	const struct config *c = w->c;
	int H = c->num_heads, nope = c->qk_nope_head_dim, R = c->kv_lora_rank, v = c->v_head_dim;

	(void)thread;
	for (int h = (int)from; h < (int)to; h++) {
		struct mat values = mat_rows(&w->m->kv_b, h * (nope + v) + nope, v);

		w->a->s->k->matmul(w->v + (ptrdiff_t)h * v, (ptrdiff_t)H * v,
		    w->latent + (ptrdiff_t)h * R, (ptrdiff_t)H * R, w->r->n, &values, 0, v);
	}
}

int
mla_add(struct mla_math *a, struct mla *m, float *h, const struct mla_rows *r, const struct mla_taps *taps)
{
	const struct stage *s = a->s;
	const struct config *c = &s->model->config;
	struct work w = {.a = a, .m = m, .c = c, .r = r, .taps = taps};
	int T = r->n, D = c->hidden_size, H = c->num_heads, R = c->kv_lora_rank;
	int rope = c->qk_rope_head_dim, q = H * (c->qk_nope_head_dim + rope), v = H * c->v_head_dim;

	if (T == 0)
		return 0;
	if (work_place(&w) < 0)
		return -1;
	s->device->ops->norm(s->device, w.x, D, h, D, T, D, m->norm, c->rms_norm_eps);
	if (m->q_norm) {
		s->device->ops->product(s->device, w.qa, c->q_lora_rank, w.x, D, T, &m->q_a, s->k->precision);
		s->device->ops->norm(s->device, w.qa, c->q_lora_rank, w.qa, c->q_lora_rank, T, c->q_lora_rank, m->q_norm, LORA_EPS);
		s->device->ops->product(s->device, w.q, q, w.qa, c->q_lora_rank, T, &m->q, s->k->precision);
	} else {
		s->device->ops->product(s->device, w.q, q, w.x, D, T, &m->q, s->k->precision);
	}
	s->device->ops->product(s->device, w.kv, R + rope, w.x, D, T, &m->kv_a, s->k->precision);
	pool_run(s->pool, (size_t)T, 1, (double)q, row_enter, &w);
	mla_tap_rows(&w);
	pool_run(s->pool, (size_t)H, 1, (double)T * c->qk_nope_head_dim * R, head_absorb, &w);
	if (mla_attend(&w) < 0)
		return -1;
	pool_run(s->pool, (size_t)H, 1, (double)T * c->v_head_dim * R, head_values, &w);
	s->device->ops->product(s->device, w.x, D, w.v, v, T, &m->o, s->k->precision);
	if (mla_tap_out(&w) < 0)
		return -1;
	for (int t = 0; t < T; t++)
		s->k->add(h + (ptrdiff_t)t * D, w.x + (ptrdiff_t)t * D, D);
	return 0;
}

/* --- its row of the table --- */

/* A latent [R] and a rotated key [rope]: on the CPU float32 in every precision. */
static size_t
mla_cache_row(const struct config *c, struct attention_where where)
{
	const struct kv_shape kv = mla_shape(c);

	return where.gpu ? gpu_kv_position(&kv, where.precision) : (size_t)kv.key * sizeof(float);
}

/* A score is a product of R + rope numbers, a weighted sum has R. */
static double
mla_operations(const struct config *c, double rows, double held)
{
	return 2 * rows * held * c->num_heads * (2.0 * c->kv_lora_rank + c->qk_rope_head_dim);
}

const struct attention_kind attention_mla = {"mla", mla_cache_row, mla_operations};
