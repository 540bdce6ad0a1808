#include "stage/head.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/head_gpu.h"
#include "stage/linear.h"

int
head_open(struct head *h, const struct stage *s)
{
	memset(h, 0, sizeof(*h));
	h->s = s;
	if (!(h->norm = model_vector(s->model, ROLE_FINAL_NORM, -1)) || stage_has_products(s) < 0 ||
	    model_weight(s->model, ROLE_HEAD, -1, -1, &h->weight) < 0)
		return -1;
	return s->gpu ? head_gpu_want(h) : 0;
}

void
head_close(struct head *h)
{
	device_vec_free(h->s->gpu, h->norm);
	scratch_free(&h->rows);
	if (h->s->gpu) {
		device_drop(h->s->gpu, &h->work);
		mirror_free(h->s->gpu, &h->wanted);
	}
}

/* The wanted rows of x, normed, in memory of the stage. */
static float *
normed_rows(struct head *h, const float *x, const int32_t *row, size_t n)
{
	ptrdiff_t D = h->s->model->config.hidden_size;
	float *y = scratch_reserve(&h->rows, n * (size_t)D, sizeof(*y));

	if (!y)
		return NULL;
	for (size_t i = 0; i < n; i++)
		memcpy(y + (ptrdiff_t)i * D, x + row[i] * D, (size_t)D * sizeof(*y));
	linear_norm(h->s, y, D, y, D, (int)n, (int)D, h->norm, h->s->model->config.rms_norm_eps);
	return y;
}

static int
head_rows(struct head *h, struct frame *f, const int32_t *row, size_t n)
{
	const struct config *c = &h->s->model->config;
	uint64_t V = (uint64_t)c->vocab_size, D = (uint64_t)c->hidden_size;
	const float *x = stage_hidden(h->s, f);
	float *y = x ? normed_rows(h, x, row, n) : NULL;
	struct tensor *t;
	float *tap;

	if (!y)
		return -1;
	frame_drop(f, "h");
	if (tap_add(&tap, h->s->taps, TAP_HEAD_NORM, f, -1, 2, (uint64_t[]){n, D}) < 0)
		return -1;
	if (tap)
		memcpy(tap, y, n * D * sizeof(*y));
	if (!(t = frame_add(f, "row", I32, 1, (uint64_t[]){n})))
		return -1;
	memcpy(t->data, row, t->bytes);
	if (!(t = frame_add(f, "logits", F32, 2, (uint64_t[]){n, V})))
		return -1;
	linear(h->s, t->data, (ptrdiff_t)V, y, (ptrdiff_t)D, (int)n, &h->weight);
	frame_set_at(f, AT_SAMPLE, -1);
	return 1;
}

/* A frame that is not for the head: rows for an earlier stage can reach it in a ring only. */
static int
pass_on(const struct head *h, const struct frame *f)
{
	if (f->op != OP_NONE || f->nspans == 0 || f->at == AT_SAMPLE || h->ring)
		return 1;
	return frame_stray(f, " (in a ring give ds-head --ring)");
}

int
head_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct head *h = arg;
	int acts = stage_multiplies(h->s, f, AT_HEAD), layers = h->s->model->config.num_layers, n, r;
	int32_t *row;

	(void)out, (void)nout;
	if (acts <= 0)
		return acts < 0 ? -1 : pass_on(h, f);
	if (f->layer >= 0 && f->layer != layers) /* any layer's stream may be made to wait for the head */
		return fail(FAIL_DATA, "head: layer is %d, must be the number of layers, %d", f->layer, layers);
	n = frame_wanted(f, &row);
	if (n < 0)
		return -1;
	r = h->s->gpu ? head_gpu_rows(h, f, row, (size_t)n) : head_rows(h, f, row, (size_t)n);
	free(row);
	return r;
}
