#include "stage/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/logprob.h"
#include "stage/sample_internal.h"
#include "stage/trace.h"

#define LLU(n) ((unsigned long long)(n))
#define SPANS_OF_ONE 3          /* at most, of those that a span yields */

/* A sequence with sampled rows.  */
struct sample_seq {
	uint64_t seq;
	struct sampling p;
	struct think think;
	uint32_t n;                     /* new tokens so far */
	int stopped;                    /* 1: its last token is one that ends it */
	int failed;                     /* 1: it is not sampled any more */
	char *why;                      /* the cause, if it must still be sent, or NULL */
};

static void
seq_free(struct sample_seq *q)
{
	if (q) {
		think_free(&q->think);
		stops_free(&q->p.stop_text);
		free(q->why);
	}
	free(q);
}

int
sample_open(struct sample *s, const struct stage *stage, const struct sampling *base)
{
	size_t V = (size_t)stage->model->config.vocab_size;

	memset(s, 0, sizeof(*s));
	s->stage = stage;
	s->base = *base;
	s->vocab.model = stage->model->weights.dir;
	s->vocab.size = stage->model->config.vocab_size;
	s->choices = mem_raw(V, sizeof(*s->choices));
	s->weights = mem_raw(V, sizeof(*s->weights));
	return s->choices && s->weights ? think_check(&s->vocab, base) : -1;
}

void
sample_close(struct sample *s)
{
	struct table_slot *t = NULL;

	while ((t = table_next(&s->seqs, t)))
		seq_free(t->value);
	table_free(&s->seqs);
	think_vocab_close(&s->vocab);
	stops_free(&s->base.stop_text);
	free(s->choices);
	free(s->weights);
}

/* --- sequences --- */

static struct sample_seq *
find(struct sample *s, uint64_t seq)
{
	struct sample_seq *q = table_get(&s->seqs, &seq, sizeof(seq));

	if (q)
		return q;
	if (!(q = mem_new(1, sizeof(*q))))
		return NULL;
	q->seq = seq;
	if (sampling_copy(&q->p, &s->base) < 0 ||
	    table_put(&s->seqs, &q->seq, sizeof(q->seq), q) < 0) {
		seq_free(q);
		return NULL;
	}
	return q;
}

static void
forget(struct sample *s, uint64_t seq)
{
	seq_free(table_del(&s->seqs, &seq, sizeof(seq)));
}

/* The sequence fails with the message that fail() keeps; the others go on.  0, or -1 and a
 * message.  */
static int
refuse(struct sample_seq *q)
{
	fail_in("%s", program);
	q->failed = 1;
	return (q->why = strdup(fail_text())) ? 0 : fail(FAIL_SYSTEM, "no memory for a message");
}

static int
read_seqs(struct sample *s, const struct frame *f)
{
	for (int i = 0; i < f->nseqs; i++) {
		struct sample_seq *q = find(s, f->seqs[i].seq);

		if (!q)
			return -1;
		if (!q->failed && sampling_read(&q->p, f->seqs[i].params, f->seqs[i].n) < 0 && refuse(q) < 0)
			return -1;
	}
	return 0;
}

/* --- frames --- */

/* Choose the token at pos, with the thinking budget.  logits are the same afterwards.  0, or -1 and
 * a message.  */
static int
choose(struct sample *s, const struct sample_seq *q, uint32_t pos, float *logits, int32_t *id)
{
	struct think_held held;
	int stuck;

	if ((*id = think_force(&q->think, &s->vocab, &q->p)) >= 0)
		return 0;
	think_hold(&q->think, &s->vocab, &q->p, logits, &held);
	*id = sample_choose(s->stage->k, &q->p, logits, s->stage->model->config.vocab_size,
	    sample_random(q->p.seed, q->p.has_stream ? q->p.stream : q->seq, pos),
	    s->choices, s->weights);
	stuck = held.n > 0 && logits[*id] == -INFINITY;
	think_release(logits, &held);
	return stuck ? fail(FAIL_DATA, "position %u: think_min leaves no possible token", pos) : 0;
}

/* Sample the new token of a span into *to, *id and *logprob, NaN if the sequence asks for none.
 * 1; 0 if the sequence ends without one; -1 and a message.  */
static int
next_token(struct sample *s, struct sample_seq *q, const struct span *at, float *logits,
    struct span *to, int32_t *id, float *logprob)
{
	const struct config *c = &s->stage->model->config;
	uint32_t pos = at->pos + at->n;         /* the new token's */
	double norm = 0;
	int r, ended;

	for (int i = 0; i < c->vocab_size; i++)
		if (!(logits[i] < INFINITY))
			return fail(FAIL_DATA, "position %u: the logit of token %d is %s", pos - 1,
			    i, isnan(logits[i]) ? "not a number" : "infinite");
	if (q->p.max_new <= q->p.had)
		return 0;
	if (q->n == 0 && (r = think_begin(&q->think, &s->vocab, &q->p, pos)) != 0) {
		q->stopped = r > 0;
		return r < 0 ? -1 : 0;
	}
	if (choose(s, q, pos, logits, id) < 0)
		return -1;
	if (q->p.logprobs && logprob_norm(logits, (uint64_t)c->vocab_size, pos - 1, &norm) < 0)
		return -1;
	*logprob = q->p.logprobs ? (float)logprob_of(logits, (uint64_t)*id, norm) : NAN;
	if ((q->stopped = think_add(&q->think, &s->vocab, &q->p, *id)) < 0)
		return -1;
	for (int i = 0; i < q->p.nstop; i++)
		q->stopped |= *id == q->p.stop[i];
	ended = ++q->n >= q->p.max_new - q->p.had || pos >= (uint32_t)c->max_position || q->stopped;
	*to = (struct span){q->seq, pos, 1, ended ? SPAN_LAST : SPAN_SAMPLE};
	s->tokens++;
	return 1;
}

/* The index of the frame's row in the tensor `row`, which lists the rows that have logits; -1: it
 * has none.  */
static int64_t
find_logits(const struct tensor *rows, int32_t row)
{
	const int32_t *r = rows->data;
	int64_t low = 0, high = (int64_t)rows->shape[0] - 1;

	while (low <= high) {
		int64_t mid = (low + high) / 2;

		if (r[mid] == row)
			return mid;
		if (r[mid] < row)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return -1;
}

/* Send the sequence's error, unless it was sent.  */
static int
send_why(struct sample_seq *q, struct link *out, int nout)
{
	struct frame f;
	int r = 0;

	if (!q->why)
		return 0;
	frame_init(&f);
	if ((r = frame_set_failed(&f, q->seq, q->why)) == 0)
		r = stage_send(out, nout, &f);
	frame_free(&f);
	free(q->why);
	q->why = NULL;
	return r;
}

/* The results of one frame.  */
struct pass {
	struct sample *s;
	struct frame *f;
	const struct tensor *rows, *logits;
	const int32_t *ids;             /* [f->rows]; NULL: there are no guesses, and no ds-draft */
	struct tokens t;
	struct trace trace;
	struct link *out;
	int nout;
};

static int
send_pass(struct pass *p)
{
	int r = sample_send(p->s, p->f, &p->t, &p->trace, p->out, p->nout);

	p->t.n = p->t.nids = p->t.nfreed = p->t.has_logprobs = 0;
	return r;
}

/* The logits of row i of a span whose first is `first`.  NULL and a message.  */
static float *
row_logits(const struct pass *p, const struct span *at, uint32_t i, int32_t first)
{
	uint64_t V = (uint64_t)p->s->stage->model->config.vocab_size;
	int64_t k = find_logits(p->rows, first + (int32_t)i);

	if (k >= 0)
		return (float *)p->logits->data + (uint64_t)k * V;
	fail(FAIL_DATA, "sequence %llu: position %u: the frame holds no logits of it", LLU(at->seq),
	    at->pos + i);
	return NULL;
}

/* Append n ids of rows of the frame.  */
static void
add_rows(struct pass *p, int32_t first, uint32_t n)
{
	struct tokens *t = &p->t;

	for (uint32_t i = 0; i < n; i++, t->nids++) {
		t->ids[t->nids] = p->ids[first + (int32_t)i];
		t->logprobs[t->nids] = NAN;
		t->from[t->nids] = first + (int32_t)i;
	}
}

/* The end of what was sampled for a span.  */
struct drawn {
	struct span last;               /* the newest token */
	uint32_t right;                 /* guesses that were right: new tokens before it */
	int r;                          /* 1; 0 the sequence ends without `last`; -1 it has failed,
					 * with a message */
};

/* Append the tokens of a span: after the row that asks for it, in a draft the first, and after each
 * guess that was right.  0, or -1 and a message that ends all.  */
static int
draw(struct pass *p, struct sample_seq *q, const struct span *at, int32_t first, struct drawn *d)
{
	uint32_t i = at->flags & SPAN_DRAFT ? 0 : at->n - 1;
	struct tokens *t = &p->t;

	for (d->right = 0;; d->right++) {
		struct span row = {at->seq, at->pos + i, 1, 0};
		float *logits = row_logits(p, at, i++, first);
		int32_t *id = &t->ids[t->nids];
		float *logprob = &t->logprobs[t->nids];

		if (!logits)
			return -1;
		d->r = q->failed ? -1 : next_token(p->s, q, &row, logits, &d->last, id, logprob);
		if (d->r <= 0)
			return 0;
		t->has_logprobs |= !isnan(*logprob);
		t->from[t->nids++] = -1;
		if (d->last.flags & SPAN_LAST || i == at->n || p->ids[first + (int32_t)i] != *id)
			return 0;
		t->from[t->nids - 1] = first + (int32_t)i;
	}
}

/* Append tokens and spans of a span that asks for a token; with --draft, all its rows that count.
 * 0, or -1 and a message that ends all.  */
static int
add_drawn(struct pass *p, struct sample_seq *q, const struct span *at, int32_t first,
    struct drawn *d)
{
	struct tokens *t = &p->t;
	struct span all = {at->seq, at->pos, at->n, SPAN_HELD};

	if (p->s->draft)
		add_rows(p, first, at->flags & SPAN_DRAFT ? 1 : at->n);
	if (draw(p, q, at, first, d) < 0)
		return -1;
	if (at->flags & SPAN_DRAFT)
		all.n = 1 + d->right;
	all.flags |= d->right > 0 ? SPAN_DRAFT : 0;
	if (p->s->draft)
		t->spans[t->n++] = all;
	else if (d->right > 0)
		t->spans[t->n++] = (struct span){at->seq, at->pos + 1, d->right, SPAN_HELD};
	if (d->r > 0)
		t->spans[t->n++] = d->last;
	return 0;
}

/* A span that asks for a token; its first row in the frame is `first`.  */
static int
sample_span(struct pass *p, const struct span *at, int32_t first)
{
	struct tokens *t = &p->t;
	struct sample_seq *q = find(p->s, at->seq);
	struct drawn d;

	if (!q || add_drawn(p, q, at, first, &d) < 0)
		return -1;
	if (d.r < 0 && !q->failed && refuse(q) < 0)
		return -1;
	if (d.r < 0) {
		if (p->s->ring)         /* its rows have passed all layers, also those that ask for
					 * no token */
			t->spans[t->n++] = (struct span){at->seq, at->pos + at->n, 0, 0};
		/* sequences appear downstream in the order of the spans */
		return q->why && (send_pass(p) < 0 || send_why(q, p->out, p->nout) < 0) ? -1 : 0;
	}
	if (d.r == 0 || d.last.flags & SPAN_LAST) {
		t->freed[t->nfreed++] = (struct freed){at->seq,
		    !q->p.request ? NULL : q->stopped ? "stop" : "length"};
		forget(p->s, at->seq);
	}
	return 0;
}

/* A span that asks for no token.  */
static void
pass_span(struct pass *p, const struct span *at, int32_t first)
{
	struct tokens *t = &p->t;

	if (p->s->draft) {
		add_rows(p, first, at->n);
		t->spans[t->n++] = (struct span){at->seq, at->pos, at->n, SPAN_HELD};
	}
	if (p->s->ring && at->n > 0 && !(at->flags & SPAN_SAMPLE))
		t->spans[t->n++] = (struct span){at->seq, at->pos + at->n, 0, 0};
}

/* Keep the tokens of a span from which the sequence goes on.  0, or -1 and a message.  */
static int
keep_prompt(struct sample *s, struct frame *f, const struct span *at, int32_t row)
{
	struct sample_seq *q = table_get(&s->seqs, &at->seq, sizeof(at->seq));
	const struct tensor *ids;

	if (!q || q->failed || q->n > 0 || !think_replays(&q->p))
		return 0;
	if (!(ids = frame_require(f, "ids", I32, f->rows, 0)))
		return refuse(q);
	if (at->pos + at->n > (uint32_t)s->stage->model->config.max_position) {
		fail(FAIL_DATA, "position %u is after the model's last", at->pos + at->n - 1);
		return refuse(q);
	}
	return think_keep(&q->think, at->pos, (const int32_t *)ids->data + row, at->n);
}

static int
sample_spans(struct pass *p)
{
	int32_t row = 0;

	for (int i = 0; i < p->f->nspans; i++) {
		struct span *at = &p->f->spans[i];

		if (at->n > 0 && keep_prompt(p->s, p->f, at, row) < 0)
			return -1;
		if (p->ids && p->t.n + SPANS_OF_ONE > FRAME_SPANS_MAX && send_pass(p) < 0)
			return -1;
		if (!(at->flags & SPAN_SAMPLE) || at->n == 0)
			pass_span(p, at, row);
		else if (sample_span(p, at, row) < 0)
			return -1;
		row += (int32_t)at->n;
	}
	return send_pass(p);
}

/* Report sequences with wrong parameters that ask for no token yet.  */
static int
send_refused(struct pass *p)
{
	for (int i = 0; i < p->f->nseqs; i++) {
		struct sample_seq *q = table_get(&p->s->seqs, &p->f->seqs[i].seq, sizeof(uint64_t));

		if (q && send_why(q, p->out, p->nout) < 0)
			return -1;
	}
	return 0;
}

static int
by_seq(const void *a, const void *b)
{
	const struct sample_seq *x = *(struct sample_seq *const *)a, *y = *(struct sample_seq *const *)b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

/* At the end of the stream: sequences that got only their first token have no loop.  */
static int
refuse_rest(struct sample *s, struct link *out, int nout)
{
	struct sample_seq **all = mem_raw(s->seqs.n, sizeof(*all));
	struct table_slot *t = NULL;
	size_t n = 0;
	int r = all ? 0 : -1;

	while (all && (t = table_next(&s->seqs, t))) {
		struct sample_seq *q = t->value;

		if (!q->failed && q->n == 1)
			all[n++] = q;
	}
	if (n > 0)
		qsort(all, n, sizeof(*all), by_seq);
	for (size_t i = 0; i < n && r == 0; i++) {
		fail(FAIL_DATA, "it ends after one token, which did not return to ds-embed: is the loop missing?");
		r = refuse(all[i]) < 0 ? -1 : send_why(all[i], out, nout);
	}
	free(all);
	return r;
}

/* Whether ids of the frame's rows are read: for guesses, and for ds-draft.  */
static int
reads_ids(const struct sample *s, const struct frame *f)
{
	int r = s->draft;

	for (int i = 0; i < f->nspans && !r; i++)
		r = (f->spans[i].flags & SPAN_DRAFT) != 0;
	return r;
}

/* The tensors of a frame, and room for what it yields.  0, or -1 and a message.  */
static int
pass_open(struct pass *p)
{
	struct frame *f = p->f;
	struct tokens *t = &p->t;
	size_t n = (size_t)f->nspans, spans = SPANS_OF_ONE * n;
	const struct tensor *ids;

	p->rows = frame_tensor(f, "row");
	if (!p->rows || p->rows->rank != 1 || p->rows->dtype != I32)
		return fail(FAIL_DATA, "the frame has no tensor 'row' of rank 1 and dtype I32");
	if (!(p->logits = frame_require(f, "logits", F32, p->rows->shape[0],
	    (uint64_t)p->s->stage->model->config.vocab_size)))
		return -1;
	if (reads_ids(p->s, f)) {
		if (!(ids = frame_require(f, "ids", I32, f->rows, 0)))
			return -1;
		p->ids = ids->data;
		n += f->rows;
	}
	t->spans = mem_raw(spans, sizeof(*t->spans));
	t->ids = mem_raw(n, sizeof(*t->ids));
	t->from = mem_raw(n, sizeof(*t->from));
	t->logprobs = mem_raw(n, sizeof(*t->logprobs));
	t->freed = mem_raw((size_t)f->nspans, sizeof(*t->freed));
	return t->spans && t->ids && t->from && t->logprobs && t->freed ? 0 : -1;
}

static int
sample_rows(struct sample *s, struct frame *f, const struct trace *trace, struct link *out, int nout)
{
	struct pass p = {.s = s, .f = f, .trace = *trace, .out = out, .nout = nout};
	int r = pass_open(&p);

	if (r == 0)
		r = read_seqs(s, f);
	if (r == 0 && (r = sample_spans(&p)) == 0)
		r = send_refused(&p);
	free(p.t.spans);
	free(p.t.ids);
	free(p.t.from);
	free(p.t.logprobs);
	free(p.t.freed);
	return r;
}

int
sample_frame(void *sample, struct frame *f, struct link *out, int nout)
{
	struct sample *s = sample;
	struct trace trace = trace_begin(f);
	int r = stage_acts(s->stage, f, AT_SAMPLE);

	if (frame_frees(f))
		forget(s, f->seq);
	if (f->op == OP_FREE || f->op == OP_FORK) {
		if (s->draft)           /* ds-draft has a cache, too */
			frame_set_at(f, AT_DRAFT, -1);
		return s->draft;        /* caches have handled it */
	}
	if (f->op == OP_END && refuse_rest(s, out, nout) < 0)
		return -1;
	if (f->op != OP_NONE || r < 0)
		return r < 0 ? -1 : 1;
	if (r == 0 && s->ring && f->at != AT_OTHER)
		return 1;
	if (r == 0)
		return f->nspans == 0 ? 0 : frame_stray(f, s->ring ? "" : " (in a ring give ds-sample --ring)");
	return sample_rows(s, f, &trace, out, nout);
}
