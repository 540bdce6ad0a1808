#include "attention/cache.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

struct cache_page {
	struct cache_page *next;        /* among the spare ones */
	size_t refs;
	void *rows;                     /* of CACHE_PAGE positions */
};

void
cache_init(struct cache *c, struct device *device, size_t row)
{
	*c = (struct cache){.device = device, .row = row};
}

static struct cache_page *
page_new(struct cache *c)
{
	struct cache_page *p = c->spare;

	if (p) {
		c->spare = p->next;
	} else {
		if (!(p = mem_raw(1, sizeof(*p))))
			return NULL;
		if (!(p->rows = c->device->ops->page(c->device, CACHE_PAGE * c->row))) {
			free(p);
			return NULL;
		}
	}
	p->refs = 1;
	return p;
}

static void
page_drop(struct cache *c, struct cache_page *p)
{
	if (--p->refs == 0) {
		p->next = c->spare;
		c->spare = p;
	}
}

static void
seq_truncate(struct cache *c, struct cache_seq *s, uint32_t n)
{
	size_t keep = ((size_t)n + CACHE_PAGE - 1) / CACHE_PAGE;

	while (s->npages > keep)
		page_drop(c, s->pages[--s->npages]);
	s->n = n;
}

static struct cache_seq *
seq_new(struct cache *c, uint64_t id)
{
	struct cache_seq *s = calloc(1, sizeof(*s));

	if (!s) {
		fail(FAIL_SYSTEM, "no memory for sequence %" PRIu64, id);
		return NULL;
	}
	s->id = id;
	if (table_put(&c->seqs, &s->id, sizeof(s->id), s) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

struct cache_seq *
cache_find(const struct cache *c, uint64_t id)
{
	return table_get(&c->seqs, &id, sizeof(id));
}

struct cache_seq *
cache_at(struct cache *c, uint64_t id, uint32_t n)
{
	struct cache_seq *s = cache_find(c, id);
	uint32_t have = s ? s->n : 0;

	if (have < n) {
		fail(FAIL_DATA, "sequence %" PRIu64 ": position %" PRIu32 " arrives, cache holds %" PRIu32,
		    id, n, have);
		return NULL;
	}
	if (!s)
		return seq_new(c, id);
	seq_truncate(c, s, n);
	return s;
}

/* A page that others read as well is copied before it is written. */
static int
page_own(struct cache *c, struct cache_seq *s)
{
	struct cache_page **last = &s->pages[s->npages - 1], *p;

	if ((*last)->refs == 1)
		return 0;
	p = page_new(c);
	if (!p)
		return -1;
	if (c->device->ops->copy(c->device, p->rows, (*last)->rows, CACHE_PAGE * c->row) < 0) {
		page_drop(c, p);
		return -1;
	}
	page_drop(c, *last);
	*last = p;
	return 0;
}

int
cache_append(struct cache *c, struct cache_seq *s)
{
	if (s->n % CACHE_PAGE == 0) {
		if (mem_grow(&s->pages, &s->cap, s->npages + 1, sizeof(*s->pages)) < 0 ||
		    !(s->pages[s->npages] = page_new(c)))
			return -1;
		s->npages++;
	} else if (page_own(c, s) < 0) {
		return -1;
	}
	s->n++;
	return 0;
}

void *
cache_page(const struct cache_seq *s, size_t b)
{
	return s->pages[b]->rows;
}

void
cache_release(struct cache *c, uint64_t id)
{
	struct cache_seq *s = table_del(&c->seqs, &id, sizeof(id));

	if (!s)
		return;
	seq_truncate(c, s, 0);
	free(s->pages);
	free(s);
}

int
cache_fork(struct cache *c, uint64_t from, uint64_t to, uint32_t n)
{
	struct cache_seq *a = cache_find(c, from), *b;
	size_t npages = ((size_t)n + CACHE_PAGE - 1) / CACHE_PAGE;

	if (!a)
		return fail(FAIL_DATA, "sequence %" PRIu64 ": unknown, cannot be forked", from);
	if (a->n < n)
		return fail(FAIL_DATA, "sequence %" PRIu64 ": fork of %" PRIu32
		    " positions, cache holds %" PRIu32, from, n, a->n);
	if (cache_find(c, to))
		return fail(FAIL_DATA, "sequence %" PRIu64 ": fork from %" PRIu64
		    " to it, but it exists", to, from);
	b = seq_new(c, to);
	if (!b || mem_grow(&b->pages, &b->cap, npages, sizeof(*b->pages)) < 0)
		return -1;
	for (; b->npages < npages; b->npages++) {
		b->pages[b->npages] = a->pages[b->npages];
		b->pages[b->npages]->refs++;
	}
	b->n = n;
	return 0;
}

void
cache_free(struct cache *c)
{
	struct table_slot *slot = NULL;
	struct cache_page *p;

	while ((slot = table_next(&c->seqs, slot))) {
		struct cache_seq *s = slot->value;

		seq_truncate(c, s, 0);
		free(s->pages);
		free(s);
	}
	table_free(&c->seqs);
	while ((p = c->spare)) {
		c->spare = p->next;
		c->device->ops->page_free(c->device, p->rows);
		free(p);
	}
}
