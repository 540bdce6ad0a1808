#include "stage/loss.h"

#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "frame/learn.h"
#include "stage/frame_rows.h"

int
loss_open(struct loss *l, const struct stage *s)
{
	memset(l, 0, sizeof(*l));
	l->s = s;
	return 0;
}

void
loss_close(struct loss *l)
{
	scratch_free(&l->rows);
	scratch_free(&l->terms);
}

/* --- a frame --- */

struct pass {
	struct loss *l;
	const struct frame_learn *learn;
	struct frame *f;
	struct loss_rule rule;
	int V;
	struct logit_rows rows;
	const int32_t *target;          /* [T] */
	const float *weight, *advantage, *old, *reference;      /* [T], or NULL */
	struct loss_term *terms;        /* [W] */
	unsigned char *bad;             /* [W]: terms[i] could not be computed */
	float *scratch;                 /* [threads][V] */
};

static const char *const consumed[] = {"learn.target", "learn.weight", "learn.advantage",
    "learn.old", "learn.reference"};

#define row_fail(f, t, ...) \
	(fail_keep(FAIL_DATA, __VA_ARGS__), row_prefix(f, t))

/* Put the record's line, or else the sequence, in front of the message.  Always -1. */
static int
record_prefix(const struct frame *f, uint64_t seq)
{
	uint64_t line = frame_learn_line(f, seq);

	return fail_in(line ? "record of line %llu" : "sequence %llu",
	    (unsigned long long)(line ? line : seq));
}

/* The same, with the row's position. */
static int
row_prefix(const struct frame *f, uint32_t t)
{
	struct span s = row_at(f, t);

	(void)fail_in("position %u", s.pos);
	return record_prefix(f, s.seq);
}

/* A tensor of the rows; it may be missing if it is not needed.  0, or -1 and a message. */
static int
get_rows(struct pass *p, const char *name, enum dtype t, int needed, void *to)
{
	const struct tensor *x;

	if (!needed && !frame_tensor(p->f, name))
		return 0;
	if (!(x = frame_require(p->f, name, t, p->f->rows, 0)))
		return -1;
	memcpy(to, &x->data, sizeof(x->data));
	return 0;
}

/* Every target is a token, and its row has logits. */
static int
check_targets(const struct pass *p)
{
	int i = 0;

	for (uint32_t t = 0; t < p->f->rows; t++) {
		int here = i < p->rows.n && p->rows.row[i] == (int32_t)t;

		i += here;
		if (p->target[t] < -1 || p->target[t] >= p->V)
			return row_fail(p->f, t,
			    "learn.target is %d: tokens are 0 to %d, -1 is none", p->target[t],
			    p->V - 1);
		if (p->target[t] >= 0 && !here)
			return row_fail(p->f, t,
			    "it has a target but no logits: its span must have flag 2");
	}
	return 0;
}

static int
pass_open(struct pass *p)
{
	struct frame *f = p->f;
	size_t threads = (size_t)pool_threads(p->l->s->pool), n;

	p->rule = (struct loss_rule){.policy = frame_tensor(f, "learn.advantage") != NULL,
	    .reference = frame_tensor(f, "learn.reference") != NULL, .low = INFINITY,
	    .high = INFINITY, .beta = p->learn->beta};
	if (p->learn->has_clip) {
		p->rule.low = p->learn->clip[0];
		p->rule.high = p->learn->clip[1];
	}
	if (logit_rows_read(&p->rows, f, "logits", p->V) < 0 ||
	    get_rows(p, "learn.target", I32, 1, &p->target) < 0 ||
	    get_rows(p, "learn.weight", F32, !p->learn->score, &p->weight) < 0 ||
	    get_rows(p, "learn.advantage", F32, 0, &p->advantage) < 0 ||
	    get_rows(p, "learn.old", F32, p->rule.policy, &p->old) < 0 ||
	    get_rows(p, "learn.reference", F32, p->rule.beta > 0, &p->reference) < 0 ||
	    check_targets(p) < 0)
		return -1;
	n = (size_t)p->rows.n;
	p->scratch = scratch_reserve(&p->l->rows, threads * (size_t)p->V, sizeof(*p->scratch));
	p->terms = scratch_reserve(&p->l->terms, n + 1, sizeof(*p->terms) + 1);
	if (!p->scratch || !p->terms)
		return -1;
	p->bad = (unsigned char *)(p->terms + n);
	return 0;
}

/* What row i of those with logits learns; its weight is 0 if it predicts nothing. */
static struct loss_row
row_of(const struct pass *p, int i)
{
	int32_t t = p->rows.row[i];
	struct loss_row r = {.target = p->target[t], .weight = p->weight ? p->weight[t] : 1};

	if (r.target < 0)
		r.weight = 0;
	if (p->rule.policy) {
		r.advantage = p->advantage[t];
		r.old = p->old[t];
	}
	if (p->rule.reference)
		r.reference = p->reference[t];
	return r;
}

/* 0, or -1 and a message of this thread. */
static int
row_add(const struct pass *p, int i, int thread)
{
	float *x = p->rows.x + (ptrdiff_t)i * p->V;
	struct loss_row r = row_of(p, i);
	struct span at = row_at(p->f, (uint32_t)p->rows.row[i]);

	if (r.weight != 0)
		return loss_row(p->l->s->k, &p->rule, &r, x, p->V,
		    p->scratch + (ptrdiff_t)thread * p->V, at.pos, &p->terms[i]);
	memset(x, 0, (size_t)p->V * sizeof(*x));
	p->terms[i] = (struct loss_term){0};
	return 0;
}

static void
rows_part(void *arg, size_t from, size_t to, int thread)
{
	const struct pass *p = arg;

	for (size_t i = from; i < to; i++)
		p->bad[i] = row_add(p, (int)i, thread) < 0;
}

static void
sums_add(struct loss *l, const struct pass *p)
{
	for (int i = 0; i < p->rows.n; i++) {
		float w = row_of(p, i).weight;

		if (w != 0)
			loss_sums_add(&l->sums, w, &p->terms[i]);
	}
}

/* --- what the frame becomes --- */

/* The log-probabilities of the targets in place of logits. */
static int
add_logprobs(const struct pass *p)
{
	struct tensor *t = frame_add(p->f, "learn.logprob", F32, 1,
	    (uint64_t[]){p->f->rows});
	float *to;

	if (!t)
		return -1;
	to = t->data;
	memset(to, 0, t->bytes);
	for (int i = 0; i < p->rows.n; i++)
		to[p->rows.row[i]] = p->terms[i].logprob;
	frame_drop(p->f, "logits");
	frame_drop(p->f, "row");
	return 0;
}

static int
loss_batch(struct loss *l, struct frame *f, const struct frame_learn *learn)
{
	struct pass p = {.l = l, .f = f, .learn = learn, .V = l->s->model->config.vocab_size};

	if (f->precision != PRECISION_F32)
		return fail(FAIL_DATA, "the frame is of precision %s: only f32 is learned in",
		    precision_name(f->precision));
	if (pass_open(&p) < 0)
		return -1;
	pool_run(l->s->pool, (size_t)p.rows.n, 1, 32.0 * p.V, rows_part, &p);
	for (int i = 0; i < p.rows.n; i++)
		if (p.bad[i] && row_add(&p, i, 0) < 0)          /* for the message */
			return record_prefix(f, row_at(f, (uint32_t)p.rows.row[i]).seq);
	if (learn->score) {
		if (add_logprobs(&p) < 0)
			return -1;
	} else {
		sums_add(l, &p);
		frame_tensor(f, "logits")->name = "logits.grad";        /* in place */
	}
	for (size_t i = 0; i < sizeof(consumed) / sizeof(*consumed); i++)
		frame_drop(f, consumed[i]);
	frame_set_at(f, learn->score ? AT_LEARN : AT_HEAD_BACK, -1);
	return 1;
}

int
loss_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct loss *l = arg;
	struct frame_learn learn;
	int acts;

	(void)out, (void)nout;
	if (f->op == OP_NORM)
		return loss_report(l, f) < 0 ? -1 : 1;
	if ((acts = stage_acts(l->s, f, AT_SAMPLE)) <= 0)
		return acts < 0 ? -1 : 1;
	if ((acts = frame_learn(f, &learn)) <= 0)
		return acts < 0 ? -1 : 1;
	return loss_batch(l, f, &learn);
}
