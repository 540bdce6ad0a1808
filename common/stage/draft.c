#include "stage/draft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/draft_internal.h"
#include "stage/tap.h"

int
draft_by_name(const char *name, enum draft_by *by)
{
	static const char *const names[] = {[DRAFT_MTP] = "mtp", [DRAFT_PROMPT] = "prompt"};

	for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++)
		if (strcmp(name, names[i]) == 0) {
			*by = (enum draft_by)i;
			return 0;
		}
	return -1;
}

int
draft_open(struct draft *d, const struct stage *s, const struct draft_options *o)
{
	memset(d, 0, sizeof(*d));
	d->s = s;
	d->o = *o;
	return o->by == DRAFT_MTP ? mtp_open(&d->mtp, s) : 0;
}

void
draft_close(struct draft *d)
{
	struct table_slot *t = NULL;

	while ((t = table_next(&d->seqs, t))) {
		struct draft_seq *s = t->value;

		free(s->hidden);
		free(s->ids);
		free(s);
	}
	table_free(&d->seqs);
	mtp_close(&d->mtp);
}

void
draft_report(const struct draft *d)
{
	uint64_t proposed = 0, accepted = 0;
	char text[64 * GUESSES_MAX] = "";
	size_t n = 0;

	for (int i = 0; i < d->o.guesses; i++) {
		proposed += d->proposed[i];
		accepted += d->accepted[i];
		if (d->o.guesses > 1)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%llu of %llu",
			    i == 0 ? ", by position " : ", ", (unsigned long long)d->accepted[i],
			    (unsigned long long)d->proposed[i]);
	}
	warn("%llu guesses, %llu accepted (%.1f%%)%s", (unsigned long long)proposed,
	    (unsigned long long)accepted,
	    proposed ? 100 * (double)accepted / (double)proposed : 0.0, text);
}

/* --- a frame --- */

/* A newest token, and what is guessed to follow it.  */
struct newest {
	struct draft_seq *s;
	int row;                        /* of the frame */
	int most;                       /* guesses that may follow it */
	int n;                          /* guesses */
	int32_t *guess;                 /* [most] */
	struct span at;                 /* of the row in the layer's cache that guesses */
};

struct pass {
	struct draft *d;
	struct frame *f;
	const int32_t *ids;             /* [f->rows] */
	const float *logprob;           /* [f->rows], or NULL */
	const float *hidden;            /* [f->rows][D], or NULL */
	struct draft_rows rows;
	struct newest *newest;          /* [n] */
	int n;
	int32_t *guesses;               /* of all newest */
	/* what is sent */
	struct span *spans;
	int32_t *out;
	float *out_logprob;
	int nspans, nout;
};

static void
pass_close(struct pass *p)
{
	free(p->rows.spans);
	free(p->rows.next);
	free(p->rows.wanted);
	free(p->rows.hidden);
	free(p->newest);
	free(p->guesses);
	free(p->spans);
	free(p->out);
	free(p->out_logprob);
}

static int
check_ids(const struct pass *p)
{
	int V = p->d->s->model->config.vocab_size;

	for (uint32_t i = 0; i < p->f->rows; i++)
		if (p->ids[i] < 0 || p->ids[i] >= V)
			return fail(FAIL_DATA, "token id %d is not in the vocabulary of %d",
			    p->ids[i], V);
	return 0;
}

static int
pass_open(struct pass *p)
{
	size_t D = (size_t)p->d->s->model->config.hidden_size, n = (size_t)p->f->nspans,
	    T = p->f->rows + n, k = (size_t)p->d->o.guesses;
	const struct tensor *t = frame_require(p->f, "ids", I32, p->f->rows, 0);

	if (!t)
		return -1;
	p->ids = t->data;
	if (check_ids(p) < 0)
		return -1;
	if (frame_tensor(p->f, "logprob")) {
		if (!(t = frame_require(p->f, "logprob", F32, p->f->rows, 0)))
			return -1;
		p->logprob = t->data;
	}
	if (p->d->o.by == DRAFT_MTP && frame_tensor(p->f, TAP_HIDDEN)) {
		if (!(t = frame_require(p->f, TAP_HIDDEN, F32, p->f->rows, D)))
			return -1;
		p->hidden = t->data;
		p->d->hidden = 1;
		p->rows.hidden = mem_raw(T * D, sizeof(float));
	}
	p->rows.spans = mem_raw(n, sizeof(*p->rows.spans));
	p->rows.next = mem_raw(T, sizeof(*p->rows.next));
	p->rows.wanted = mem_raw(n, sizeof(*p->rows.wanted));
	p->newest = mem_raw(n, sizeof(*p->newest));
	p->guesses = mem_raw(n * (k + 1), sizeof(*p->guesses));
	p->spans = mem_raw(n, sizeof(*p->spans));
	p->out = mem_raw(T + n * k, sizeof(*p->out));
	p->out_logprob = mem_raw(T + n * k, sizeof(*p->out_logprob));
	return p->rows.spans && p->rows.next && p->rows.wanted && p->newest && p->guesses &&
	    p->spans && p->out && p->out_logprob && (!p->hidden || p->rows.hidden) ? 0 : -1;
}

/* --- what arrives --- */

/* The span of the newest token after the span i, or NULL.  */
static const struct span *
newest_of(const struct frame *f, int i)
{
	const struct span *a = &f->spans[i], *b = a + 1;

	return i + 1 < f->nspans && b->seq == a->seq && b->n == 1 && !(b->flags & SPAN_HELD) &&
	    b->pos == a->pos + a->n ? b : NULL;
}

static void
count(struct draft *d, struct draft_seq *s, const struct span *at)
{
	uint32_t right = at->flags & SPAN_DRAFT ? at->n - 1 : 0;

	for (uint32_t i = 0; i < s->proposed; i++) {
		d->proposed[i]++;
		d->accepted[i] += i < right;
	}
	s->proposed = 0;
}

/* Guesses that may follow a newest token: positions that the model has.  */
static int
most_after(const struct draft *d, uint32_t pos)
{
	int64_t left = (int64_t)d->s->model->config.max_position - 1 - pos;

	return left < 0 ? 0 : left < d->o.guesses ? (int)left : d->o.guesses;
}

/* A span of rows that caches hold.  row: its first in the frame.  */
static int
take_held(struct pass *p, int i, int row)
{
	struct draft *d = p->d;
	const struct span *at = &p->f->spans[i], *b = newest_of(p->f, i);
	struct draft_seq *s = draft_get(d, at->seq);
	struct draft_held h = {*at, p->ids + row,
	    p->hidden ? p->hidden + (size_t)row * (size_t)d->s->model->config.hidden_size : NULL,
	    b ? p->ids[row + (int)at->n] : -1};
	struct newest *w = &p->newest[p->n];
	int known;

	if (!s)
		return -1;
	if (at->n > 0)
		count(d, s, at);
	if ((known = draft_hold(d, s, &h, &p->rows)) < 0)
		return -1;
	if (!b || !(b->flags & SPAN_SAMPLE))
		return 0;
	*w = (struct newest){.s = s, .row = row + (int)at->n,
	    .guess = p->guesses + (ptrdiff_t)p->n * d->o.guesses,
	    .most = known ? most_after(d, b->pos) : 0};
	if (w->most > 0 && d->o.by == DRAFT_MTP) {
		const struct span *last = &p->rows.spans[p->rows.nspans - 1];

		w->at = (struct span){s->seq, last->pos + last->n - 1, 1, 0};
		p->rows.wanted[p->rows.n++] = p->rows.T - 1;
	}
	p->n++;
	return 0;
}

static int
take_spans(struct pass *p)
{
	int row = 0;

	for (int i = 0; i < p->f->nspans; i++) {
		if (p->f->spans[i].flags & SPAN_HELD && take_held(p, i, row) < 0)
			return -1;
		row += (int)p->f->spans[i].n;
	}
	return 0;
}

/* --- guesses --- */

static void
guess_by_prompt(struct pass *p)
{
	for (struct newest *w = p->newest; w < p->newest + p->n; w++)
		w->n = draft_prompt(w->s->ids, w->s->nids + 1, w->guess, w->most);
}

/* One more guess for each newest token that may have it: after the first, the layer reads its own
 * hidden state and guess.  after [..][D]: the hidden states.  0, or -1 and a message.  */
static int
guess_once(struct pass *p, int step, float *after)
{
	struct draft_rows *r = &p->rows;
	struct mtp_rows m = {.spans = r->spans, .nspans = r->nspans, .T = r->T, .next = r->next,
	    .hidden = r->hidden, .wanted = r->wanted, .n = r->n, .after = after,
	    .guess = p->guesses + (ptrdiff_t)p->f->nspans * p->d->o.guesses};
	size_t D = (size_t)p->d->s->model->config.hidden_size;
	int from = 0, to = 0;

	if (mtp_guess(&p->d->mtp, &m) < 0)
		return -1;
	for (struct newest *w = p->newest; w < p->newest + p->n; w++) {
		if (w->most <= step)
			continue;
		w->guess[w->n++] = m.guess[from++];
		if (w->most <= step + 1)
			continue;
		w->at.pos++;
		r->spans[to] = w->at;
		r->next[to] = w->guess[w->n - 1];
		r->wanted[to] = to;
		if (after)
			memcpy(r->hidden + (size_t)to * D, after + (size_t)(from - 1) * D,
			    D * sizeof(*after));
		to++;
	}
	r->nspans = r->T = r->n = to;
	return 0;
}

/* A layer that fails ends the guesses, not the pipeline.  */
static int
guess_by_layer(struct pass *p)
{
	struct draft *d = p->d;
	size_t D = (size_t)d->s->model->config.hidden_size;
	float *after = d->o.guesses > 1 ? mem_raw((size_t)p->rows.n * D, sizeof(*after)) : NULL;
	int r = d->o.guesses > 1 && !after ? -1 : 0;

	for (int i = 0; i < d->o.guesses && p->rows.T > 0 && r == 0; i++)
		r = guess_once(p, i, after);
	free(after);
	if (r == 0 || fail_status() != FAIL_DATA)
		return r;
	warn("%s: there are no more guesses", fail_text());
	d->broken = 1;
	for (int i = 0; i < p->n; i++)
		p->newest[i].n = 0;
	return 0;
}

/* --- what leaves --- */

static void
send_rows(struct pass *p, struct span at, int row)
{
	p->spans[p->nspans++] = at;
	for (uint32_t i = 0; i < at.n; i++) {
		p->out[p->nout] = p->ids[row + (int)i];
		p->out_logprob[p->nout++] = p->logprob ? p->logprob[row + (int)i] : NAN;
	}
}

static void
send_guesses(struct pass *p, const struct newest *w)
{
	if (w->n == 0)
		return;
	p->spans[p->nspans - 1].n += (uint32_t)w->n;
	p->spans[p->nspans - 1].flags |= SPAN_LOGITS | SPAN_DRAFT;
	for (int i = 0; i < w->n; i++) {
		p->out[p->nout] = w->guess[i];
		p->out_logprob[p->nout++] = NAN;
	}
	w->s->proposed = (uint32_t)w->n;
}

/* Spans and rows of all new tokens, with guesses.  */
static void
collect(struct pass *p)
{
	const struct newest *w = p->newest;
	int row = 0;

	for (int i = 0; i < p->f->nspans; i++) {
		struct span at = p->f->spans[i];

		if (!(at.flags & SPAN_HELD)) {
			send_rows(p, at, row);
			if (w < p->newest + p->n && w->row == row)
				send_guesses(p, w++);
		} else if (at.flags & SPAN_DRAFT && at.n > 1) {
			send_rows(p, (struct span){at.seq, at.pos + 1, at.n - 1, SPAN_HELD},
			    row + 1);
		}
		row += (int)at.n;
	}
}

/* f becomes the frame for ds-embed.  1; 0 if it has nothing for it; -1 and a message.  */
static int
leave(struct pass *p)
{
	struct frame *f = p->f;
	const uint64_t shape[] = {(uint64_t)p->nout};
	struct tensor *ids, *logprob;

	if (p->nspans == 0)
		return 0;
	frame_drop(f, TAP_HIDDEN);
	frame_set_at(f, AT_EMBED, -1);
	if (frame_set_spans(f, p->spans, p->nspans) < 0)
		return -1;
	if (!(ids = frame_add(f, "ids", I32, 1, shape)))
		return -1;
	memcpy(ids->data, p->out, ids->bytes);
	if (!p->logprob)
		return 1;
	if (!(logprob = frame_add(f, "logprob", F32, 1, shape)))
		return -1;
	memcpy(logprob->data, p->out_logprob, logprob->bytes);
	return 1;
}

static int
draft_rows(struct draft *d, struct frame *f)
{
	struct pass p = {.d = d, .f = f};
	int r = pass_open(&p);

	if (r == 0)
		r = take_spans(&p);
	if (r == 0 && d->o.by == DRAFT_PROMPT)
		guess_by_prompt(&p);
	else if (r == 0 && !d->broken)
		r = guess_by_layer(&p);
	if (r == 0) {
		collect(&p);
		r = leave(&p);
	}
	pass_close(&p);
	return r;
}

int
draft_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct draft *d = arg;
	int acts = stage_acts(d->s, f, AT_DRAFT);

	(void)out, (void)nout;
	if (acts < 0)
		return -1;
	d->reached |= acts;
	d->passed |= f->op == OP_NONE && f->at == AT_EMBED;
	if (acts)
		return draft_rows(d, f);
	if (f->op == OP_END && d->passed && !d->reached)
		warn("no frame was for ds-draft: give ds-sample --draft");
	if (f->op == OP_END && d->reached && d->o.by == DRAFT_MTP && !d->hidden)
		warn("no guesses without hidden states: give ds-head --tap head.hidden");
	if (f->op == OP_FAILED)
		draft_forget(d, f->seq);
	if (f->op == OP_NONE || f->at != AT_DRAFT)
		return 1;
	/* it has come round the loop: the caches have handled it */
	if (frame_frees(f))
		draft_forget(d, f->seq);
	if (f->op == OP_FORK && draft_fork(d, f->from, f->to, f->fork_n) < 0)
		return -1;
	return 0;
}
