#include "stage/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/sample_internal.h"
#include "stage/trace.h"

#define LLU(n) ((unsigned long long)(n))
#define SPANS_OF_ONE 3          /* at most, that a span yields */

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
		sample_seq_free(t->value);
	table_free(&s->seqs);
	think_vocab_close(&s->vocab);
	stops_free(&s->base.stop_text);
	free(s->choices);
	free(s->weights);
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
		d->r = q->failed ? -1 : sample_seq_next(p->s, q, &row, logits, &d->last, id, logprob);
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
	struct sample_seq *q = sample_seq_find(p->s, at->seq);
	struct drawn d;

	if (!q || add_drawn(p, q, at, first, &d) < 0)
		return -1;
	if (d.r < 0 && !q->failed && sample_seq_refuse(q) < 0)
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
		sample_seq_forget(p->s, at->seq);
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

static int
sample_spans(struct pass *p)
{
	int32_t row = 0;

	for (int i = 0; i < p->f->nspans; i++) {
		struct span *at = &p->f->spans[i];

		if (at->n > 0 && sample_seq_keep(p->s, p->f, at, row) < 0)
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
		r = sample_seq_refuse(all[i]) < 0 ? -1 : send_why(all[i], out, nout);
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
		r = sample_seq_read(s, f);
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
		sample_seq_forget(s, f->seq);
	if (f->op == OP_FREE || f->op == OP_FORK) {
		if (s->draft)           /* ds-draft has a cache, too */
			frame_set_at(f, AT_DRAFT, -1);
		return s->draft;        /* caches have handled it */
	}
	if (f->op == OP_END && refuse_rest(s, out, nout) < 0)
		return -1;
	if (f->op != OP_NONE || r < 0)
		return r < 0 ? -1 : 1;
	if (r == 0 && (at_is_back(f->at) || (s->ring && f->at != AT_OTHER)))
		return 1;
	if (r == 0)
		return f->nspans == 0 ? 0 : frame_stray(f, s->ring ? "" : " (in a ring give ds-sample --ring)");
	if (frame_other(f, "learn"))
		return fail(FAIL_DATA, "sample: the frame is to learn from: give the line ds-loss");
	return sample_rows(s, f, &trace, out, nout);
}
