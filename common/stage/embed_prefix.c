/*
 * A search compares a prompt with every sequence.  It looks first at the token that would make the
 * match longer than the best so far, so that most sequences cost one comparison.
 */
#include "stage/embed_prefix.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static struct prefix_list *
list_of(struct prefixes *p, const struct prefix *x)
{
	return x->retained ? &p->retained : &p->live;
}

static void
list_add(struct prefix_list *l, struct prefix *x)
{
	x->before = l->last;
	x->after = NULL;
	*(l->last ? &l->last->after : &l->first) = x;
	l->last = x;
	l->n++;
}

static void
list_drop(struct prefix_list *l, struct prefix *x)
{
	*(x->before ? &x->before->after : &l->first) = x->after;
	*(x->after ? &x->after->before : &l->last) = x->before;
	l->n--;
}

void
prefix_close(struct prefixes *p)
{
	while (p->live.first)
		prefix_free(p, p->live.first);
	while (p->retained.first)
		prefix_free(p, p->retained.first);
}

struct prefix *
prefix_new(struct prefixes *p, uint64_t seq)
{
	struct prefix *x = mem_new(1, sizeof(*x));

	if (!x)
		return NULL;
	x->seq = seq;
	list_add(&p->live, x);
	return x;
}

int
prefix_set(struct prefix *x, uint32_t pos, const int32_t *ids, uint32_t n)
{
	if (mem_grow(&x->ids, &x->cap, (size_t)pos + n, sizeof(*x->ids)) < 0)
		return -1;
	if (n > 0)
		memcpy(x->ids + pos, ids, n * sizeof(*ids));
	x->n = pos + n;
	return 0;
}

uint32_t
prefix_common(const struct prefix *x, const int32_t *ids, uint32_t n)
{
	uint32_t i = 0, most = n < x->n ? n : x->n;

	while (i < most && x->ids[i] == ids[i])
		i++;
	return i;
}

struct prefix *
prefix_find(const struct prefixes *p, const int32_t *ids, uint32_t n,
    uint32_t (*positions)(const struct prefix *x, void *arg), void *arg, uint32_t *common)
{
	struct prefix *const lists[] = {p->retained.first, p->live.first};
	struct prefix *best = NULL;

	for (int i = 0; i < 2; i++)
		for (struct prefix *x = lists[i]; x && *common < n; x = x->after) {
			uint32_t at = *common, both;

			if (x->own || x->n <= at || x->ids[at] != ids[at] ||
			    (both = positions(x, arg)) <= at)
				continue;
			both = prefix_common(x, ids, both < n ? both : n);
			if (both > at) {
				best = x;
				*common = both;
			}
		}
	return best;
}

struct prefix *
prefix_retained(const struct prefixes *p, uint64_t seq)
{
	for (struct prefix *x = p->retained.first; x; x = x->after)
		if (x->seq == seq)
			return x;
	return NULL;
}

struct prefix *
prefix_covering(const struct prefixes *p, const int32_t *ids, uint32_t n, int inside)
{
	for (struct prefix *x = p->retained.first; x; x = x->after) {
		uint32_t both = inside ? x->n : n;

		if (both <= x->n && both <= n && (both == 0 || x->ids[both - 1] == ids[both - 1]) &&
		    prefix_common(x, ids, n) == both)
			return x;
	}
	return NULL;
}

void
prefix_retain(struct prefixes *p, struct prefix *x, uint64_t seq, uint32_t n)
{
	list_drop(&p->live, x);
	x->retained = 1;
	x->seq = seq;
	x->n = n;
	list_add(&p->retained, x);
}

void
prefix_use(struct prefixes *p, struct prefix *x)
{
	list_drop(&p->retained, x);
	list_add(&p->retained, x);
}

void
prefix_free(struct prefixes *p, struct prefix *x)
{
	list_drop(list_of(p, x), x);
	free(x->ids);
	free(x);
}
