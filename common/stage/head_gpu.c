#include "stage/head_gpu.h"

#include <string.h>

#include "device/tensor.h"
#include "stage/tap_gpu.h"

#define ROWS 64         /* a token of so many sequences */

int
head_gpu_want(struct head *h)
{
	const struct config *c = &h->s->model->config;
	struct device *d = h->s->gpu;

	d->expected += ROWS * ((uint64_t)c->hidden_size + (uint64_t)c->vocab_size) * sizeof(float);
	return device_want_vec(d, &h->norm, (size_t)c->hidden_size) < 0 ? -1 : device_want(d, &h->weight);
}

/* The wanted rows of x, normed, in memory of the stage.  NULL and a message. */
static float *
normed_rows(struct head *h, const float *x, const int32_t *row, size_t n)
{
	const struct config *c = &h->s->model->config;
	struct device *d = h->s->gpu;
	int D = c->hidden_size;
	float *y = device_need(d, &h->work, (n + 1) * (size_t)D * sizeof(*y));        /* (of no rows, too) */

	if (!y || n == 0)
		return y;
	if (mirror_set(d, &h->wanted, row, n * sizeof(*row)) < 0)
		return NULL;
	if (d->lib->gather(d->gpu, y, x, h->wanted.p, (int)n, D) < 0 ||
	    d->lib->rmsnorm(d->gpu, y, D, y, D, (int)n, D, h->norm, c->rms_norm_eps) < 0) {
		device_fail(d, "the head's norm");
		return NULL;
	}
	return y;
}

int
head_gpu_rows(struct head *h, struct frame *f, const int32_t *row, size_t n)
{
	const struct config *c = &h->s->model->config;
	struct device *d = h->s->gpu;
	uint64_t V = (uint64_t)c->vocab_size, D = (uint64_t)c->hidden_size;
	const float *x = stage_hidden_gpu(h->s, f);
	float *y = x ? normed_rows(h, x, row, n) : NULL, *logits;
	struct tensor *t;

	if (!y)
		return -1;
	frame_drop(f, "h");
	if (tap_gpu_copy(h->s, TAP_HEAD_NORM, f, -1, 2, (uint64_t[]){n, D}, y) < 0 ||
	    !(t = frame_add(f, "row", I32, 1, (uint64_t[]){n})))
		return -1;
	memcpy(t->data, row, t->bytes);
	if (!(logits = device_add(d, f, "logits", F32, 2, (uint64_t[]){n, V})))
		return -1;
	if (n > 0 && d->lib->matmul(d->gpu, logits, c->vocab_size, y, c->hidden_size, (int)n, &h->weight, h->s->k->precision) < 0)
		return device_fail(d, "the head");
	frame_set_at(f, AT_SAMPLE, -1);
	return 1;
}
