/*
 * What --tap shows of attention.  Nothing here is read by the computation itself.
 */
#include <string.h>

#include "attention/mla_work.h"

/* The queries, their rotated part from where it was rotated. */
static void
copy_queries(const struct work *w)
{
	size_t rope = (size_t)w->c->qk_rope_head_dim, nope = (size_t)w->c->qk_nope_head_dim, qk = nope + rope;
	size_t R = (size_t)w->c->kv_lora_rank, n = (size_t)w->r->n * (size_t)w->c->num_heads;

	for (size_t i = 0; i < n; i++) {
		memcpy(w->taps->q + i * qk, w->q + i * qk, nope * sizeof(float));
		memcpy(w->taps->q + i * qk + nope, w->query + i * (R + rope) + R, rope * sizeof(float));
	}
}

void
mla_tap_rows(const struct work *w)
{
	const struct mla_taps *taps = w->taps;
	size_t n = (size_t)w->r->n, R = (size_t)w->c->kv_lora_rank, rope = (size_t)w->c->qk_rope_head_dim;

	if (taps->norm)
		memcpy(taps->norm, w->x, n * (size_t)w->c->hidden_size * sizeof(float));
	if (taps->q)
		copy_queries(w);
	for (size_t t = 0; t < n; t++) {
		const float *kv = w->r->kv[t];

		if (taps->latent)
			memcpy(taps->latent + t * R, kv, R * sizeof(float));
		if (taps->krope)
			memcpy(taps->krope + t * rope, kv + R, rope * sizeof(float));
	}
}

/* Once more over the pages, now that the largest score and the sum of all are known. */
void
mla_tap_probs(const struct work *w, size_t t, int h, int n, float *mine, const float *max, const float *sum)
{
	const struct kernels *k = w->a->s->k;
	int H = w->c->num_heads, width = w->c->kv_lora_rank + w->c->qk_rope_head_dim;
	size_t P = w->taps->positions;
	float *out = w->taps->probs + (t * (size_t)H + (size_t)h) * P;
	uint32_t held = w->r->pos[t] + 1;

	for (uint32_t at = 0; at < held; at += CACHE_PAGE) {
		int rows = held - at < CACHE_PAGE ? (int)(held - at) : CACHE_PAGE;
		struct mat page = {.data = cache_rows(w->r->seq[t], at / CACHE_PAGE), .rows = rows,
		    .cols = width, .dtype = F32};

		k->matmul(mine, CACHE_PAGE, w->query + ((ptrdiff_t)t * H + h) * width, width, n, &page, 0, rows);
		for (int i = 0; i < n; i++) {
			float *p = mine + i * CACHE_PAGE, bmax, bsum, factor;

			k->softmax_block(p, rows, w->a->scale, &bmax, &bsum);
			factor = bmax - max[i];
			k->exp(&factor, 1);
			k->scale(p, factor / sum[i], rows);
			memcpy(out + (size_t)i * P + at, p, (size_t)rows * sizeof(*p));
		}
	}
	for (int i = 0; i < n; i++)
		memset(out + (size_t)i * P + held, 0, (P - held) * sizeof(*out));
}

struct heads {
	struct mla_math *a;
	const struct mat *o;
	const float *v;
	int T;
	float *out;
};

/* Rows from..to-1 of the output matrix, one by one: each is cut into the heads' parts. */
static void
heads_out(void *arg, size_t from, size_t to, int thread)
{
	const struct heads *w = arg;
	const struct kernels *mine = w->a->s->k, *k = mine->matmul ? mine : kernels_precision(mine, PRECISION_BF16);
	const struct config *c = &w->a->s->model->config;
	int H = c->num_heads, v = c->v_head_dim;
	ptrdiff_t D = c->hidden_size;
	float *row = (float *)w->a->parts.p + (ptrdiff_t)thread * H * v;
	struct mat parts = {.data = row, .rows = H, .cols = v, .dtype = F32};

	for (ptrdiff_t d = (ptrdiff_t)from; d < (ptrdiff_t)to; d++) {
		k->row(row, w->o, (int)d);
		for (int h = 0; h < H; h++)     /* (matmul writes at h: that is where head h's d begins) */
			k->matmul(w->out + h * D + d - h, H * D, w->v + (ptrdiff_t)h * v, (ptrdiff_t)H * v,
			    w->T, &parts, h, h + 1);
	}
}

int
mla_tap_heads(struct mla_math *a, const struct mat *o, const float *v, int T, float *heads)
{
	size_t Hv = (size_t)o->cols;
	struct heads w = {a, o, v, T, heads};

	if (!scratch_reserve(&a->parts, (size_t)pool_threads(a->s->pool) * Hv, sizeof(float)))
		return -1;
	pool_run(a->s->pool, (size_t)o->rows, 1, (double)T * (double)Hv, heads_out, &w);
	return 0;
}

int
mla_tap_out(const struct work *w)
{
	if (w->taps->out)
		memcpy(w->taps->out, w->x, (size_t)w->r->n * (size_t)w->c->hidden_size * sizeof(float));
	return w->taps->heads ? mla_tap_heads(w->a, &w->m->o, w->v, w->r->n, w->taps->heads) : 0;
}
