#include "stage/head.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "device/ops.h"
#include "stage/head_back.h"
#include "stage/keep.h"

/* of a batch, for which a GPU's memory is counted at the start: a token of as many sequences */
#define ROWS 64

int
head_open(struct head *h, const struct stage *s)
{
	const struct config *c = &s->model->config;

	memset(h, 0, sizeof(*h));
	h->s = s;
	if (!(h->norm = model_vector(s->model, ROLE_FINAL_NORM, -1)) || stage_has_products(s) < 0 ||
	    model_weight(s->model, ROLE_HEAD, -1, -1, &h->weight) < 0)
		return -1;
	s->device->expected += ROWS * ((uint64_t)c->hidden_size + (uint64_t)c->vocab_size) *
	    sizeof(float);
	if (device_register_vec(s->device, &h->norm, (size_t)c->hidden_size) < 0 ||
	    device_register(s->device, &h->weight) < 0)
		return -1;
	return s->learn ? head_learn(h) : 0;
}

void
head_close(struct head *h)
{
	struct device *d = h->s->device;

	device_vec_free(d, h->norm);
	d->ops->release(d, &h->rows);
	d->ops->mirror_free(d, &h->wanted);
	head_forget(h);
}

/* The wanted rows of x, normed, in memory of the stage.  NULL and a message. */
static float *
normed_rows(struct head *h, const float *x, const int32_t *row, size_t n)
{
	const struct config *c = &h->s->model->config;
	struct device *d = h->s->device;
	const struct ops *ops = d->ops;
	int D = c->hidden_size;
	float *y = ops->reserve(d, &h->rows, n * (size_t)D * sizeof(*y));

	if (!y || n == 0)
		return y;
	if (ops->mirror(d, &h->wanted, row, n * sizeof(*row)) < 0 ||
	    ops->gather(d, y, x, h->wanted.p, (int)n, D) < 0 || ops->norm(d, y, D, y, D, (int)n, D,
	    h->norm, c->rms_norm_eps) < 0)
		return NULL;
	return y;
}

/* The tap head.hidden: all rows of x, normed. */
static int
add_hidden(struct head *h, struct frame *f, const float *x)
{
	const struct config *c = &h->s->model->config;
	struct device *d = h->s->device;
	int D = c->hidden_size;
	float *y = d->ops->reserve(d, &h->rows, f->rows * (size_t)D * sizeof(*y));

	if (!y || (f->rows > 0 && d->ops->norm(d, y, D, x, D, (int)f->rows, D, h->norm,
	    c->rms_norm_eps) < 0))
		return -1;
	return tap_copy(d, h->s->taps, TAP_HEAD_HIDDEN, f, -1, 2,
	    (uint64_t[]){f->rows, (uint64_t)D}, y);
}

/* f's h becomes the logits of the n rows at row. */
static int
head_rows(struct head *h, struct frame *f, const int32_t *row, size_t n)
{
	const struct config *c = &h->s->model->config;
	struct device *d = h->s->device;
	uint64_t V = (uint64_t)c->vocab_size, D = (uint64_t)c->hidden_size;
	const float *x = stage_hidden(h->s, f);
	float *y, *logits;
	struct tensor *t;

	if (!x || (h->s->taps & TAP_BIT(TAP_HEAD_HIDDEN) && add_hidden(h, f, x) < 0) ||
	    !(y = normed_rows(h, x, row, n)))
		return -1;
	frame_drop(f, "h");
	if (tap_copy(d, h->s->taps, TAP_HEAD_NORM, f, -1, 2, (uint64_t[]){n, D}, y) < 0 ||
	    !(t = frame_add(f, "row", I32, 1, (uint64_t[]){n})))
		return -1;
	memcpy(t->data, row, t->bytes);
	if (!(logits = d->ops->tensor_add(d, f, "logits", F32, 2, (uint64_t[]){n, V})))
		return -1;
	if (n > 0 && d->ops->product(d, logits, c->vocab_size, y, c->hidden_size, (int)n,
	    &h->weight, d->k->precision) < 0)
		return -1;
	frame_set_next(f, c->num_layers);
	return 1;
}

/* A frame that is not for the head: rows for an earlier stage can reach it in a ring only. */
static int
pass_on(const struct head *h, const struct frame *f)
{
	if (f->op != OP_NONE || f->nspans == 0 || f->at == AT_SAMPLE || at_is_back(f->at) ||
	    h->ring)
		return 1;
	return frame_stray(f, " (in a ring give ds-head --ring)");
}

int
head_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct head *h = arg;
	int back = stage_learns(h->s, f, AT_HEAD_BACK),
	    acts = back ? back : stage_multiplies(h->s, f, AT_HEAD),
	    layers = h->s->model->config.num_layers, n, r;
	int32_t *row;

	(void)out, (void)nout;
	if (back > 0)
		return head_back(h, f) < 0 ? fail_in("head.back") : 1;
	if (acts <= 0)
		return acts < 0 ? -1 : pass_on(h, f);
	/* any layer's stream may be made to wait for the head */
	if (f->layer >= 0 && f->layer != layers)
		return fail(FAIL_DATA, "head: layer is %d, must be the number of layers, %d",
		    f->layer, layers);
	/* h first: spans may claim more rows than a list of them has room for */
	if (!stage_hidden(h->s, f) || keep_rows(h->s->keep, f, head_kept) < 0 ||
	    (n = frame_logit_rows(f, &row)) < 0)
		return -1;
	r = head_rows(h, f, row, (size_t)n);
	free(row);
	return r;
}
