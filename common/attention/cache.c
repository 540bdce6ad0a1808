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

/* A page that no sequence used before.  */
static struct cache_page *
page_alloc(struct cache *c)
{
	struct cache_page *p = mem_raw(1, sizeof(*p));

	if (!p)
		return NULL;
	p->rows = NULL;
	if (c->row > 0 && !(p->rows = c->device->ops->page(c->device, CACHE_PAGE * c->row))) {
		free(p);
		return NULL;
	}
	return p;
}

static struct cache_page *
page_new(struct cache *c)
{
	struct cache_page *p = c->spare;

	if (c->most > 0 && c->used >= c->most) {
		fail(FAIL_SYSTEM, "the cache is full: %zu pages of %d positions", c->most,
		    CACHE_PAGE);
		return NULL;
	}
	if (p)
		c->spare = p->next;
	else if (!(p = page_alloc(c)))
		return NULL;
	p->refs = 1;
	c->used++;
	c->peak = c->used > c->peak ? c->used : c->peak;
	return p;
}

static void
page_drop(struct cache *c, struct cache_page *p)
{
	if (--p->refs == 0) {
		p->next = c->spare;
		c->spare = p;
		c->used--;
	}
}

size_t
cache_pages(uint32_t n)
{
	return ((size_t)n + CACHE_PAGE - 1) / CACHE_PAGE;
}

static void
seq_truncate(struct cache *c, struct cache_seq *s, uint32_t n)
{
	size_t keep = cache_pages(n);

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
	if (c->row > 0 &&
	    c->device->ops->copy(c->device, p->rows, (*last)->rows, CACHE_PAGE * c->row) < 0) {
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

size_t
cache_needs(const struct cache_seq *s, uint32_t pos, uint32_t n)
{
	size_t keep = cache_pages(pos), needs = cache_pages(pos + n) - keep;

	if (n == 0 || !s)
		return n == 0 ? 0 : needs;
	if (pos % CACHE_PAGE != 0 && s->pages[keep - 1]->refs > 1)
		needs++;
	for (size_t i = keep; i < s->npages && needs > 0; i++)
		needs -= s->pages[i]->refs == 1;
	return needs;
}

uint32_t
cache_shared(const struct cache_seq *s)
{
	size_t n = s->npages;

	while (n > 0 && s->pages[n - 1]->refs == 1)
		n--;
	return n * CACHE_PAGE < s->n ? (uint32_t)(n * CACHE_PAGE) : s->n;
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
	size_t npages = cache_pages(n);

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
		if (p->rows)
			c->device->ops->page_free(c->device, p->rows);
		free(p);
	}
}
