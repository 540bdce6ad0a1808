/*
 * What leaves ds-embed: batches of at most e->batch rows.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/embed_internal.h"
#include "stage/failed.h"
#include "stage/trace.h"

#define WRITE (64 << 10)        /* bytes of small frames that are written at once */

int
embed_queue_all(struct embed *e, struct frame *f)
{
	for (int i = 0; i < e->nout; i++)
		if (link_queue(&e->out[i], f) < 0)
			return -1;
	return 0;
}

struct batch {
	struct frame f;
	struct embed_source *sources[FRAME_SPANS_MAX];  /* the batch's, or NULL: */
	const int32_t *ids[FRAME_SPANS_MAX];    /* [spans[i].n] */
	struct span spans[FRAME_SPANS_MAX];
	int n;
	struct embed_source *own;       /* the only one, since it shares no batch, or NULL */
	uint32_t own_row;               /* of its rows, the first in the batch */
	size_t header;                  /* its bytes at most */
	uint32_t rows;
	int number;                     /* its index in e->away */
	size_t sampled, share;          /* spans with sampled rows, and their limit */
	int64_t start;
};

/* An index in e->away that no batch has, or -1 if no batch may follow.  */
static int
free_number(const struct embed *e)
{
	int number = -1, n = 0;

	for (int i = EMBED_BATCHES_MAX - 1; i >= 0; i--)
		if (e->away[i] == 0)
			number = i;
		else
			n++;
	return n < e->batches ? number : -1;
}

/* Bytes that the item adds to the header at most: its span, and its entries of `seqs`.  */
static size_t
item_header(const struct batch *b, const struct embed_item *p)
{
	const struct embed_source *s = p->source;
	size_t n = 32 + (p->params >= 0 ? 16 + s->f.seqs[p->params].n : 0);

	for (int i = 0; i < s->f.nseqs && !s->others_sent; i++)
		n += s->claimed[i] ? 0 : 16 + s->f.seqs[i].n;
	return s->own && b->n == 0 ? n + s->header : n;
}

/* Parameters go with the first rows of their sequence in the source frame; if it has none, with the
 * frame's first item.  */
static int
add_seqs(struct batch *b, const struct embed_item *p)
{
	struct embed_source *s = p->source;

	if (p->params >= 0 && frame_add_seq(&b->f, &s->f.seqs[p->params]) < 0)
		return -1;
	for (int i = 0; i < s->f.nseqs && !s->others_sent; i++)
		if (!s->claimed[i] && frame_add_seq(&b->f, &s->f.seqs[i]) < 0)
			return -1;
	s->others_sent = 1;
	return 0;
}

size_t
embed_share(const struct embed *e)
{
	size_t n = (size_t)e->batches;

	return n == 1 || e->loop < 0 ? SIZE_MAX : e->sampling > n ? (e->sampling + n - 1) / n : 1;
}

/* 1 if the queue's next item may join the batch.  room: rows that are left in it.  */
static int
may_join(struct embed *e, struct batch *b, const struct embed_item *p, uint32_t room)
{
	struct embed_seq *s = seq_find(e, p->span.seq);

	if (b->n > 0 && (p->source->own || b->own) && p->source != b->own)
		return 0;
	if (b->n > 0 && b->header + item_header(b, p) > FRAME_HEADER_MAX / 2)
		return 0;
	if (p->span.n > 0 && (room == 0 || (s && s->in_flight)))        /* its token has not
									 * returned */
		return 0;
	if (p->params < 0 || !s)
		return 1;
	if (s->params_serial == e->serial)       /* a frame has a sequence's parameters once */
		return 0;
	s->params_serial = e->serial;
	return 1;
}

/* Cut the rows of the queue's next item to most, of room that is left in the batch.  A draft loses
 * guesses until each waiting item can have a row.  Returns how many rows of the item are done
 * with.  */
static uint32_t
cut_rows(struct embed *e, const struct embed_queue *q, struct span *p, uint32_t room,
    uint32_t most)
{
	uint32_t n = p->n, guesses;
	size_t waiting = q->n - q->first;

	if (!(p->flags & SPAN_DRAFT)) {
		if (n > most) {
			p->n = most;
			p->flags &= ~(uint32_t)(SPAN_SAMPLE | SPAN_LAST);
		}
		return p->n;
	}
	guesses = room > waiting ? room - (uint32_t)waiting : 0;
	guesses = guesses < most - 1 ? guesses : most - 1;
	if (n - 1 > guesses) {
		struct embed_seq *s = seq_find(e, p->seq);

		p->n = 1 + guesses;
		if (s)
			s->pos -= n - p->n;
	}
	if (p->n == 1)
		p->flags &= ~(uint32_t)(SPAN_DRAFT | SPAN_LOGITS);
	return n;
}

/* Add a span, with its ids.  source: released with the batch, or NULL.  0, or -1 and a message.  */
static int
add_span(struct embed *e, struct batch *b, struct span p, const int32_t *ids,
    struct embed_source *source)
{
	b->sources[b->n] = source;
	b->ids[b->n] = ids;
	b->spans[b->n++] = p;
	b->rows += p.n;
	return kv_append(e, &p);
}

/* Rows that the caches have lost, since the item's sequence was preempted, come first.  1: no more
 * may join the batch, 0, or -1 and a message.  */
static int
restore(struct embed *e, struct batch *b, const struct embed_item *p)
{
	uint32_t lost;

	while ((lost = kv_lost(e, p)) > 0) {
		uint32_t room = e->batch - b->rows, pos = p->span.pos - lost;
		struct span s = {p->span.seq, pos, lost < room ? lost : room, 0};

		s.n = s.n > 0 ? kv_room(e, &s) : 0;
		if (b->own || b->n == FRAME_SPANS_MAX || s.n == 0)
			return 1;
		b->header += 32;
		e->kv.again_rows += s.n;
		if (add_span(e, b, s, p->prefix->ids + pos, NULL) < 0)
			return -1;
	}
	return b->n == FRAME_SPANS_MAX;
}

/* Rows of the queue's item i join the batch, at most `room`.  1: it does not join, 0, or -1 and a
 * message.  */
static int
join(struct embed *e, struct batch *b, struct embed_queue *q, size_t i, uint32_t room)
{
	struct embed_item p = q->p[i];
	uint32_t most = kv_room(e, &p.span), done;
	const int32_t *ids;

	if (most > room)
		most = room;
	if (!may_join(e, b, &p, most))
		return 1;
	if (p.span.flags & SPAN_SAMPLE && p.span.n > 0 &&
	    (p.span.n <= most || p.span.flags & SPAN_DRAFT) && ++b->sampled > b->share)
		return 1;
	done = cut_rows(e, q, &p.span, room, most);
	b->header += item_header(b, &p);
	if (add_seqs(b, &p) < 0)
		return -1;
	if (b->n == 0 && p.source->own) {
		b->own = p.source;
		b->own_row = p.row;
	}
	p.source->refs++;               /* the batch's */
	ids = frame_tensor(&p.source->f, "ids")->data;
	if (add_span(e, b, p.span, ids + p.row, p.source) < 0)
		return -1;
	embed_pop(q, i, done);
	return 0;
}

/* The first prompt is long: others get some rows.  0, or -1 and a message.  */
static int
fill_fair(struct embed *e, struct batch *b)
{
	struct embed_queue *q = &e->prompts;
	uint32_t rows = b->own ? 0 : fair_rows(e, e->batch - b->rows);
	uint32_t end = b->rows + rows;
	int r = rows > 0 && kv_admitted(e, &q->p[q->first], q) ? 0 : 1;

	while (r == 0 && b->rows < end && b->n < FRAME_SPANS_MAX - 1) {
		size_t list[FAIR_MAX];
		int n = fair_list(e, list);

		r = 1;
		for (int i = 0; i < n && r == 1; i++) {
			const struct embed_item *p = &q->p[list[i]];

			if (kv_admitted(e, p, q) && kv_lost(e, p) == 0 &&
			    !(p->prefix && p->prefix->failed))
				r = join(e, b, q, list[i], end - b->rows);
		}
	}
	return r < 0 ? -1 : 0;
}

/* Move what fits from the queue to the batch.  1: nothing more may join it, 0, or -1 and a
 * message.  */
static int
fill(struct embed *e, struct batch *b, struct embed_queue *q)
{
	while (q->first < q->n && b->n < FRAME_SPANS_MAX) {
		struct embed_item p = q->p[q->first];
		int r;

		if (p.prefix && p.prefix->failed && p.kind == ITEM_ROWS) {
			embed_drop(q);
			continue;
		}
		if (p.kind != ITEM_ROWS || !kv_admitted(e, &p, q))
			return 1;
		if ((r = restore(e, b, &p)) != 0)
			return r;
		if ((r = join(e, b, q, q->first, e->batch - b->rows)) != 0)
			return r;
	}
	return b->n == FRAME_SPANS_MAX;
}

/* Truncations, then rows of the loop, of preempted sequences and of prompts.  */
static int
fill_all(struct embed *e, struct batch *b)
{
	struct embed_queue *queues[] = {&e->loops, &e->kv.again, &e->prompts};
	int r = kv_prepare(e);

	for (size_t i = 0; i < e->kv.ncuts && r == 0; i++)
		r = add_span(e, b, e->kv.cuts[i], NULL, NULL);
	for (int i = 0; i < 3 && r == 0; i++) {
		if (queues[i] == &e->prompts)
			r = fill_fair(e, b);
		if (r == 0)
			r = fill(e, b, queues[i]);
	}
	return r;
}

/* There is nothing to send now: 0, or -1 and a message where nothing will change that.  */
static int
stuck(const struct embed *e)
{
	const struct embed_queue *q = &e->prompts;
	int waits = e->kv.on && e->kv.ending == 0 && e->files.nloading == 0 &&
	    (e->loops.n > 0 || e->kv.again.n > 0 ||
	    (q->n > 0 && q->p[q->first].kind == ITEM_ROWS));

	for (int i = 0; i < EMBED_BATCHES_MAX; i++)
		waits &= e->away[i] == 0;
	return waits ? fail(FAIL_SYSTEM, "internal error: rows wait that can never be sent") : 0;
}

/* One tensor of a frame that is a batch by itself: its rows, where it has one for each
 * row of the frame, or all of it.  */
static int
copy_tensor(struct batch *b, const struct tensor *t)
{
	const struct frame *from = &b->own->f;
	int by_row = t->rank > 0 && t->shape[0] == from->rows;
	uint64_t shape[FRAME_RANK_MAX];
	size_t row = by_row && from->rows ? t->bytes / from->rows : 0;
	struct tensor *to;

	memcpy(shape, t->shape, sizeof(shape));
	if (by_row)
		shape[0] = b->rows;
	if (!(to = frame_add(&b->f, t->name, t->dtype, t->rank, shape)))
		return -1;
	if (!by_row) {
		memcpy(to->data, t->data, t->bytes);
		return 0;
	}
	memcpy(to->data, (char *)t->data + b->own_row * row, b->rows * row);
	return 0;
}

static int
copy_own(struct batch *b)
{
	struct embed_source *s = b->own;

	for (int i = 0; i < s->f.ntensors; i++)
		if (strcmp(s->f.tensors[i].name, "ids") != 0 && strcmp(s->f.tensors[i].name, "h") != 0 &&
		    copy_tensor(b, &s->f.tensors[i]) < 0)
			return -1;
	return frame_add_others(&b->f, &s->f);
}

static int
look_up(struct embed *e, struct batch *b)
{
	uint64_t shape[2] = {b->rows, (uint64_t)e->table.cols};
	struct tensor *ids = frame_add(&b->f, "ids", I32, 1, shape);
	struct tensor *h = ids ? frame_add(&b->f, "h", F32, 2, shape) : NULL;
	int32_t *id;
	float *row;

	if (!h)
		return -1;
	id = frame_tensor(&b->f, "ids")->data;
	row = h->data;
	for (int i = 0; i < b->n; i++)
		for (uint32_t k = 0; k < b->spans[i].n; k++, row += e->table.cols) {
			*id = b->ids[i][k];
			e->stage->k->row(row, &e->table, *id++);
		}
	return 0;
}

/* Add the first entry, if there is a trace: with the bytes of all frames that the batch is made
 * from.  */
static int
begin_trace(const struct embed *e, struct batch *b)
{
	uint64_t bytes = 0;
	int asked = e->trace || frame_other(&b->f, "trace");

	for (int i = 0; i < b->n; i++) {
		struct embed_source *s = b->sources[i];

		if (!s)
			continue;
		asked |= s->trace;
		bytes += s->bytes;
		s->bytes = 0;
	}
	return asked ? trace_add(&b->f, -1, b->start, bytes) : 0;
}

static int
send_batch(struct embed *e, struct batch *b)
{
	stage_stamp(e->stage, &b->f);
	frame_set_at(&b->f, AT_ATTN, 0);
	if (frame_set_spans(&b->f, b->spans, b->n) < 0 || look_up(e, b) < 0)
		return -1;
	if (b->own && copy_own(b) < 0)
		return -1;
	for (int i = 0; i < b->n; i++) {
		struct embed_seq *s = table_get(&e->seqs, &b->spans[i].seq, sizeof(b->spans[i].seq));

		if (s && e->loop >= 0 && b->spans[i].flags & SPAN_SAMPLE && b->spans[i].n > 0 && !s->in_flight) {
			s->in_flight = 1;
			s->batch = b->number;
			e->away[b->number]++;
		}
	}
	return begin_trace(e, b) < 0 ? -1 : embed_queue_all(e, &b->f);
}

/* In a ring a fork waits until the positions that it shares have passed all layers.  Control frames
 * of learning wait for backward passes.  */
static int
may_pass(const struct embed *e, const struct frame *f)
{
	const struct embed_seq *s = f->op == OP_FORK && e->ring ? table_get(&e->seqs, &f->from, sizeof(f->from)) : NULL;

	return s ? s->through >= f->fork_n : !op_learns(f->op) || e->learning.n == 0;
}

/* Send the frame of an item that is not rows.  */
static int
send_item(struct embed *e, struct embed_item *p)
{
	struct frame f;
	int r = 0;

	if (p->kind == ITEM_FRAME) {
		if (embed_learn_begin(e, &p->source->f) < 0)
			return -1;
		r = kv_forked(e, &p->source->f);
		return r <= 0 ? r : embed_queue_all(e, &p->source->f);
	}
	if (kv_end(e, p) < 0)
		return -1;
	frame_init(&f);
	f.op = OP_FREE;
	f.seq = p->span.seq;
	if (p->kind == ITEM_FAILED)
		r = frame_set_failed(&f, p->span.seq, p->text);
	if (r == 0)
		r = embed_queue_all(e, &f);
	if (r == 0 && f.op == OP_FAILED)
		failed_report(&f, e->out, e->nout);
	frame_free(&f);
	return r;
}

static int
is_queued(const struct embed *e, size_t bytes)
{
	for (int i = 0; i < e->nout; i++)
		if (e->out[i].queue.n >= bytes)
			return 1;
	return 0;
}

/* Forwarded frames wait for no batch; many small ones are written at once.  1 some were queued, 0
 * there is none, -1 and a message.  */
static int
pass_first(struct embed *e)
{
	struct embed_queue *queues[] = {&e->passing, &e->loops, &e->prompts};
	int passed = 0, r = 0;

	for (int i = 0; i < 3 && r == 0; i++) {
		struct embed_queue *q = queues[i];

		while (r == 0 && q->first < q->n && !is_queued(e, WRITE)) {
			struct embed_item *p = &q->p[q->first];

			if (p->kind == ITEM_ROWS || (p->kind == ITEM_FRAME && !may_pass(e, &p->source->f)))
				break;
			r = send_item(e, p);
			embed_drop(q);
			passed = 1;
		}
	}
	return r < 0 ? -1 : passed;
}

int
embed_batch(struct embed *e)
{
	struct batch *b;
	int r, number;

	if ((r = pass_first(e)) != 0)
		return r;
	if (e->loops.n + e->kv.again.n + e->prompts.n == 0 || (e->kv.on && e->kv.limit == 0))
		return 0;
	if ((number = free_number(e)) < 0)
		return 0;
	if (!(b = e->made) && !(b = e->made = mem_raw(1, sizeof(*b))))
		return -1;
	frame_init(&b->f);
	b->n = 0;
	b->own = NULL;
	b->rows = 0;
	b->header = 1024;               /* more than `at`, `layer`, `model`, `precision`, `ids` and
					 * `h` take */
	e->serial++;
	b->number = number;
	b->sampled = 0;
	b->share = embed_share(e);
	b->start = trace_now();
	r = fill_all(e, b);
	if (r >= 0 && b->n == 0)        /* the ends of prompts that were refused may be first now */
		r = (r = pass_first(e)) != 0 ? r : stuck(e);
	else if (r >= 0)
		r = send_batch(e, b) < 0 ? -1 : 1;
	for (int i = 0; i < b->n; i++)
		if (b->sources[i])
			embed_release(b->sources[i]);
	frame_free(&b->f);
	return r;
}
