/*
 * The steps of mla_add, one kernel after another, in the same order.
 */
#include <string.h>

#include "attention/attention.h"
#include "base/fail.h"
#include "stage/attn_gpu_internal.h"
#include "attention/mla_work.h"

#define PROBS ((size_t)4 << 20) /* bytes of probabilities that are made at once */

struct block {          /* rows on their way, in the GPU: all [n][...], see struct work */
	struct attn_gpu *g;
	struct device *d;
	const struct config *c;
	const struct mla *m;
	struct gpu_rows rows;
	float *cosine, *sine;
	float *x, *qa, *q, *kv, *query, *latent, *v;
	float *max, *sum;       /* [H] */
	float *kept_kv, *kept_v;        /* here: of the taps that want them, else NULL */
};

/* One piece of memory for all of a block's results, each at a multiple of 256 bytes; p NULL: how many bytes that takes. */
static size_t
block_place(struct block *b, size_t n, char *p)
{
	const struct config *c = b->c;
	size_t H = (size_t)c->num_heads, R = (size_t)c->kv_lora_rank, rope = (size_t)c->qk_rope_head_dim;
	const struct { float **to; size_t width; } part[] = {
		{&b->x, (size_t)c->hidden_size},
		{&b->qa, (size_t)c->q_lora_rank},
		{&b->q, H * ((size_t)c->qk_nope_head_dim + rope)},
		{&b->kv, R + rope},
		{&b->query, H * (R + rope)},
		{&b->latent, H * R},
		{&b->v, H * (size_t)c->v_head_dim},
		{&b->max, H},
		{&b->sum, H},
	};
	size_t used = 0;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		if (p)
			*part[i].to = (float *)(void *)(p + used);
		used += (n * part[i].width * sizeof(float) + 255) / 256 * 256;
	}
	return used;
}

/* The GPU's numbers to a tensor of the host's, if somebody asked. */
static int
tap(const struct block *b, float *to, const float *from, size_t width)
{
	return to ? b->d->lib->download(b->d->gpu, to, from, (size_t)b->rows.n * width * sizeof(*to)) : 0;
}

/* x normed, q and kv made of it. */
static int
block_inputs(const struct block *b, const float *h, const struct mla_taps *taps, enum precision p)
{
	const struct gpu_lib *l = b->d->lib;
	const struct config *c = b->c;
	struct gpu *gpu = b->d->gpu;
	int n = b->rows.n, D = c->hidden_size, lora = c->q_lora_rank, width = c->kv_lora_rank + c->qk_rope_head_dim;
	int q = c->num_heads * (c->qk_nope_head_dim + c->qk_rope_head_dim);

	if (l->rmsnorm(gpu, b->x, D, h, D, n, D, b->m->norm, c->rms_norm_eps) < 0 || tap(b, taps->norm, b->x, (size_t)D) < 0)
		return -1;
	if (b->m->q_norm) {
		if (l->matmul(gpu, b->qa, lora, b->x, D, n, &b->m->q_a, p) < 0 ||
		    l->rmsnorm(gpu, b->qa, lora, b->qa, lora, n, lora, b->m->q_norm, LORA_EPS) < 0 ||
		    l->matmul(gpu, b->q, q, b->qa, lora, n, &b->m->q, p) < 0)
			return -1;
	} else if (l->matmul(gpu, b->q, q, b->x, D, n, &b->m->q, p) < 0) {
		return -1;
	}
	return l->matmul(gpu, b->kv, width, b->x, D, n, &b->m->kv_a, p);
}

/* Latents, keys and queries are rotated and entered; the queries meet the cache; the values come out of the latent space. */
static int
block_attend(const struct block *b, const struct mla_math *math, const struct mla_taps *taps, void *scratch, enum precision p)
{
	const struct gpu_lib *l = b->d->lib;
	const struct config *c = b->c;
	struct gpu *gpu = b->d->gpu;
	int n = b->rows.n, H = c->num_heads, R = c->kv_lora_rank, rope = c->qk_rope_head_dim, nope = c->qk_nope_head_dim;
	int qk = nope + rope, v = c->v_head_dim, width = R + rope;
	const struct kv_shape kv = mla_shape(c);
	const struct gpu_append append = {.kv = kv, .k = b->kv, .norm = b->m->kv_norm, .eps = LORA_EPS, .H = H, .width = qk,
	    .q = b->q, .query = b->query, .cosine = b->cosine, .sine = b->sine, .half = rope / 2};

	if (l->kv_append(gpu, &append, &b->rows, p) < 0 ||
	    tap(b, taps->q, b->q, (size_t)(H * qk)) < 0 || tap(b, b->kept_kv, b->kv, (size_t)width) < 0 ||
	    l->matmul_t_heads(gpu, b->query, (ptrdiff_t)H * width, width, b->q, (ptrdiff_t)H * qk, qk, n, &b->m->kv_b,
	    0, nope + v, nope, H, p) < 0 ||
	    l->attend(gpu, b->latent, b->max, b->sum, b->query, &b->rows, H, &kv, math->scale, scratch, p) < 0)
		return -1;
	if (taps->probs && (l->probs(gpu, b->g->probs.p, taps->positions, b->max, b->sum, b->query, &b->rows, H, &kv,
	    math->scale, p) < 0 || tap(b, taps->probs, b->g->probs.p, (size_t)H * taps->positions) < 0))
		return -1;
	return l->matmul_heads(gpu, b->v, (ptrdiff_t)H * v, v, b->latent, (ptrdiff_t)H * R, R, n, &b->m->kv_b,
	    nope, nope + v, v, H, p) < 0 || tap(b, b->kept_v, b->v, (size_t)(H * v)) < 0 ? -1 : 0;
}

/* What is made here of what the GPU computed.  A head's part of the output is a tap only, so it is not worth a kernel: the
 * CPU multiplies the GPU's values with the mapped weights. */
static int
block_taps(const struct block *b, struct mla_math *math, const struct mla_taps *taps)
{
	size_t n = (size_t)b->rows.n, R = (size_t)b->c->kv_lora_rank, rope = (size_t)b->c->qk_rope_head_dim;

	if (device_wait(b->d) < 0)
		return -1;
	for (size_t t = 0; t < n && taps->latent; t++)
		memcpy(taps->latent + t * R, b->kept_kv + t * (R + rope), R * sizeof(float));
	for (size_t t = 0; t < n && taps->krope; t++)
		memcpy(taps->krope + t * rope, b->kept_kv + t * (R + rope) + R, rope * sizeof(float));
	return taps->heads ? mla_tap_heads(math, &b->m->mapped_o, b->kept_v, b->rows.n, taps->heads) : 0;
}

/* Room for what the taps need, here and there. */
static int
taps_room(struct block *b, const struct mla_taps *taps)
{
	size_t n = (size_t)b->rows.n, H = (size_t)b->c->num_heads, v = H * (size_t)b->c->v_head_dim;
	size_t width = (size_t)(b->c->kv_lora_rank + b->c->qk_rope_head_dim);
	float *p = scratch_reserve(&b->g->tapped, n * (width + v), sizeof(*p));

	if (!p)
		return -1;
	if (taps->latent || taps->krope)
		b->kept_kv = p;
	if (taps->heads)
		b->kept_v = p + n * width;
	return taps->probs && !device_reserve(b->d, &b->g->probs, n * H * taps->positions * sizeof(float)) ? -1 : 0;
}

static int
block_add(struct attn *a, struct block *b, float *h, const struct mla_taps *taps)
{
	const struct config *c = b->c;
	const struct gpu_lib *l = b->d->lib;
	enum precision p = a->s->k->precision;
	int n = b->rows.n, D = c->hidden_size, H = c->num_heads;
	const struct kv_shape kv = mla_shape(c);
	size_t bytes = l->attend_scratch(b->d->gpu, n, b->rows.most, H, &kv, p);
	char *work = device_reserve(b->d, &b->g->work, block_place(b, (size_t)n, NULL));
	void *scratch = work ? device_reserve(b->d, &b->g->attend, bytes) : NULL;
	int tapped = (a->s->taps & TAPS_ATTN) != 0;

	if (!scratch || (tapped && taps_room(b, taps) < 0))
		return -1;
	block_place(b, (size_t)n, work);
	if (block_inputs(b, h, taps, p) < 0 || block_attend(b, &a->math, taps, scratch, p) < 0 ||
	    l->matmul(b->d->gpu, b->x, D, b->v, (ptrdiff_t)H * c->v_head_dim, n, &b->m->o, p) < 0 ||
	    tap(b, taps->out, b->x, (size_t)D) < 0 || l->add(b->d->gpu, h, b->x, (size_t)n * (size_t)D) < 0) {
		device_fail(b->d, "attention");
		return tapped ? device_settle(b->d) : -1;
	}
	return tapped ? block_taps(b, &a->math, taps) : 0;
}

/* Rows of a block: with probabilities to be shown, as many as leave some memory for other things. */
static int
block_rows(const struct config *c, const struct mla_taps *taps)
{
	size_t row = (size_t)c->num_heads * taps->positions * sizeof(float), most = PROBS / (row + 1);

	return !taps->probs || most > ATTN_GPU_ROWS ? ATTN_GPU_ROWS : most > 0 ? (int)most : 1;
}

int
attn_gpu_add(struct attn *a, int layer, float *h, const struct gpu_rows *r, struct mla_taps *taps)
{
	struct attn_gpu *g = a->gpu;
	const struct config *c = &a->s->model->config;
	const uint32_t *pos = g->pos.host;
	ptrdiff_t half = a->math.rope.half;
	int rows = block_rows(c, taps);

	for (int t = 0; t < r->n; t += rows) {
		struct block b = {.g = g, .d = a->s->gpu, .c = c, .m = &a->layers[layer], .rows = *r};

		b.rows.pos += t;
		b.rows.list += t;
		if (r->n > rows) {
			b.rows.n = r->n - t < rows ? r->n - t : rows;
			b.rows.most = 0;
			for (int i = t; i < t + b.rows.n; i++)
				if ((int)(pos[i] / CACHE_PAGE) >= b.rows.most)
					b.rows.most = (int)(pos[i] / CACHE_PAGE) + 1;
		}
		b.cosine = (float *)g->cosine.p + t * half;
		b.sine = (float *)g->sine.p + t * half;
		if (block_add(a, &b, h + (ptrdiff_t)t * c->hidden_size, taps) < 0)
			return -1;
		attn_taps_advance(a, taps, (size_t)b.rows.n);
	}
	return 0;
}

void
attn_gpu_expect(const struct attn *a)
{
	const struct config *c = &a->s->model->config;
	struct device *d = a->s->gpu;
	struct attention_where where = {1, a->s->k->precision};
	struct block b = {.c = c};

	d->expected += block_place(&b, ATTN_GPU_ROWS, NULL) + ATTN_GPU_SLAB;
	for (int i = 0; i < c->num_layers; i++)
		if (a->s->layers.has[i])
			d->position += attention_of(c)->cache_row(c, where);
}
