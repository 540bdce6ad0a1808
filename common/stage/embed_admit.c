/*
 * What may join the next batch, with --cache-size: prompts are forked from what the caches hold,
 * and pages are released for rows that wait.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/embed_kv_internal.h"
#include "stage/sampling.h"

#define WAIT_MIN 16             /* positions: a prompt waits for an earlier one to save so many */
#define AHEAD 64                /* items that wait, for which saved prefixes are loaded */
#define CUTS_MAX 1024           /* sequences that are preempted for a batch */

/* Free the prefix that was not used for longest.  1; 0 there is none; -1 and a message.  */
static int
drop_oldest(struct embed *e)
{
	struct prefix *x = e->kv.prefixes.retained.first;

	if (!x)
		return 0;
	e->kv.dropped++;
	return kv_drop(e, x) < 0 ? -1 : 1;
}

/* Move the loop's items of a sequence to the front of the preempted ones.  */
static int
move_items(struct embed *e, const struct prefix *x)
{
	struct embed_queue *q = &e->loops;
	size_t to = q->first;

	for (size_t i = q->n; i-- > q->first; )
		if (q->p[i].prefix == x && embed_unshift(&e->kv.again, q->p[i]) < 0)
			return -1;
	for (size_t i = q->first; i < q->n; i++)
		if (q->p[i].prefix == x)
			q->rows -= q->p[i].span.n;
		else
			q->p[to++] = q->p[i];
	q->n = to;
	if (q->first == q->n)
		q->first = q->n = 0;
	return 0;
}

/* A draft of x that waits loses its guesses.  */
static void
drop_guesses(struct embed *e, struct prefix *x)
{
	struct embed_queue *q = &e->loops;
	struct embed_seq *s = seq_find(e, x->seq);

	for (size_t i = q->first; i < q->n; i++) {
		struct span *p = &q->p[i].span;

		if (q->p[i].prefix != x || !(p->flags & SPAN_DRAFT) || !s)
			continue;
		q->rows -= p->n - 1;
		p->n = 1;
		p->flags &= ~(uint32_t)(SPAN_DRAFT | SPAN_LOGITS);
		s->pos = x->n = p->pos + 1;
	}
}

/* The caches forget what they hold of a sequence from position n on.  */
static int
preempt(struct embed *e, struct prefix *x, uint32_t n)
{
	struct embed_kv *kv = &e->kv;

	drop_guesses(e, x);
	if (mem_grow(&kv->cuts, &kv->cuts_cap, kv->ncuts + 1, sizeof(*kv->cuts)) < 0 ||
	    !cache_at(&kv->mirror, x->seq, n))
		return -1;
	kv->cuts[kv->ncuts++] = (struct span){x->seq, n, 0, 0};
	kv->preempted++;
	return move_items(e, x);
}

static int
may_wait(const struct embed *e, const struct prefix *x)
{
	const struct embed_seq *s = seq_find(e, x->seq);

	return x->begun && !x->ending && !(s && s->prefix == x && s->in_flight);
}

/* Preempt the youngest sequence, other than x, that has pages to release; if none has pages of its
 * own, the youngest.  1; 0 there is none; -1 and a message.  */
static int
preempt_youngest(struct embed *e, const struct prefix *except)
{
	for (int alone = 1; alone >= 0 && e->kv.ncuts < CUTS_MAX; alone--)
		for (struct prefix *x = e->kv.prefixes.live.last; x; x = x->before) {
			const struct cache_seq *c = cache_find(&e->kv.mirror, x->seq);
			uint32_t n = c && alone ? cache_shared(c) : 0;

			if (c && c->n > n && x != except && may_wait(e, x))
				return preempt(e, x, n) < 0 ? -1 : 1;
		}
	return 0;
}

/* Pages that the loop's rows of the next batch need.  Guesses have no claim to a page.  */
static size_t
loops_need(const struct embed *e)
{
	const struct embed_queue *q = &e->loops;
	size_t needs = 0, sampled = 0, share = embed_share(e);
	uint32_t rows = 0;

	for (size_t i = q->first; i < q->n && rows < e->batch && q->p[i].kind == ITEM_ROWS; i++) {
		const struct span *p = &q->p[i].span;
		const struct embed_seq *s = seq_find(e, p->seq);

		sampled += p->flags & SPAN_SAMPLE && p->n > 0;
		if (sampled > share || (p->n > 0 && s && s->in_flight))
			break;
		needs += cache_needs(cache_find(&e->kv.mirror, p->seq), p->pos,
		    p->flags & SPAN_DRAFT ? 1 : p->n);
		rows += p->n;
	}
	return needs;
}

/* Make room for these rows: prefixes are dropped, then the youngest sequences preempted.  */
static int
loops_admit(struct embed *e)
{
	int r = 1;

	while (r > 0 && loops_need(e) > kv_left(e))
		if ((r = drop_oldest(e)) == 0)
			r = preempt_youngest(e, NULL);
	return r < 0 ? -1 : 0;
}

/* --- prompts --- */

/* For prefix_find: positions that the caches hold; those that they will hold before the prompt's
 * turn.  */
static uint32_t
positions_now(const struct prefix *x, void *arg)
{
	return kv_held(arg, x);
}

static uint32_t
positions_later(const struct prefix *x, void *arg)
{
	const struct embed *e = arg;

	return x->loading ? x->n : x->serial == e->serial ? x->ahead : 0;
}

/* Skip the first n rows of an item.  */
static void
skip(struct embed_queue *q, struct embed_item *p, uint32_t n)
{
	q->rows -= n;
	p->span.pos += n;
	p->span.n -= n;
	p->row += n;
}

/* A sequence that can never have enough pages fails.  Its items are dropped.  */
static int
refuse(struct embed *e, struct prefix *x)
{
	struct embed_seq *s = seq_find(e, x->seq);
	struct embed_queue *q = &e->prompts;
	char text[256];

	x->failed = 1;
	fail(FAIL_SYSTEM, "it needs %u positions of the KV caches, --cache-size allows %llu", x->n,
	    LLU(e->kv.limit * CACHE_PAGE));
	if (s && s->prefix == x) {
		seq_returned(e, s);
		return seq_refuse(e, s);
	}
	fail_in("%s", program);
	snprintf(text, sizeof(text), "%s", fail_text());
	for (size_t i = q->first; i < q->n; i++)        /* it has ended: its `free` waits */
		if (q->p[i].prefix == x && q->p[i].kind == ITEM_FREE) {
			q->p[i].kind = ITEM_FAILED;
			if (!(q->p[i].text = strdup(text)))
				return fail(FAIL_SYSTEM, "no memory for a message");
			return e->loop >= 0 ? seq_expect_echo(e, x->seq) : 0;
		}
	return 0;
}

/* Sequences whose rows wait for no page, or that end without any.  */
static size_t
running(const struct embed *e)
{
	size_t n = e->kv.ending + e->loops.n - e->loops.first;

	for (int i = 0; i < EMBED_BATCHES_MAX; i++)
		n += e->away[i];
	return n;
}

/* What the next batch has been promised.  */
struct promised {
	size_t pages;
	size_t items;                   /* of preempted sequences and of prompts */
};

/* Pages are missing: drop the oldest prefix, or preempt others than x if nothing else can go on.
 * 1: there are more now; 0: x waits; -1 and a message.  */
static int
release_some(struct embed *e, const struct prefix *x, const struct promised *to)
{
	int r = drop_oldest(e);

	return r != 0 || running(e) + to->items > 0 ? r : preempt_youngest(e, x);
}

/* Make room for all tokens of x that are known.  1, and they are promised; 0: it waits; -1 and a
 * message.  */
static int
make_room(struct embed *e, const struct prefix *x, struct promised *to)
{
	const struct cache_seq *s = cache_find(&e->kv.mirror, x->seq);
	uint32_t n = kv_held(e, x);
	size_t needs;
	int r;

	while ((needs = cache_needs(s, n, x->n - n)) > 0 &&
	    to->pages + needs + running(e) > kv_left(e))
		if ((r = release_some(e, x, to)) <= 0)
			return r;
	to->pages += needs;
	return 1;
}

/* Whether a prompt, by its first item, may start after a prefix.  */
static int
may_share(const struct embed *e, const struct embed_item *p)
{
	return p->span.pos == 0 && p->span.n > 0 && !p->prefix->own &&
	    !(p->span.flags & SPAN_LOGITS) && (e->loop >= 0 || p->span.flags & SPAN_SAMPLE);
}

/* Tokens of a prompt, by its first item, that may be shared.  Its last row is sampled; the tokens
 * that it counts as new pass ds-sample, which needs them for stop strings.  */
static uint32_t
most_shared(const struct embed_item *p)
{
	const struct frame_seq *q = p->params < 0 ? NULL : &p->source->f.seqs[p->params];
	uint32_t fresh = q ? sampling_new(q->params, q->n) : 0, kept = fresh > 1 ? fresh : 1;

	return p->span.n > kept ? p->span.n - kept : 0;
}

/* The sequence that a prompt, by its first item, is forked from, and for how many positions; NULL:
 * none.  *waits: it waits instead for rows of an earlier prompt.  */
static struct prefix *
source_of(struct embed *e, const struct embed_item *p, uint32_t *n, int *waits)
{
	const struct prefix *x = p->prefix;
	uint32_t most, later;
	struct prefix *y;

	*n = 0;
	*waits = 0;
	if (!may_share(e, p))
		return NULL;
	most = most_shared(p);
	y = prefix_find(&e->kv.prefixes, x->ids, most, positions_now, e, n);
	later = *n;
	(void)prefix_find(&e->kv.prefixes, x->ids, most, positions_later, e, &later);
	*waits = later - *n >= WAIT_MIN || (later > *n && later == most);
	if (y && *n < SHARED_MIN && *n < most) {
		*n = 0;
		return NULL;
	}
	return y;
}

/* How many of a prompt's tokens, by its first item, are saved, under *key, if that is worth loading
 * in place of the n that the caches hold; else 0.  */
static uint32_t
seek(const struct embed *e, const struct embed_item *p, uint32_t n, struct saved_key *key)
{
	uint32_t most = most_shared(p), saved;

	p->prefix->sought = 1;
	if (!may_share(e, p) || (saved = files_find(e, p->prefix->ids, most, key)) <= n)
		return 0;
	return saved - n < WAIT_MIN && saved < most ? 0 : saved;
}

/* A prompt whose turn it is: load a saved prefix of it, if there is room.  0, or -1 and a
 * message.  */
static int
load(struct embed *e, const struct embed_item *p, uint32_t n, const struct promised *to)
{
	struct saved_key key;
	uint32_t saved = seek(e, p, n, &key);
	int r;

	while (saved > 0 && cache_pages(saved) + to->pages + running(e) > kv_left(e))
		if ((r = drop_oldest(e)) <= 0)
			return r;
	return saved > 0 ? files_load(e, &key, p->prefix->ids, saved) : 0;
}

/* Load saved prefixes of prompts that wait, while pages are free, so that they need not be loaded
 * one after another.  0, or -1 and a message.  */
static int
load_ahead(struct embed *e, const struct promised *to)
{
	const struct embed_queue *q = &e->prompts;
	size_t end = q->n - q->first > AHEAD ? q->first + AHEAD : q->n;

	for (size_t i = q->first; i < end && e->files.on; i++) {
		const struct embed_item *p = &q->p[i];
		struct saved_key key;
		uint32_t n, saved;
		int waits;

		if (p->kind != ITEM_ROWS || p->prefix->begun || p->prefix->sought)
			continue;
		if (2 * cache_pages(p->prefix->n) + to->pages + running(e) > kv_left(e))
			return 0;
		(void)source_of(e, p, &n, &waits);
		if (!waits && (saved = seek(e, p, n, &key)) > 0 &&
		    files_load(e, &key, p->prefix->ids, saved) < 0)
			return -1;
	}
	return 0;
}

/* The first item of a prompt: make room for its tokens, and fork it.  1; 0: it waits; -1 and a
 * message.  */
static int
begin(struct embed *e, struct embed_queue *q, struct embed_item *p, struct promised *to)
{
	struct prefix *x = p->prefix, *y;
	size_t needs;
	uint32_t n;
	int waits, r;

	for (;;) {
		y = source_of(e, p, &n, &waits);
		if (waits)
			return 0;
		if (!x->sought) {
			if (load(e, p, n, to) < 0)
				return -1;
			continue;       /* it may wait now, or a prefix was dropped */
		}
		needs = cache_pages(x->n) - n / CACHE_PAGE;
		if (to->pages + needs + running(e) <= kv_left(e))
			break;
		if ((r = release_some(e, x, to)) <= 0)
			return r;
	}
	to->pages += needs;
	x->begun = 1;
	e->kv.begun++;
	if (!y)
		return 1;
	if (y->retained)
		prefix_use(&e->kv.prefixes, y);
	e->kv.hits++;
	e->kv.saved += n;
	skip(q, p, n);
	return kv_send_fork(e, y->seq, x->seq, n) < 0 ? -1 : 1;
}

/* Admit the queue's items to the next batch, in order.  1: all that fit into it; 0: one waits; 2:
 * the queue has changed; -1 and a message.  */
static int
admit(struct embed *e, struct embed_queue *q, struct promised *to)
{
	uint64_t rows = 0;
	int r;

	for (size_t i = q->first; i < q->n && rows < e->batch && q->p[i].kind == ITEM_ROWS; i++) {
		struct embed_item *p = &q->p[i];
		struct prefix *x = p->prefix;

		if (x->failed)
			continue;
		if (cache_pages(x->n) > e->kv.limit)
			return refuse(e, x) < 0 ? -1 : 2;
		if (x->serial != e->serial && (r = x->begun ? make_room(e, x, to) :
		    begin(e, q, p, to)) <= 0)
			return r;
		to->items++;
		x->serial = e->serial;
		x->ahead = p->span.pos + p->span.n;
		rows += p->span.n;
	}
	return 1;
}

/* Admit prompts that overtake the first.  They release no page but those of retained prefixes.  0,
 * or -1 and a message.  */
static int
admit_fair(struct embed *e, struct promised *to)
{
	struct embed_queue *q = &e->prompts;
	uint64_t rows = fair_rows(e, e->batch - e->loops.rows - e->kv.again.rows), next = 0;
	size_t list[FAIR_MAX];
	int n = rows > 0 && to->items > 0 ? fair_list(e, list) : 0, r;

	for (int i = 0; i < n && next < rows; i++) {
		struct embed_item *p = &q->p[list[i]];
		struct prefix *x = p->prefix;

		if (x->failed || cache_pages(x->n) > e->kv.limit || x->serial == e->serial)
			continue;
		if ((r = x->begun ? make_room(e, x, to) : begin(e, q, p, to)) < 0)
			return -1;
		if (r == 0)
			continue;
		to->items++;
		x->serial = e->serial;
		x->ahead = p->span.pos + p->span.n;
		next += p->span.n;
	}
	return 0;
}

int
kv_prepare(struct embed *e)
{
	struct promised to;
	int r;

	e->kv.ncuts = 0;
	if (!e->kv.on)
		return 0;
	do {
		e->serial++;
		if (loops_admit(e) < 0)
			return -1;
		to = (struct promised){.pages = loops_need(e)};
		if ((r = admit(e, &e->kv.again, &to)) == 1)
			r = admit(e, &e->prompts, &to);
	} while (r == 2);
	if (r == 1)
		r = admit_fair(e, &to);
	return r < 0 ? -1 : load_ahead(e, &to);
}
