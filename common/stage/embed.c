/*
 * What arrives at ds-embed: prompts are admitted, the loop is believed only
 * as far as it agrees with what was admitted.
 */
#include "stage/embed.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/embed_mem.h"

#define SEQ "sequence %llu"
#define LLU(n) ((unsigned long long)(n))

int
embed_open(struct embed *e, struct stage *s, struct link *in, int nin,
    struct link *out, int nout, uint32_t batch)
{
	const struct config *c = &s->model->config;

	memset(e, 0, sizeof(*e));
	e->stage = s;
	e->in = in;
	e->nin = nin;
	e->out = out;
	e->nout = nout;
	e->batch = batch;
	e->batches = 1;
	e->loop = nin > 1 ? nin - 1 : -1;
	return model_mat(s->model, &e->table, c->vocab_size, c->hidden_size, "model.embed_tokens");
}

void
embed_close(struct embed *e)
{
	struct table_slot *s = NULL;

	while ((s = table_next(&e->seqs, s)))
		free(s->value);
	table_free(&e->seqs);
	table_free(&e->names);
	for (int i = 0; i < 3; i++) {
		struct embed_queue *q = i == 0 ? &e->passing : i == 1 ? &e->loops : &e->prompts;

		for (; q->first < q->n; q->first++)
			embed_release(q->p[q->first].source);
		free(q->p);
	}
}

/* --- sequences --- */

static struct embed_seq *
seq_find(const struct embed *e, uint64_t seq)
{
	return table_get(&e->seqs, &seq, sizeof(seq));
}

static struct embed_seq *
seq_named(const struct embed *e, int input, uint64_t seq)
{
	struct embed_name name = {seq, (uint64_t)input};

	return table_get(&e->names, &name, sizeof(name));
}

/* A sequence that an input begins: under the id that it has there, or, where one
 * of another input lives under it, an id of its own. */
static struct embed_seq *
seq_new(struct embed *e, int input, uint64_t seq, uint32_t pos)
{
	struct embed_seq *s = mem_new(1, sizeof(*s));

	if (!s)
		return NULL;
	s->name = (struct embed_name){seq, (uint64_t)input};
	s->pos = s->through = pos;
	s->seq = seq;
	for (; seq_find(e, s->seq); s->seq = (UINT64_C(1) << 63) + e->fresh++)
		;
	if (table_put(&e->seqs, &s->seq, sizeof(s->seq), s) < 0 ||
	    table_put(&e->names, &s->name, sizeof(s->name), s) < 0)
		return NULL;
	return s;
}

static void
seq_returned(struct embed *e, struct embed_seq *s)
{
	e->away[s->batch] -= (size_t)s->under_way;
	s->under_way = s->asked = 0;
}

static void
seq_forget(struct embed *e, struct embed_seq *s)
{
	seq_returned(e, s);
	e->sampling -= (size_t)s->sampled;
	table_del(&e->seqs, &s->seq, sizeof(s->seq));
	table_del(&e->names, &s->name, sizeof(s->name));
	free(s);
}

/* --- frames into queues --- */

static struct embed_source *
source_new(struct frame *f)
{
	struct embed_source *s = mem_new(1, sizeof(*s));

	if (!s)
		return NULL;
	frame_init(&s->f);
	frame_move(&s->f, f);
	s->refs = 1;
	return s;
}

/* Pass the frame on in its turn. */
static int
push_whole(struct embed_queue *q, struct frame *f)
{
	struct embed_source *s = source_new(f);
	int r = s ? embed_push(q, (struct embed_piece){.source = s, .whole = 1}) : -1;

	if (s)
		embed_release(s);
	return r;
}

/* Every cache lets go of the sequence, which is no longer alive: behind all that its owner wants to be done with it. */
static int
push_free(struct embed *e, struct embed_seq *s)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_FREE;
	f.free_seq = s->seq;
	seq_forget(e, s);
	r = push_whole(&e->prompts, &f);
	frame_free(&f);
	return r;
}

/* Free it now, or when what is under way has come back. */
static int
let_go(struct embed *e, struct embed_seq *s)
{
	s->cancelled = e->loop >= 0 && (s->asked || (e->ring && s->through != s->pos));
	return s->cancelled ? 0 : push_free(e, s);
}

/* The sequence that a prompt's span belongs to. */
static struct embed_seq *
prompt_seq(struct embed *e, int input, const struct span *p)
{
	struct embed_seq *s = seq_named(e, input, p->seq);

	if (!s && p->pos != 0) {
		fail(FAIL_DATA, SEQ " begins at position %u: nothing holds the positions before it", LLU(p->seq), p->pos);
		return NULL;
	}
	if (!s)
		return seq_new(e, input, p->seq, 0);
	if (p->pos != s->pos || s->cancelled) {
		fail(FAIL_DATA, SEQ ": position %u arrives, it stands at %u", LLU(p->seq), p->pos, s->pos);
		return NULL;
	}
	return s;
}

static struct embed_seq *
loop_seq(struct embed *e, const struct span *p)
{
	struct embed_seq *s = seq_find(e, p->seq);

	if (!s)
		fail(FAIL_DATA, "the loop brings " SEQ ", which is not alive", LLU(p->seq));
	else if (p->pos > s->pos) {
		fail(FAIL_DATA, SEQ ": position %u arrives round the loop, it stands at %u", LLU(p->seq), p->pos, s->pos);
		s = NULL;
	}
	return s;
}

/* The seqs of a frame carry the names that its input gave. */
static void
rename_seqs(struct frame *f, uint64_t from, uint64_t to)
{
	for (int i = 0; i < f->nseqs; i++)
		if (f->seqs[i].seq == from)
			f->seqs[i].seq = to;
}

static int
take_span(struct embed *e, int input, struct embed_source *src, struct span *p, uint32_t row)
{
	struct embed_queue *q = input == e->loop ? &e->loops : &e->prompts;
	struct embed_seq *s = input == e->loop ? loop_seq(e, p) : prompt_seq(e, input, p);
	int max = e->stage->model->config.max_position, last = p->flags & SPAN_LAST;

	if (!s)
		return -1;
	if (input == e->loop) {
		int answer = p->n == 0 && p->flags == 0;        /* the rows before it are through, no more */

		s->through = p->pos;
		if (!answer)
			seq_returned(e, s);
		if (answer || s->cancelled)
			return s->cancelled ? let_go(e, s) : 0;
	} else if (p->seq != s->seq) {
		rename_seqs(&src->f, p->seq, s->seq);
		p->seq = s->seq;
	}
	if (last && p->n > 0)           /* the last token is text: nothing follows from it */
		p->n--;
	if (last)
		p->flags &= ~(uint32_t)(SPAN_SAMPLE | SPAN_LAST);
	s->pos = p->pos + p->n;
	if (p->n > 0 && s->pos > (uint32_t)max)
		return fail(FAIL_DATA, SEQ ": position %u is beyond max_position_embeddings %d", LLU(p->seq), s->pos - 1, max);
	if (p->flags & SPAN_SAMPLE && p->n > 0) {
		e->sampling += !s->sampled;
		s->sampled = s->asked = 1;
	}
	if ((p->n > 0 || !last) && embed_push(q, (struct embed_piece){src, *p, row, 0}) < 0)
		return -1;
	if (!last || input == e->loop)  /* of what came round the loop, ds-sample says when it is free */
		return 0;
	return let_go(e, s);
}

static int
check_ids(const struct embed *e, const struct tensor *t)
{
	const int32_t *id = t->data;

	for (uint64_t i = 0; i < t->shape[0]; i++)
		if (id[i] < 0 || id[i] >= e->table.rows)
			return fail(FAIL_DATA, "token id %d at row %llu is not in the vocabulary of %d", id[i], LLU(i), e->table.rows);
	return 0;
}

/* A frame that does more than bring ids has things that belong to its rows alone. */
static int
has_own(struct frame *f)
{
	return f->nothers > 0 || f->ntensors > 1;
}

static int
take_rows(struct embed *e, int input, struct frame *f)
{
	struct tensor *ids = frame_need(f, "ids", I32, f->rows, 0);
	struct embed_source *src;
	uint32_t row = 0;
	int r = 0;

	if (!ids || check_ids(e, ids) < 0)
		return -1;
	if (!(src = source_new(f)))
		return -1;
	src->bytes = src->f.nraw;
	if (input == e->loop) {         /* a step is over: the next one begins anew, with whatever it is batched */
		src->trace = frame_other(&src->f, "trace") != NULL;
		frame_drop_other(&src->f, "trace");
	}
	src->own = has_own(&src->f);
	for (int i = 0; i < src->f.nspans && r == 0; i++) {
		uint32_t n = src->f.spans[i].n;

		r = take_span(e, input, src, &src->f.spans[i], row);
		row += n;
	}
	embed_release(src);
	return r;
}

/* A sequence shares the first positions of another: both are of this input. */
static int
take_fork(struct embed *e, int input, struct frame *f)
{
	struct embed_seq *from = input == e->loop ? seq_find(e, f->from) : seq_named(e, input, f->from), *to;

	if (!from)
		return fail(FAIL_DATA, "fork from " SEQ ", which is not alive", LLU(f->from));
	if (f->fork_n > from->pos)
		return fail(FAIL_DATA, "fork of %u positions from " SEQ ", which stands at %u", f->fork_n, LLU(f->from), from->pos);
	if (input == e->loop ? seq_find(e, f->to) != NULL : seq_named(e, input, f->to) != NULL)
		return fail(FAIL_DATA, "fork to " SEQ ", which is alive", LLU(f->to));
	if (!(to = seq_new(e, input, f->to, f->fork_n)))
		return -1;
	f->from = from->seq;
	f->to = to->seq;
	f->changed = 1;
	return push_whole(input == e->loop ? &e->loops : &e->prompts, f);
}

static int
take_free(struct embed *e, int input, struct frame *f)
{
	struct embed_seq *s = input == e->loop ? seq_find(e, f->free_seq) : seq_named(e, input, f->free_seq);

	if (!s)
		return push_whole(input == e->loop ? &e->loops : &e->prompts, f);
	return input == e->loop ? push_free(e, s) : let_go(e, s);
}

/* The input has ended: those of its sequences that nobody samples are done. */
static int
take_end(struct embed *e, int input)
{
	struct table_slot *t = NULL;

	e->ended[input] = 1;
	if (input == e->loop)
		return e->finished ? 0 : fail(FAIL_SYSTEM, "%s: the loop ended while there was work", e->in[input].name);
	while ((t = table_next(&e->names, t))) {
		struct embed_seq *s = t->value;

		if (s->name.input == (uint64_t)input && !s->sampled && !s->cancelled) {
			if (let_go(e, s) < 0)
				return -1;
			t = NULL;       /* the table may have changed */
		}
	}
	return 0;
}

/* Rows that wait for another stage. */
static int
pass_on(struct embed *e, int input, struct frame *f)
{
	char where[64];

	if (e->finished)
		return fail(FAIL_DATA, "%s: rows come behind the end that still wait for %s: in a ring give --ring to ds-embed, ds-head and ds-sample",
		    e->in[input].name, frame_where(f, where, sizeof(where)));
	return push_whole(input == e->loop ? &e->passing : &e->prompts, f);
}

static int
take_frame(struct embed *e, int input, struct frame *f)
{
	int acts;

	switch (f->op) {
	case OP_NONE:
		acts = stage_acts(e->stage, f, AT_EMBED);
		if (acts < 0)
			return -1;
		return acts ? take_rows(e, input, f) : pass_on(e, input, f);
	case OP_END:
		return take_end(e, input);
	case OP_FREE:
		return take_free(e, input, f);
	case OP_FORK:
		return take_fork(e, input, f);
	case OP_ERROR:
		if (input != e->loop)
			(void)stage_send(e->out, e->nout, f);
		return stage_upstream(f);
	default:
		return push_whole(input == e->loop ? &e->loops : &e->prompts, f);
	}
}

/* --- the loop of the program --- */

static int
receive(struct embed *e, int input)
{
	struct frame f;
	int r;

	frame_init(&f);
	r = link_try_receive(&e->in[input], &f);
	if (r == 1)
		r = take_frame(e, input, &f);
	else if (r == -2 && input == e->loop && e->finished)
		r = e->ended[input] = 1;
	else if (r == -2)
		r = fail(FAIL_SYSTEM, "%s: ended without an end frame: the program before it failed", e->in[input].name);
	frame_free(&f);
	return r < 0 ? -1 : 0;
}

/* Prompts are taken in while the batches have room for them: what
 * waits in the pipe costs us nothing. */
static int
admits(const struct embed *e)
{
	return e->prompts.rows < e->batch && (e->loop < 0 || e->sampling < (size_t)e->batch * (size_t)e->batches);
}

static int
prompts_ended(const struct embed *e)
{
	for (int i = 0; i < e->nin; i++)
		if (i != e->loop && !e->ended[i])
			return 0;
	return 1;
}

static int
idle(const struct embed *e)
{
	for (int i = 0; i < e->nout; i++)
		if (e->out[i].queue.n > 0)
			return 0;
	return 1;
}

/* Queue our own end frame once nothing can follow any more. */
static int
finish(struct embed *e)
{
	struct frame f;
	int r = 0;

	if (e->finished || !prompts_ended(e) || e->passing.first < e->passing.n || e->loops.first < e->loops.n || e->prompts.first < e->prompts.n ||
	    (e->loop >= 0 && e->seqs.n > 0))
		return 0;
	frame_init(&f);
	f.op = OP_END;
	for (int i = 0; i < e->nout && r == 0; i++)
		r = link_queue(&e->out[i], &f);
	frame_free(&f);
	e->finished = 1;
	return r;
}

/* Wait until something can be read or written, and do it. */
static int
step(struct embed *e)
{
	struct pollfd p[128];
	int n = 0, input[64];

	for (int i = 0; i < e->nin; i++)
		if (!e->ended[i] && (i == e->loop || admits(e))) {
			input[n] = i;
			p[n++] = link_poll(&e->in[i]);
		}
	for (int i = 0, k = n; i < e->nout; i++, k++)
		p[k] = e->out[i].queue.n > 0 ? link_poll(&e->out[i]) : (struct pollfd){.fd = -1};
	if (poll(p, (nfds_t)(n + e->nout), -1) < 0)
		return 0;       /* a signal: look again */
	for (int i = 0; i < n; i++)
		if (p[i].revents && receive(e, input[i]) < 0)
			return -1;
	for (int i = 0; i < e->nout; i++)
		if (p[n + i].revents && link_flush(&e->out[i]) < 0)
			return -1;
	return 0;
}

/* Send what may go; 1 if all is done. */
static int
push_on(struct embed *e)
{
	int r;

	while (idle(e) && (r = embed_batch(e)) != 0) {
		if (r < 0)
			return -1;
		for (int i = 0; i < e->nout; i++)
			if (link_flush(&e->out[i]) < 0)
				return -1;
	}
	if (finish(e) < 0)
		return -1;
	return e->finished && idle(e) && (e->loop < 0 || e->ended[e->loop]);
}

int
embed_run(struct embed *e)
{
	int r;

	while ((r = push_on(e)) == 0)
		if ((r = step(e)) < 0)
			break;
	if (r < 0 && e->ring)   /* what fills the ring, and nobody takes any more, must not keep us from saying so */
		(void)link_close(&e->in[e->loop]);
	return r < 0 ? -1 : 0;
}
