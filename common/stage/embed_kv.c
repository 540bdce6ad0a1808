/*
 * The pages of the KV caches, as ds-embed sees them.
 *
 * The mirror is a cache without memory.  It gets the calls that each cache downstream gets, in the
 * order of the stream, so it has the pages that each layer has.  Before a batch, embed_admit.c
 * changes it: prompts are forked, retained prefixes freed, sequences preempted.  Then each span of
 * the batch is appended.
 */
#include <stdlib.h>
#include <string.h>

#include "attention/attention.h"
#include "base/fail.h"
#include "stage/embed_kv_internal.h"

int
kv_open(struct embed *e, uint64_t size)
{
	struct embed_kv *kv = &e->kv;

	if (e->ring)
		return fail(FAIL_USAGE, "--cache-size: not with --ring, whose layers' caches are "
		    "never at the same row");
	kv->on = 1;
	kv->size = size;
	cache_init(&kv->mirror, NULL, 0);
	return 0;
}

void
kv_close(struct embed *e)
{
	cache_free(&e->kv.mirror);
	prefix_close(&e->kv.prefixes);
	free(e->kv.cuts);
}

void
kv_report(const struct embed *e)
{
	const struct embed_kv *kv = &e->kv;

	if (!kv->on)
		return;
	warn("%llu of %llu prompts began after a known prefix of %llu positions in all; "
	    "%llu prefixes dropped, %llu sequences preempted, %llu rows computed again",
	    LLU(kv->hits), LLU(kv->begun), LLU(kv->saved), LLU(kv->dropped), LLU(kv->preempted),
	    LLU(kv->again_rows));
	warn("%zu pages of %d positions in use, at most %zu of %zu", kv->mirror.used, CACHE_PAGE,
	    kv->mirror.peak, kv->limit);
}

/* --- the limit --- */

/* positions: what the stages have room for, or CACHE_ANY.  Then all layers are one process.  */
static int
set_limit(struct embed *e, uint64_t positions)
{
	const struct config *c = &e->stage->model->config;
	struct attention_where where = attention_where(e->stage->device);
	uint64_t row = (uint64_t)c->num_layers * attention_of(c)->cache_row(c, where);
	struct embed_kv *kv = &e->kv;

	if (positions == CACHE_ANY)
		positions = kv->size / row;
	kv->limit = positions / CACHE_PAGE;
	return kv->limit > 0 ? 0 : fail(FAIL_USAGE, "--cache-size %llu: a page of %d positions has "
	    "%llu bytes in all layers", LLU(kv->size), CACHE_PAGE, LLU(row * CACHE_PAGE));
}

int
kv_start(struct embed *e)
{
	struct frame f;
	int r;

	if (!e->kv.on)
		return 0;
	frame_init(&f);
	f.op = OP_CACHE;
	f.size = e->kv.size;
	f.positions = CACHE_ANY;
	r = embed_queue_all(e, &f);
	frame_free(&f);
	return r < 0 ? -1 : e->loop < 0 ? set_limit(e, CACHE_ANY) : 0;
}

int
kv_limit(struct embed *e, const struct frame *f)
{
	return e->kv.on && e->kv.limit == 0 ? set_limit(e, f->positions) : 0;
}

/* --- sequences --- */

uint32_t
kv_held(const struct embed *e, const struct prefix *x)
{
	int held = x->retained ? !x->loading : x->begun;
	const struct cache_seq *s = held ? cache_find(&e->kv.mirror, x->seq) : NULL;

	return !s ? 0 : s->n < x->n ? s->n : x->n;
}

static int
send_free(struct embed *e, uint64_t seq)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_FREE;
	f.seq = seq;
	r = embed_queue_all(e, &f);
	frame_free(&f);
	cache_release(&e->kv.mirror, seq);
	return r;
}

int
kv_send_fork(struct embed *e, uint64_t from, uint64_t to, uint32_t n)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_FORK;
	f.from = from;
	f.to = to;
	f.fork_n = n;
	r = embed_queue_all(e, &f);
	frame_free(&f);
	return r < 0 ? -1 : cache_fork(&e->kv.mirror, from, to, n);
}

int
kv_drop(struct embed *e, struct prefix *x)
{
	int r = send_free(e, x->seq);

	prefix_free(&e->kv.prefixes, x);
	return r;
}

int
kv_seq(struct embed *e, struct embed_seq *s)
{
	struct prefix *x;

	if (!e->kv.on)
		return 0;
	if ((x = prefix_retained(&e->kv.prefixes, s->seq)) && kv_drop(e, x) < 0)
		return -1;
	return (s->prefix = prefix_new(&e->kv.prefixes, s->seq)) ? 0 : -1;
}

int
kv_copy(struct embed_seq *to, const struct embed_seq *from, uint32_t n)
{
	if (!to->prefix)
		return 0;
	to->prefix->own = from->prefix->own;
	return prefix_set(to->prefix, 0, from->prefix->ids, n);
}

int
kv_is_retained(const struct embed *e, uint64_t seq)
{
	return prefix_retained(&e->kv.prefixes, seq) != NULL;
}

int
kv_tokens(struct embed_seq *s, const struct embed_source *src, uint32_t row, uint32_t pos,
    uint32_t n)
{
	const int32_t *ids = frame_tensor((struct frame *)(uintptr_t)&src->f, "ids")->data;

	if (!s->prefix)
		return 0;
	s->prefix->own |= src->own;
	return prefix_set(s->prefix, pos, ids + row, n);
}

void
kv_ending(struct embed *e, struct embed_seq *s, int ending)
{
	if (s->prefix && s->prefix->ending != ending) {
		s->prefix->ending = ending;
		e->kv.ending += ending ? 1 : (size_t)-1;
	}
}

/* Retain what the caches hold of a sequence that ends, unless a retained prefix has it all.  1: it
 * is retained, 0, or -1 and a message.  */
static int
retain(struct embed *e, struct prefix *x)
{
	struct prefixes *all = &e->kv.prefixes;
	uint32_t n = kv_held(e, x);
	uint64_t seq;
	struct prefix *y;

	if (e->loop < 0 || x->own || x->failed || n < SHARED_MIN)
		return 0;
	if (files_save(e, x, n) < 0)
		return -1;
	if ((y = prefix_covering(all, x->ids, n, 0))) {
		prefix_use(all, y);
		return 0;
	}
	while ((y = prefix_covering(all, x->ids, n, 1)))
		if (kv_drop(e, y) < 0)
			return -1;
	seq = seq_fresh(e);
	if (kv_send_fork(e, x->seq, seq, n) < 0)
		return -1;
	prefix_retain(all, x, seq, n);
	return 1;
}

int
kv_end(struct embed *e, const struct embed_item *p)
{
	uint64_t seq = p->span.seq;
	int r;

	if (!p->prefix)
		return 0;
	if ((r = p->kind == ITEM_FREE ? retain(e, p->prefix) : 0) < 0)
		return -1;
	if (r == 0)
		prefix_free(&e->kv.prefixes, p->prefix);
	cache_release(&e->kv.mirror, seq);
	return 0;
}

int
kv_forked(struct embed *e, struct frame *f)
{
	struct cache_seq *from;
	struct prefix *to = e->kv.prefixes.live.first;
	uint32_t n;

	if (!e->kv.on || f->op != OP_FORK)
		return 1;
	while (to && (to->seq != f->to || to->begun))
		to = to->after;
	if (to)
		to->begun = 1;
	from = cache_find(&e->kv.mirror, f->from);
	n = !from ? 0 : from->n < f->fork_n ? from->n : f->fork_n;
	if (n == 0)
		return 0;
	f->changed |= n != f->fork_n;
	f->fork_n = n;
	return cache_fork(&e->kv.mirror, f->from, f->to, n) < 0 ? -1 : 1;
}

/* --- the batch --- */

size_t
kv_left(const struct embed *e)
{
	return e->kv.limit > e->kv.mirror.used ? e->kv.limit - e->kv.mirror.used : 0;
}

int
kv_admitted(const struct embed *e, const struct embed_item *p, const struct embed_queue *q)
{
	return !e->kv.on || q == &e->loops || p->prefix->serial == e->serial;
}

uint32_t
kv_room(const struct embed *e, const struct span *p)
{
	const struct cache_seq *s = e->kv.on ? cache_find(&e->kv.mirror, p->seq) : NULL;
	uint32_t in_page = (CACHE_PAGE - p->pos % CACHE_PAGE) % CACHE_PAGE;
	size_t first, pages = kv_left(e);

	if (!e->kv.on || cache_needs(s, p->pos, p->n) <= pages)
		return p->n;
	first = in_page ? cache_needs(s, p->pos, 1) : 0;
	if (first > pages)
		return 0;
	pages -= first;
	return pages > (p->n - 1) / CACHE_PAGE || in_page + pages * CACHE_PAGE > p->n ? p->n :
	    in_page + (uint32_t)pages * CACHE_PAGE;
}

int
kv_append(struct embed *e, const struct span *p)
{
	struct cache_seq *s;

	if (!e->kv.on)
		return 0;
	if (!(s = cache_at(&e->kv.mirror, p->seq, p->pos)))
		return -1;
	for (uint32_t i = 0; i < p->n; i++)
		if (cache_append(&e->kv.mirror, s) < 0)
			return -1;
	return 0;
}

uint32_t
kv_lost(const struct embed *e, const struct embed_item *p)
{
	const struct cache_seq *s = e->kv.on ? cache_find(&e->kv.mirror, p->span.seq) : NULL;
	uint32_t n = s ? s->n : 0;

	return e->kv.on && n < p->span.pos ? p->span.pos - n : 0;
}
