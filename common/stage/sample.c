#include "stage/sample.h"

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/logprob.h"
#include "stage/trace.h"

#define LLU(n) ((unsigned long long)(n))

/* A sequence with sampled rows.  */
struct sample_seq {
	uint64_t seq;
	struct sampling p;
	uint32_t n;                     /* new tokens so far */
	int stopped;                    /* 1: its last token is one that ends it */
	int failed;                     /* 1: it is not sampled any more */
	char *why;                      /* the cause, if it must still be sent, or NULL */
};

static void
seq_free(struct sample_seq *q)
{
	if (q)
		free(q->why);
	free(q);
}

int
sample_open(struct sample *s, const struct stage *stage, const struct sampling *base)
{
	size_t V = (size_t)stage->model->config.vocab_size;

	memset(s, 0, sizeof(*s));
	s->stage = stage;
	s->base = *base;
	s->choices = mem_raw(V, sizeof(*s->choices));
	s->weights = mem_raw(V, sizeof(*s->weights));
	return s->choices && s->weights ? 0 : -1;
}

void
sample_close(struct sample *s)
{
	struct table_slot *t = NULL;

	while ((t = table_next(&s->seqs, t)))
		seq_free(t->value);
	table_free(&s->seqs);
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
	q->p = s->base;
	if (table_put(&s->seqs, &q->seq, sizeof(q->seq), q) < 0) {
		free(q);
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

/* Sample the new token of a span into *to, *id and *logprob, NaN if the sequence asks for none.
 * 1; 0 if the sequence ends without one; -1 and a message.  */
static int
next_token(struct sample *s, struct sample_seq *q, const struct span *at, const float *logits,
    struct span *to, int32_t *id, float *logprob)
{
	const struct config *c = &s->stage->model->config;
	uint32_t pos = at->pos + at->n;         /* the new token's */
	double norm = 0;
	int ended;

	for (int i = 0; i < c->vocab_size; i++)
		if (isnan(logits[i]))
			return fail(FAIL_DATA, "position %u: the logit of token %d is not a number", pos - 1, i);
	if (q->p.max_new <= q->p.had)
		return 0;
	*id = sample_choose(s->stage->k, &q->p, logits, c->vocab_size,
	    sample_random(q->p.seed, q->p.has_stream ? q->p.stream : q->seq, pos),
	    s->choices, s->weights);
	if (q->p.logprobs && logprob_norm(logits, (uint64_t)c->vocab_size, pos - 1, &norm) < 0)
		return -1;
	*logprob = q->p.logprobs ? (float)logprob_of(logits, (uint64_t)*id, norm) : NAN;
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

struct freed {
	uint64_t seq;
	const char *reason;             /* NULL: not asked for */
};

/* The tokens sampled from the logits of a frame.  */
struct tokens {
	struct span *spans;
	int32_t *ids;
	float *logprobs;                /* [nids] */
	int has_logprobs;               /* 1: one of them is not NaN */
	struct freed *freed;
	int n, nids, nfreed;
};

static int
carry_trace(struct frame *to, const struct frame *from, const struct trace *trace)
{
	return !trace->start ? 0 : trace_merge(to, from) < 0 ? -1 : trace_add(to, -1, trace->start, trace->bytes);
}

static int
add_tokens(struct frame *g, const struct tokens *t)
{
	const uint64_t shape[] = {(uint64_t)t->nids};
	struct tensor *ids = frame_add(g, "ids", I32, 1, shape), *logprob;

	if (!ids)
		return -1;
	memcpy(ids->data, t->ids, ids->bytes);
	if (!t->has_logprobs)
		return 0;
	if (!(logprob = frame_add(g, "logprob", F32, 1, shape)))
		return -1;
	memcpy(logprob->data, t->logprobs, logprob->bytes);
	return 0;
}

static void
pack_pair(msgpack_packer *k, const char *key, const char *text)
{
	msgpack_pack_str_with_body(k, key, strlen(key));
	msgpack_pack_str_with_body(k, text, strlen(text));
}

/* The end of a sequence; that of a request names the reason, and what has computed the answer.  */
static int
set_free(struct frame *g, const struct frame *f, const struct freed *freed)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	int r;

	g->op = OP_FREE;
	g->seq = freed->seq;
	if (!freed->reason)
		return 0;
	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_map(&k, 3);
	pack_pair(&k, "reason", freed->reason);
	pack_pair(&k, "model", f->model);
	pack_pair(&k, "precision", precision_name(f->precision));
	r = frame_set_other(g, "ended", b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

/* One frame with the new tokens, then `free` for those that ended.  */
static int
send_tokens(const struct frame *f, const struct tokens *t, const struct trace *trace, struct link *out, int nout)
{
	struct frame g;
	int r = 0;

	frame_init(&g);
	if (t->n > 0) {
		frame_set_at(&g, AT_EMBED, -1);
		memcpy(g.model, f->model, sizeof(g.model));
		r = frame_set_spans(&g, t->spans, t->n);
		if (r == 0)
			r = add_tokens(&g, t);
		if (r == 0 && (r = carry_trace(&g, f, trace)) == 0)
			r = stage_send(out, nout, &g);
	}
	for (int i = 0; i < t->nfreed && r == 0; i++) {
		frame_free(&g);
		if ((r = set_free(&g, f, &t->freed[i])) == 0)
			r = stage_send(out, nout, &g);
	}
	frame_free(&g);
	return r;
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
	struct tokens t;
	struct trace trace;
	struct link *out;
	int nout;
};

static int
send_pass(struct pass *p)
{
	int r = send_tokens(p->f, &p->t, &p->trace, p->out, p->nout);

	p->t.n = p->t.nids = p->t.nfreed = p->t.has_logprobs = 0;
	return r;
}

/* A span that asks for a token, with its logits.  */
static int
sample_span(struct pass *p, const struct span *at, const float *logits)
{
	struct tokens *t = &p->t;
	struct span *to = &t->spans[t->n];
	struct sample_seq *q = find(p->s, at->seq);
	int r;

	if (!q)
		return -1;
	r = q->failed ? -1 :
	    next_token(p->s, q, at, logits, to, &t->ids[t->nids], &t->logprobs[t->nids]);
	if (r < 0 && !q->failed && refuse(q) < 0)
		return -1;
	if (r < 0) {
		if (p->s->ring)         /* its rows have passed all layers, also those that ask for
					 * no token */
			t->spans[t->n++] = (struct span){at->seq, at->pos + at->n, 0, 0};
		/* sequences appear downstream in the order of the spans */
		return q->why && (send_pass(p) < 0 || send_why(q, p->out, p->nout) < 0) ? -1 : 0;
	}
	if (r == 0 || to->flags & SPAN_LAST) {
		t->freed[t->nfreed++] = (struct freed){at->seq,
		    !q->p.request ? NULL : q->stopped ? "stop" : "length"};
		forget(p->s, at->seq);
	}
	t->has_logprobs |= r > 0 && !isnan(t->logprobs[t->nids]);
	t->n += r;
	t->nids += r;
	return 0;
}

static int
sample_spans(struct pass *p)
{
	struct frame *f = p->f;
	uint64_t V = (uint64_t)p->s->stage->model->config.vocab_size;
	struct tensor *rows = frame_tensor(f, "row"), *logits;
	int32_t row = 0;

	if (!rows || rows->rank != 1 || rows->dtype != I32)
		return fail(FAIL_DATA, "the frame has no tensor 'row' of rank 1 and dtype I32");
	if (!(logits = frame_require(f, "logits", F32, rows->shape[0], V)))
		return -1;
	for (int i = 0; i < f->nspans; i++) {
		struct span *at = &f->spans[i];
		int64_t k;

		row += (int32_t)at->n;
		if (p->s->ring && at->n > 0 && !(at->flags & SPAN_SAMPLE))
			p->t.spans[p->t.n++] = (struct span){at->seq, at->pos + at->n, 0, 0};
		if (!(at->flags & SPAN_SAMPLE) || at->n == 0)
			continue;
		if ((k = find_logits(rows, row - 1)) < 0)
			return fail(FAIL_DATA, "sequence %llu: position %u: the frame holds no logits of it", LLU(at->seq), at->pos + at->n - 1);
		if (sample_span(p, at, (float *)logits->data + (uint64_t)k * V) < 0)
			return -1;
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

static int
sample_rows(struct sample *s, struct frame *f, const struct trace *trace, struct link *out, int nout)
{
	struct pass p = {.s = s, .f = f, .trace = *trace, .out = out, .nout = nout};
	struct tokens *t = &p.t;
	int r;

	t->spans = mem_raw((size_t)f->nspans, sizeof(*t->spans));
	t->ids = mem_raw((size_t)f->nspans, sizeof(*t->ids));
	t->logprobs = mem_raw((size_t)f->nspans, sizeof(*t->logprobs));
	t->freed = mem_raw((size_t)f->nspans, sizeof(*t->freed));
	r = t->spans && t->ids && t->logprobs && t->freed ? read_seqs(s, f) : -1;
	if (r == 0 && (r = sample_spans(&p)) == 0)
		r = send_refused(&p);
	free(t->spans);
	free(t->ids);
	free(t->logprobs);
	free(t->freed);
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
	if (f->op == OP_FREE || f->op == OP_FORK)
		return 0;               /* caches have handled it */
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
