/*
 * The sequences of ds-draft: what is known here of what the caches hold.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/draft_internal.h"

static size_t
width(const struct draft *d)
{
	return (size_t)d->s->model->config.hidden_size;
}

static void
seq_free(struct draft_seq *s)
{
	if (!s)
		return;
	free(s->hidden);
	free(s->ids);
	free(s);
}

struct draft_seq *
draft_find(const struct draft *d, uint64_t seq)
{
	return table_get(&d->seqs, &seq, sizeof(seq));
}

struct draft_seq *
draft_get(struct draft *d, uint64_t seq)
{
	struct draft_seq *s = draft_find(d, seq);

	if (s || !(s = mem_new(1, sizeof(*s))))
		return s;
	s->seq = seq;
	if ((d->o.by == DRAFT_MTP && !(s->hidden = mem_raw(width(d), sizeof(*s->hidden)))) ||
	    table_put(&d->seqs, &s->seq, sizeof(s->seq), s) < 0) {
		seq_free(s);
		return NULL;
	}
	return s;
}

void
draft_forget(struct draft *d, uint64_t seq)
{
	seq_free(table_del(&d->seqs, &seq, sizeof(seq)));
	if (d->o.by == DRAFT_MTP)
		cache_release(mtp_cache(&d->mtp), seq);
}

/* --- what is known of a sequence's positions --- */

/* Nothing before that position is known.  */
static void
begin_at(struct draft_seq *s, uint32_t pos)
{
	s->base = pos;
	s->n = 0;
	s->nids = 0;
	s->waits = 0;
}

static uint32_t
known(const struct draft *d, const struct draft_seq *s)
{
	return s->base + (d->o.by == DRAFT_MTP ? s->n : (uint32_t)s->nids);
}

/* Forget positions from pos on.  The row of position pos - 1 stays as it is, even if another token
 * follows now.  */
static void
truncate_to(struct draft_seq *s, uint32_t pos)
{
	uint32_t keep = pos > s->base ? pos - s->base : 0;

	s->n = s->n < keep ? s->n : keep;
	s->nids = s->nids < keep ? s->nids : keep;
	s->waits = 0;
}

int
draft_fork(struct draft *d, uint64_t from, uint64_t to, uint32_t n)
{
	struct draft_seq *a = draft_find(d, from), *b;
	uint32_t keep;

	if (from == to)
		return 0;
	draft_forget(d, to);
	if (!(b = draft_get(d, to)))
		return -1;
	b->next = n;
	begin_at(b, n);
	if (!a || n <= a->base)
		return 0;
	keep = n - a->base;
	b->base = a->base;
	b->n = a->n < keep ? a->n : keep;
	b->nids = a->nids < keep ? a->nids : keep;
	b->waits = a->waits && a->next == n;
	if (b->waits)
		memcpy(b->hidden, a->hidden, width(d) * sizeof(*b->hidden));
	if (b->nids > 0) {
		if (mem_grow(&b->ids, &b->cap, b->nids, sizeof(*b->ids)) < 0)
			return -1;
		memcpy(b->ids, a->ids, b->nids * sizeof(*b->ids));
	}
	return d->o.by == DRAFT_PROMPT || d->broken || b->n == 0 ? 0 :
	    cache_fork(mtp_cache(&d->mtp), from, to, b->n);
}

/* --- rows that caches hold --- */

static int
hold_ids(struct draft_seq *s, const struct draft_held *h)
{
	if (mem_grow(&s->ids, &s->cap, s->nids + h->span.n + 1, sizeof(*s->ids)) < 0)
		return -1;
	if (h->span.n > 0)
		memcpy(s->ids + s->nids, h->ids, h->span.n * sizeof(*h->ids));
	s->nids += h->span.n;
	s->ids[s->nids] = h->token;     /* the newest counts once caches hold it */
	return h->token >= 0;
}

static void
add_row(struct draft_rows *r, const float *hidden, int32_t next, size_t D)
{
	memcpy(r->hidden + (size_t)r->T * D, hidden, D * sizeof(*hidden));
	r->next[r->T++] = next;
}

static int
is_finite(const float *x, size_t n)
{
	int r = 1;

	for (size_t i = 0; i < n; i++)
		r &= isfinite(x[i]) != 0;
	return r;
}

static int
hold_hidden(struct draft *d, struct draft_seq *s, const struct draft_held *h, struct draft_rows *r)
{
	uint32_t n = h->span.n, from;
	size_t D = width(d);
	int begun = r->T;

	if (n == 0)
		return 0;
	/* a layer would refuse rows that are not numbers; ds-sample refuses the sequence alone */
	if (!h->hidden || !is_finite(h->hidden, n * D)) {
		begin_at(s, h->span.pos + n);
		return 0;
	}
	if (s->waits)
		add_row(r, s->hidden, h->ids[0], D);
	from = s->base + s->n;
	if (from + (uint32_t)(r->T - begun) != h->span.pos) {   /* some are missing */
		r->T = begun;
		begin_at(s, h->span.pos);
		from = s->base;
	}
	for (uint32_t i = 0; i + 1 < n; i++)
		add_row(r, h->hidden + i * D, h->ids[i + 1], D);
	s->waits = h->token < 0;
	if (s->waits)
		memcpy(s->hidden, h->hidden + (n - 1) * D, D * sizeof(*h->hidden));
	else
		add_row(r, h->hidden + (n - 1) * D, h->token, D);
	s->n += (uint32_t)(r->T - begun);
	if (r->T > begun)
		r->spans[r->nspans++] = (struct span){s->seq, from - s->base,
		    (uint32_t)(r->T - begun), 0};
	return !s->waits;
}

int
draft_hold(struct draft *d, struct draft_seq *s, const struct draft_held *h, struct draft_rows *r)
{
	int result;

	if (h->span.pos != s->next)
		truncate_to(s, h->span.pos);
	if (h->span.pos == 0) {
		begin_at(s, 0);
		if (d->o.by == DRAFT_MTP)
			cache_release(mtp_cache(&d->mtp), s->seq);
	}
	if (d->o.by == DRAFT_PROMPT && known(d, s) != h->span.pos)
		begin_at(s, h->span.pos);
	result = d->o.by == DRAFT_PROMPT ? hold_ids(s, h) : hold_hidden(d, s, h, r);
	s->next = h->span.pos + h->span.n;
	return result;
}
