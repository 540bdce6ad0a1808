#include <math.h>
#include <msgpack.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "frame/text.h"
#include "learn/control.h"
#include "learn/norm.h"
#include "learning/learning_internal.h"

/* --- forward and backward --- */

static int
send_some(struct run *r, const struct batch *b, size_t *from)
{
	size_t n = learn_frame_fit(&r->frames, b, *from);
	struct frame f;
	int s;

	frame_init(&f);
	s = learn_frame_make(&f, &r->frames, &r->pipe, b, *from, n) < 0 ||
	    pipeline_send(&r->pipe, &f) < 0 ? -1 : 0;
	frame_free(&f);
	*from += n;
	return s;
}

/* A sequence of the step has failed, which began with number `first`. */
static int
fail_record(const struct batch *b, uint64_t first, const struct frame *f)
{
	uint64_t i = f->seq - first, line = i < b->n ? b->p[i]->line : 0;

	return fail(FAIL_DATA, line ? "record of line %llu: %s" : "sequence %llu: %s",
	    (unsigned long long)(line ? line : f->seq), f->text);
}

/* Receive frames until one has been through the backward pass. */
static int
await_learned(struct run *r, const struct batch *b, uint64_t first)
{
	struct frame f;
	int s;

	frame_init(&f);
	do {
		s = pipeline_receive(&r->pipe, &f);
		if (s == 0 && f.op == OP_FAILED)
			s = fail_record(b, first, &f);
	} while (s == 0 && f.at != AT_LEARN);
	frame_free(&f);
	return s;
}

/* Whether the record has a gradient.  Where all rewards of a group are equal, all sums are 0; what
 * its rows choose counts for the router's balance. */
static int
teaches(const struct learning_options *o, const struct learn_record *p)
{
	return !p->old || p->advantage != 0 || o->beta > 0 || o->balance > 0;
}

/* Add up the weights of all records, and list the computed ones. */
static int
select_records(const struct run *r, struct step_result *s, struct batch *b)
{
	s->weight = 0;
	for (size_t i = 0; i < r->batch.n; i++) {
		struct learn_record *p = r->batch.p[i];

		for (uint32_t t = 0; t < p->n; t++)
			s->weight += (double)p->weight[t];
		if (!teaches(r->o, p))
			continue;
		if (batch_add(b, p) < 0)
			return -1;
		s->positions += learn_record_rows(p);
	}
	return s->weight > 0 ? 0 : fail(FAIL_DATA, "no token of the step has a weight");
}

static int
learn_all(struct run *r, const struct batch *b)
{
	uint64_t first = r->pipe.sequence;
	size_t from = 0, waiting = 0;

	while (from < b->n || waiting > 0) {
		if (from < b->n && waiting < IN_FLIGHT) {
			if (send_some(r, b, &from) < 0)
				return -1;
			waiting++;
			continue;
		}
		if (await_learned(r, b, first) < 0)
			return -1;
		waiting--;
	}
	return 0;
}

int
step_learn(struct run *r, struct step_result *s)
{
	struct batch b = {0};
	int e = select_records(r, s, &b) < 0 ? -1 : learn_all(r, &b);

	batch_free(&b);
	return e;
}

/* --- the norm --- */

/* Add an entry [who, hi, lo] of `squares`. */
static int
add_square(learn_square *sum, const msgpack_object *o)
{
	const msgpack_object *v = o->via.array.ptr;
	learn_square one;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 3 ||
	    v[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    v[2].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return fail(FAIL_DATA, "norm: an entry of 'squares' is not [who, hi, lo]");
	one = (learn_square)v[1].via.u64 << 64 | v[2].via.u64;
	return __builtin_add_overflow(*sum, one, sum) ?
	    fail(FAIL_DATA, "the gradients' norm is too large") : 0;
}

static int
add_squares(learn_square *sum, const struct frame *f)
{
	const struct frame_key *k = frame_other(f, "squares");
	msgpack_unpacked u;
	int r = 0;

	if (!k)
		return fail(FAIL_DATA,
		    "no stage of the pipeline learns: start its stages with --learn");
	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) !=
	    MSGPACK_UNPACK_SUCCESS || u.data.type != MSGPACK_OBJECT_ARRAY)
		r = fail(FAIL_DATA, "norm: 'squares' is not an array");
	for (uint32_t i = 0; r == 0 && i < u.data.via.array.size; i++)
		r = add_square(sum, &u.data.via.array.ptr[i]);
	msgpack_unpacked_destroy(&u);
	return r;
}

/* Add the squares of the tensors whose sums are in the frame. */
static int
add_shared(struct run *r, learn_square *sum, struct frame *f, double weight)
{
	const struct config *c = &r->model.config;
	uint64_t L = (uint64_t)c->num_layers, D = (uint64_t)c->hidden_size;
	uint64_t V = (uint64_t)c->vocab_size;
	struct tensor *t;

	if (frame_tensor(f, GRAD_MLP_NORM)) {
		if (!(t = frame_require(f, GRAD_MLP_NORM, I64, L, D)))
			return -1;
		for (uint64_t l = 0; l < L; l++)
			if (norm_add(sum, GRAD_MLP_NORM, (int64_t *)t->data + l * D, D, weight,
			    r->pool) < 0)
				return -1;
	}
	if (!frame_tensor(f, GRAD_EMBED))
		return 0;
	if (!(t = frame_require(f, GRAD_EMBED, I64, V, D)))
		return -1;
	return norm_add(sum, GRAD_EMBED, t->data, V * D, weight, r->pool);
}

int
step_norm(struct run *r, uint64_t step, struct step_result *s, struct frame *f)
{
	learn_square sum = 0;

	frame_free(f);
	f->op = OP_NORM;
	f->step.t = step;
	f->step.weight = s->weight;
	f->changed = 1;
	if (pipeline_send(&r->pipe, f) < 0 || pipeline_await(&r->pipe, OP_NORM, f) < 0 ||
	    add_squares(&sum, f) < 0 || add_shared(r, &sum, f, s->weight) < 0 ||
	    metrics_read(f, s) < 0)
		return -1;
	s->norm = norm_root(sum);
	return 0;
}

/* --- the step --- */

/* The learning rate of a step, from 1. */
static double
step_rate(const struct learning_options *o, uint64_t step, uint64_t steps)
{
	double warm = (double)o->warmup, t = (double)step, x;

	if (t <= warm)
		return o->rate * t / warm;
	if (o->schedule == SCHEDULE_CONSTANT)
		return o->rate;
	/* from 1 at the first step after the warm-up to 1 / (n + 1), n steps later */
	x = (t - 1 - warm) / ((double)steps - warm);
	return o->rate * (o->schedule == SCHEDULE_LINEAR ? 1 - x : 0.5 * (1 + fixed_cos(M_PI * x)));
}

/* 1 - beta^step, by the same products on every machine. */
static double
bias(double beta, uint64_t step)
{
	double p = 1;

	for (uint64_t i = 0; i < step && p > 0; i++)
		p *= beta;
	return 1 - p;
}

int
step_apply(struct run *r, uint64_t step, struct step_result *s, struct frame *f)
{
	const struct learning_options *o = r->o;

	s->rate = step_rate(o, step, r->steps);
	frame_drop_other(f, "squares");
	frame_drop_other(f, "loss");
	f->op = OP_STEP;
	f->step = (struct frame_step){.t = step, .weight = s->weight, .rate = s->rate,
	    .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .decay = o->decay,
	    .bias1 = bias(o->beta1, step), .bias2 = bias(o->beta2, step),
	    .factor = o->clip_norm > 0 && s->norm > o->clip_norm ? o->clip_norm / s->norm : 1,
	    .balance = o->balance};
	f->changed = 1;
	return pipeline_send(&r->pipe, f) < 0 || pipeline_await(&r->pipe, OP_STEP, f) < 0 ? -1 : 0;
}
