/*
 * What arrives at ds-embed: prompts are admitted; the loop is checked against what was admitted.
 */
#include "stage/embed.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "learn/param.h"
#include "stage/embed_internal.h"
#include "stage/sampling.h"

int
embed_open(struct embed *e, const struct stage *s, struct link *in, int nin,
    struct link *out, int nout, uint32_t batch)
{
	memset(e, 0, sizeof(*e));
	e->stage = s;
	e->in = in;
	e->nin = nin;
	e->out = out;
	e->nout = nout;
	e->batch = batch;
	e->batches = 1;
	e->loop = nin > 1 ? nin - 1 : -1;
	if (model_weight(s->model, ROLE_EMBED, -1, -1, &e->table) < 0)
		return -1;
	if (s->learn && !(e->gradient = learn_matrix(s->learn, ROLE_EMBED, -1, -1)))
		return -1;
	return 0;
}

void
embed_close(struct embed *e)
{
	struct embed_queue *queues[] = {&e->passing, &e->loops, &e->kv.again, &e->prompts};
	struct table_slot *s = NULL;

	while ((s = table_next(&e->names, s))) {
		struct embed_seq *q = s->value;

		free(q->text);
		free(q);
	}
	for (s = NULL; (s = table_next(&e->echoes, s)); )
		free(s->value);
	table_free(&e->echoes);
	table_free(&e->seqs);
	table_free(&e->names);
	for (int i = 0; i < 4; i++) {
		while (queues[i]->first < queues[i]->n)
			embed_drop(queues[i]);
		free(queues[i]->p);
	}
	free(e->made);
	embed_learn_free(e);
	kv_close(e);
	files_close(e);
}

/* --- frames into queues --- */

static int
by_name(const void *a, const void *b)
{
	const struct embed_params *x = a, *y = b;

	return x->name != y->name ? (x->name > y->name) - (x->name < y->name) : x->i - y->i;
}

/* Sort its `seqs` by id; of several entries of a sequence only the first counts.  */
static int
sort_params(struct embed_source *s)
{
	int n = s->f.nseqs;

	if (n == 0)
		return 0;
	s->params = mem_raw((size_t)n, sizeof(*s->params));
	s->claimed = mem_new((size_t)n, 1);
	if (!s->params || !s->claimed)
		return -1;
	for (int i = 0; i < n; i++)
		s->params[i] = (struct embed_params){s->f.seqs[i].seq, i};
	qsort(s->params, (size_t)n, sizeof(*s->params), by_name);
	for (int i = 1; i < n; i++)
		s->claimed[s->params[i].i] = s->params[i].name == s->params[i - 1].name;
	return 0;
}

static uint32_t
header_bytes(const struct frame *f)
{
	const unsigned char *p = f->raw + 6;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct embed_source *
source_new(struct embed *e, int input, struct frame *f)
{
	struct embed_source *s = mem_new(1, sizeof(*s));

	if (!s)
		return NULL;
	frame_init(&s->f);
	frame_move(&s->f, f);
	s->refs = 1;
	s->bytes = s->f.nraw;
	s->header = header_bytes(&s->f);
	if (input != e->loop) {
		s->held = &e->held;
		e->held += sizeof(*s) + s->f.nraw;
	}
	if (sort_params(s) == 0)
		return s;
	embed_release(s);
	return NULL;
}

static struct embed_queue *
queue_of(struct embed *e, int input)
{
	return input == e->loop ? &e->loops : &e->prompts;
}

int
embed_push_frame(struct embed *e, int input, struct embed_queue *q, struct frame *f,
    struct prefix *prefix)
{
	struct embed_source *s = source_new(e, input, f);
	struct embed_item p = {.source = s, .kind = ITEM_FRAME, .prefix = prefix};
	int r = s ? embed_push(q, p) : -1;

	if (s)
		embed_release(s);
	return r;
}

/* --- rows --- */

/* The sequence of a prompt's span: 1; 0 the span is dropped, since its sequence has failed; -1 and
 * a message.  */
static int
prompt_seq(struct embed *e, int input, const struct span *p, struct embed_seq **to)
{
	struct embed_seq *s = seq_named(e, input, p->seq);
	int begins = !s || (s->dead && p->pos == 0);

	if (!begins && s->failed)
		return 0;
	if (begins && s)
		seq_drop(e, s);
	if (begins && !(s = seq_new(e, input, p->seq, 0)))
		return -1;
	*to = s;
	if (p->flags & (SPAN_DRAFT | SPAN_HELD)) {
		fail(FAIL_DATA, "position %u: flags 8 and 16 are allowed in the loop only",
		    p->pos);
		return seq_refuse(e, s);
	}
	if (p->pos == s->pos && !s->cancelled)
		return 1;
	if (begins)
		fail(FAIL_DATA, "it begins at position %u: no cache holds the positions before it", p->pos);
	else
		fail(FAIL_DATA, "position %u arrived, expected %u", p->pos, s->pos);
	return seq_refuse(e, s);
}

/* The same for a span of the loop.  */
static int
loop_seq(struct embed *e, const struct span *p, struct embed_seq **to)
{
	struct embed_seq *s = seq_find(e, p->seq);

	if (!s)
		return fail(FAIL_DATA, "the loop brings " SEQ ", which is not alive", LLU(p->seq));
	if (p->pos > s->pos || (p->flags & SPAN_HELD && p->n > s->pos - p->pos))
		return fail(FAIL_DATA, SEQ ": position %u arrived from the loop, expected %u",
		    LLU(p->seq), p->flags & SPAN_HELD ? p->pos + p->n : p->pos, s->pos);
	*to = s;
	return 1;
}

/* The entry of `seqs` that goes with the sequence's first span in this frame; -1: there is none.  */
static int
claim_params(struct embed_source *src, uint64_t name)
{
	int low = 0, high = src->f.nseqs;

	while (low < high) {
		int mid = (low + high) / 2;

		if (src->params[mid].name < name)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == src->f.nseqs || src->params[low].name != name || src->claimed[src->params[low].i])
		return -1;
	src->claimed[src->params[low].i] = 1;
	return src->params[low].i;
}

/* Check what would make a stage fail; here it fails its sequence alone.  0, or -1 and a message.  */
static int
check_rows(const struct embed *e, const struct embed_source *src, const struct span *p, uint32_t row)
{
	const struct tensor *ids = frame_tensor((struct frame *)(uintptr_t)&src->f, "ids");
	const int32_t *id = (const int32_t *)ids->data + row;
	int max = e->stage->model->config.max_position;

	for (uint32_t i = 0; i < p->n; i++)
		if (id[i] < 0 || id[i] >= e->table.rows)
			return fail(FAIL_DATA, "token id %d at position %u is not in the vocabulary of %d", id[i], p->pos + i,
			    e->table.rows);
	if (src->header > FRAME_HEADER_MAX - HEADER_ROOM)
		return fail(FAIL_DATA, "the header of its frame has %zu bytes: it leaves stages no room", src->header);
	if (p->n > 0 && p->pos + p->n - !!(p->flags & SPAN_LAST) > (uint32_t)max)
		return fail(FAIL_DATA, "%u tokens are more than max_position_embeddings %d", p->pos + p->n, max);
	if (p->n == 0 && p->pos == 0 && p->flags & SPAN_SAMPLE)
		return fail(FAIL_DATA, "it has no tokens: give at least one");
	return 0;
}

/* Guesses beyond the model's last position are dropped.  */
static void
trim_guesses(const struct embed *e, struct span *p)
{
	uint32_t max = (uint32_t)e->stage->model->config.max_position;

	if (p->flags & SPAN_DRAFT && p->n > 1 && p->pos < max && p->n > max - p->pos)
		p->n = max - p->pos;
}

/* A span of the loop: 1 its rows are embedded, 0 it is done with, -1 and a message.  */
static int
came_back(struct embed *e, struct embed_seq *s, const struct span *p)
{
	/* it only says that the rows before it have passed */
	int answer = p->n == 0 && p->flags == 0;

	s->through = p->pos;
	if (p->flags & SPAN_HELD) {
		s->pos = p->pos + p->n;
		return 0;
	}
	if (!answer)
		seq_returned(e, s);
	if (!answer && !s->cancelled)
		return 1;
	return s->cancelled ? seq_end(e, s) : 0;
}

static int
receive_span(struct embed *e, int input, struct embed_source *src, struct span *p, uint32_t row)
{
	int loop = input == e->loop, params = claim_params(src, p->seq), last = p->flags & SPAN_LAST;
	struct embed_seq *s = NULL;
	struct embed_item item;
	int r = loop ? loop_seq(e, p, &s) : prompt_seq(e, input, p, &s);

	if (r > 0 && loop)
		r = came_back(e, s, p);
	if (r <= 0)
		return r;
	trim_guesses(e, p);
	if (check_rows(e, src, p, row) < 0)
		return seq_refuse(e, s);
	p->seq = s->seq;
	if (params >= 0) {
		src->f.seqs[params].seq = s->seq;
		s->request |= !loop && sampling_request(src->f.seqs[params].params,
		    src->f.seqs[params].n);
	}
	if (last && p->n > 0)           /* the last token is text, and not embedded */
		p->n = span_tokens(p) - 1;
	if (last)
		p->flags &= ~(uint32_t)(SPAN_SAMPLE | SPAN_LAST | SPAN_DRAFT);
	s->pos = p->pos + p->n;
	if (kv_tokens(s, src, row, p->pos, p->n) < 0)
		return -1;
	if (p->flags & SPAN_SAMPLE && p->n > 0) {
		e->sampling += !s->sampled;
		s->sampled = s->asked = 1;
	}
	item = (struct embed_item){.source = src, .span = *p, .row = row, .params = params,
	    .prefix = s->prefix};
	if ((p->n > 0 || !last) && embed_push(queue_of(e, input), item) < 0)
		return -1;
	if (last && loop)
		kv_ending(e, s, 1);
	if (!last || loop)              /* ds-sample frees the sequences of the loop */
		return 0;
	return seq_end(e, s);
}

/* 1 if a frame has keys or tensors that belong to its rows alone.  */
static int
has_own(struct frame *f)
{
	return f->nothers > 0 || f->ntensors > 1;
}

static int
receive_rows(struct embed *e, int input, struct frame *f)
{
	struct embed_source *src;
	uint32_t row = 0;
	int r = 0;

	if (!frame_require(f, "ids", I32, f->rows, 0))
		return -1;
	if (!(src = source_new(e, input, f)))
		return -1;
	if (input == e->loop) {         /* its step is over; the next batch has its own trace */
		src->trace = frame_other(&src->f, "trace") != NULL;
		frame_drop_other(&src->f, "trace");
		frame_drop(&src->f, "logprob");         /* for programs after ds-sample */
	}
	src->own = has_own(&src->f);
	for (int i = 0; i < src->f.nspans && r == 0; i++) {
		uint32_t n = src->f.spans[i].n;

		r = receive_span(e, input, src, &src->f.spans[i], row);
		row += n;
	}
	if (input == e->loop && r == 0)
		auto_returned(e, src->f.nspans);
	embed_release(src);
	return r;
}

/* --- control frames --- */

static struct embed_seq *
seq_of(const struct embed *e, int input, uint64_t seq)
{
	return input == e->loop ? seq_find(e, seq) : seq_named(e, input, seq);
}

/* A sequence shares the first positions of another one of this input.  */
static int
receive_fork(struct embed *e, int input, struct frame *f)
{
	struct embed_seq *from = seq_of(e, input, f->from), *to = seq_of(e, input, f->to);
	int alive = from && !from->failed, clash = to && !to->dead;

	if (to && to->dead) {
		seq_drop(e, to);
		to = NULL;
	}
	if (!to && !(to = seq_new(e, input, f->to, alive ? f->fork_n : 0)))
		return -1;
	if (!alive)
		fail(FAIL_DATA, "fork from " SEQ ", which is not alive", LLU(f->from));
	else if (f->fork_n > from->pos)
		fail(FAIL_DATA, "fork of %u positions from " SEQ ", which has %u", f->fork_n,
		    LLU(f->from), from->pos);
	else if (clash)
		fail(FAIL_DATA, "fork to it from " SEQ ", but it is alive", LLU(f->from));
	if (!alive || f->fork_n > from->pos || clash)
		return seq_refuse(e, to);
	f->from = from->seq;
	f->to = to->seq;
	f->changed = 1;
	if (kv_copy(to, from, f->fork_n) < 0)
		return -1;
	return embed_push_frame(e, input, queue_of(e, input), f, from->prefix);
}

static int
receive_free(struct embed *e, int input, struct frame *f)
{
	struct embed_seq *s = seq_of(e, input, f->seq);

	if (!s && kv_is_retained(e, f->seq))    /* of the caches, not of an input */
		return 0;
	if (!s)
		return embed_push_frame(e, input, queue_of(e, input), f, NULL);
	if (s->dead) {                  /* the caches have freed it already */
		seq_drop(e, s);
		return 0;
	}
	return input == e->loop ? seq_free(e, s) : seq_end(e, s);
}

/* A sequence has failed upstream, or downstream, and then the error came round the loop.  An error
 * that ds-embed sent is done with, even if its id is in use again.  If ds-sample refused the
 * sequence, the caches still have to free it.  */
static int
receive_failed(struct embed *e, int input, struct frame *f)
{
	struct embed_seq *s = seq_of(e, input, f->seq);

	if (input != e->loop)
		return !s && !(s = seq_new(e, input, f->seq, 0)) ? -1 : seq_fail(e, s, f->text);
	if (seq_echo(e, f->seq) || !s)
		return 0;
	seq_returned(e, s);
	free(s->text);
	s->text = NULL;
	s->failed = 0;
	return seq_fail(e, s, NULL);
}

/* The input has ended, and with it its sequences without sampled rows.  */
static int
receive_end(struct embed *e, int input)
{
	struct embed_seq *next;

	e->ended[input] = 1;
	if (input == e->loop)
		return e->finished ? 0 : fail(FAIL_SYSTEM, "%s: " LOST_LOOP, e->in[input].name);
	for (struct embed_seq *s = e->first; s; s = next) {
		next = s->after;
		if (s->name.input == (uint64_t)input && !s->sampled && !s->cancelled && seq_end(e, s) < 0)
			return -1;
	}
	return 0;
}

/* Rows for another stage.  */
static int
pass_on(struct embed *e, int input, struct frame *f)
{
	char where[64];

	if (e->finished)
		return fail(FAIL_DATA, "%s: rows arrived after the end that still wait for %s: in a ring give --ring to ds-embed, ds-head and ds-sample",
		    e->in[input].name, frame_where(f, where, sizeof(where)));
	if (e->kv.on)
		return fail(FAIL_DATA, "%s: rows arrived that wait for %s: with --cache-size the "
		    "caches get rows from ds-embed alone", e->in[input].name,
		    frame_where(f, where, sizeof(where)));
	return embed_push_frame(e, input, input == e->loop ? &e->passing : &e->prompts, f, NULL);
}

static int
receive_batch(struct embed *e, int input, struct frame *f)
{
	struct frame_learn l;
	int learns = frame_learn(f, &l), acts = stage_acts(e->stage, f, AT_EMBED);

	if (learns < 0 || acts < 0)
		return -1;
	if (learns)
		return embed_learn_receive(e, input, f, &l);
	return acts ? receive_rows(e, input, f) : pass_on(e, input, f);
}

int
embed_receive(struct embed *e, int input, struct frame *f)
{
	switch (f->op) {
	case OP_NONE:
		return receive_batch(e, input, f);
	case OP_END:
		return receive_end(e, input);
	case OP_FREE:
		return receive_free(e, input, f);
	case OP_FAILED:
		return receive_failed(e, input, f);
	case OP_FORK:
		return receive_fork(e, input, f);
	case OP_CACHE:                  /* the answer to that of kv_start */
		return input == e->loop ? kv_limit(e, f) : 0;
	case OP_SAVE:
	case OP_LOAD:
		if (input == e->loop && e->files.on)
			return files_returned(e, f);
		if (e->kv.on)
			return fail(FAIL_DATA, "%s: '%s' arrived: with --cache-size the caches get "
			    "it from ds-embed alone", e->in[input].name, op_name(f->op));
		return input == e->loop ? 0 : embed_push_frame(e, input, &e->prompts, f, NULL);
	case OP_ERROR:
		if (input != e->loop)
			(void)stage_send(e->out, e->nout, f);
		return stage_upstream(f, &e->in[input]);
	default:                        /* from the loop: all stages have had it */
		return input == e->loop ? 0 : embed_push_frame(e, input, &e->prompts, f, NULL);
	}
}
