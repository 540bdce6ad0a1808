/*
 * What --tap shows of attention.  The computation itself reads nothing of it.
 */
#include "attention/attention.h"

int
attention_tap_copy(const struct attention_layers *a, const struct attention_taps *taps,
    enum attention_tap tap, const void *from, size_t n)
{
	float *to = taps->to[tap];

	return to ? a->device->ops->fetch(a->device, to, from, n * sizeof(*to)) : 0;
}

/* Once more over the pages, now that the largest score and the sum of all are known. */
int
attention_tap_probs(struct attention_layers *a, const struct attention_taps *taps,
    const float *max, const float *sum, const float *query, const struct kv_rows *rows,
    const struct kv_shape *kv)
{
	struct device *d = a->device;
	int H = a->model->config.num_heads;
	size_t P = taps->positions, n = (size_t)rows->n * (size_t)H * P;
	float *all;

	if (!taps->to[ATTENTION_PROBS])
		return 0;
	if (!(all = d->ops->reserve(d, &a->probs, n * sizeof(*all))) ||
	    d->ops->probs(d, all, P, max, sum, query, rows, H, kv, a->scale) < 0)
		return -1;
	return attention_tap_copy(a, taps, ATTENTION_PROBS, all, n);
}

struct heads {
	const struct device *d;
	const struct mat *o;
	const float *v;
	int T, H;
	float *parts;           /* [threads][o->cols] */
	float *out;
};

/* Rows from..to-1 of the output matrix, one by one: each is cut into the heads' parts. */
static void
heads_part(void *arg, size_t from, size_t to, int thread)
{
	const struct heads *w = arg;
	const struct kernels *mine = w->d->k, *k = mine->matmul ? mine : kernels_precision(mine,
	    PRECISION_BF16);
	ptrdiff_t H = w->H, D = w->o->rows, v = w->o->cols / H;
	float *row = w->parts + (ptrdiff_t)thread * w->o->cols;
	struct mat parts = {.data = row, .rows = w->H, .cols = (int)v, .dtype = F32};

	for (ptrdiff_t d = (ptrdiff_t)from; d < (ptrdiff_t)to; d++) {
		k->row(row, w->o, (int)d);
		/* (matmul writes at h: that is where head h's d begins) */
		for (int h = 0; h < H; h++)
			k->matmul(w->out + h * D + d - h, H * D, w->v + h * v, H * v, w->T, &parts,
			    h, h + 1);
	}
}

int
attention_tap_heads(struct attention_layers *a, const struct mat *o, const float *v, int T, int H,
    float *heads)
{
	struct pool *pool = a->device->pool;
	struct heads w = {a->device, o, v, T, H, NULL, heads};

	if (!(w.parts = scratch_reserve(&a->parts, (size_t)pool_threads(pool) * (size_t)o->cols,
	    sizeof(*w.parts))))
		return -1;
	pool_run(pool, (size_t)o->rows, 1, (double)T * o->cols, heads_part, &w);
	return 0;
}
