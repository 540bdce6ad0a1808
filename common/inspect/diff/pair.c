#include "inspect/diff/pair.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define PAGE 16                 /* positions per page */

struct waiting {
	struct waiting *next;           /* later row of the same position and side */
	struct waiting *older, *newer;  /* in its arrival list */
	struct row row;                 /* data NULL: only the digest remains */
	uint64_t digest;
	int side, copy;
	_Alignas(8) unsigned char data[];
};

struct slot {
	uint64_t digest[2];     /* of the last row on each side; 0: none */
	struct waiting *first;  /* rows of one side only */
};

struct page_key {
	uint64_t seq;
	uint32_t group, page;
};

struct page {
	struct page_key key;
	struct slot slots[PAGE];
};

void
pair_init(struct pair *p, size_t hold, int (*on_pair)(void *, const struct row *, const struct row *, int), void *arg)
{
	memset(p, 0, sizeof(*p));
	p->hold = hold;
	p->on_pair = on_pair;
	p->arg = arg;
}

static struct slot *
find_slot(struct pair *p, const struct row *r)
{
	struct page_key k = {r->seq, r->group->id, r->pos / PAGE};
	struct page *g = p->last;

	if (!g || memcmp(&g->key, &k, sizeof(k)) != 0)
		g = table_get(&p->pages, &k, sizeof(k));
	if (!g) {
		if (!(g = mem_new(1, sizeof(*g))))
			return NULL;
		g->key = k;
		if (table_put(&p->pages, &g->key, sizeof(g->key), g) < 0) {
			free(g);
			return NULL;
		}
	}
	p->last = g;
	return &g->slots[r->pos % PAGE];
}

static void
list_append(struct arrival_list *a, struct waiting *w)
{
	w->older = a->newest;
	w->newer = NULL;
	if (a->newest)
		a->newest->newer = w;
	else
		a->oldest = w;
	a->newest = w;
}

static void
list_remove(struct arrival_list *a, struct waiting *w)
{
	if (w->older)
		w->older->newer = w->newer;
	else
		a->oldest = w->newer;
	if (w->newer)
		w->newer->older = w->older;
	else
		a->newest = w->older;
}

/* Remove a row from the lists; the caller removes it from its slot. */
static void
release(struct pair *p, struct waiting *w)
{
	if (!w->copy)
		p->waiting[w->side] -= w->row.bytes;
	if (w->row.data) {
		list_remove(w->copy ? &p->copies : &p->rows, w);
		p->held -= w->row.bytes;
	}
}

static void
forget_copy(struct pair *p, struct waiting *w)
{
	struct waiting **at = &find_slot(p, &w->row)->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	release(p, w);
	free(w);
}

/* Keep only the digest of a waiting row. */
static int
forget_data(struct pair *p, struct waiting *w)
{
	struct waiting **at = &find_slot(p, &w->row)->first, *small = malloc(sizeof(*small));

	if (!small)
		return fail(FAIL_SYSTEM, "no memory for a row");
	list_remove(&p->rows, w);
	p->held -= w->row.bytes;
	memcpy(small, w, sizeof(*small));
	small->row.data = NULL;
	while (*at != w)
		at = &(*at)->next;
	*at = small;
	free(w);
	return 0;
}

static int
wait_for_other(struct pair *p, struct slot *s, int side, const struct row *r, uint64_t d, int copy)
{
	struct waiting **at = &s->first, *w = malloc(sizeof(*w) + r->bytes);

	if (!w)
		return fail(FAIL_SYSTEM, "no memory for a row of %zu bytes", r->bytes);
	*w = (struct waiting){.row = *r, .digest = d, .side = side, .copy = copy};
	w->row.data = memcpy(w->data, r->data, r->bytes);
	while (*at)
		at = &(*at)->next;
	*at = w;
	list_append(copy ? &p->copies : &p->rows, w);
	p->held += r->bytes;
	if (!copy)
		p->waiting[side] += r->bytes;
	while (p->held > p->hold && p->copies.oldest)
		forget_copy(p, p->copies.oldest);
	while (p->held > p->hold && p->rows.oldest)
		if (forget_data(p, p->rows.oldest) < 0)
			return -1;
	return 0;
}

/* Pair w with r, which arrived on the other side. repeats: r repeats the row before it. */
static int
meet(struct pair *p, const struct waiting *w, const struct row *r, uint64_t d, int repeats)
{
	struct row other = w->row, this = *r;
	int same = w->digest == d && other.dtype == r->dtype && other.bytes == r->bytes;

	if (!other.data && same)
		other.data = r->data;
	else if (!other.data)
		this.data = NULL;
	return p->on_pair(p->arg, w->side == 0 ? &other : &this, w->side == 0 ? &this : &other,
	    same ? w->copy || repeats : w->copy && repeats);
}

int
pair_row(struct pair *p, int side, const struct row *r)
{
	struct slot *s = find_slot(p, r);
	struct waiting *w;
	uint64_t d, before;
	int status;

	if (!s)
		return -1;
	d = row_digest(r);
	before = s->digest[side];
	s->digest[side] = d;
	w = s->first;
	if (!w || w->side == side)      /* so the other side's last row was paired */
		return wait_for_other(p, s, side, r, d, d == before || d == s->digest[!side]);
	s->first = w->next;
	release(p, w);
	status = meet(p, w, r, d, d == before);
	free(w);
	return status;
}

int
pair_left(struct pair *p, int (*fn)(void *arg, int side, const struct row *r), void *arg)
{
	for (struct table_slot *t = NULL; (t = table_next(&p->pages, t)); ) {
		const struct page *g = t->value;

		for (int i = 0; i < PAGE; i++)
			for (const struct waiting *w = g->slots[i].first; w; w = w->next) {
				struct row r = w->row;

				r.data = NULL;
				if (!w->copy && fn(arg, w->side, &r) < 0)
					return -1;
			}
	}
	return 0;
}

void
pair_free(struct pair *p)
{
	for (struct table_slot *t = NULL; (t = table_next(&p->pages, t)); ) {
		struct page *g = t->value;

		for (int i = 0; i < PAGE; i++)
			while (g->slots[i].first) {
				struct waiting *w = g->slots[i].first;

				g->slots[i].first = w->next;
				free(w);
			}
		free(g);
	}
	table_free(&p->pages);
	memset(p, 0, sizeof(*p));
}
