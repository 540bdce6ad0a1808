#include "token/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

#define BLOCK 65536             /* minimum number of bytes searched at a time */

struct added_node {
	/* fail: the longest proper suffix of this path that is also a path */
	uint32_t parent, fail;
	uint32_t depth;
	uint32_t len;      /* length of the longest content that is a suffix of the path, 0: none */
	int32_t id;             /* id of that content */
	unsigned char byte;     /* of the edge from the parent */
};

static uint32_t *
slot_of(const struct added *a, uint32_t parent, unsigned char byte)
{
	size_t i = (((uint64_t)parent << 8 | byte) * 0x9e3779b97f4a7c15u >> 32) & (a->nedges - 1);

	while (a->edges[i] && (a->nodes[a->edges[i]].parent != parent || a->nodes[a->edges[i]].byte != byte))
		i = (i + 1) & (a->nedges - 1);
	return &a->edges[i];
}

static int
grow(struct added *a)
{
	size_t want = a->nedges ? a->nedges : 256;

	if (a->n >= UINT32_MAX)
		return fail(FAIL_DATA, "the added tokens are too long");
	if (mem_grow(&a->nodes, &a->cap, a->n + 1, sizeof(*a->nodes)) < 0)
		return -1;
	while (want < 2 * (a->n + 1))
		want *= 2;
	if (want == a->nedges)
		return 0;
	free(a->edges);
	a->nedges = 0;
	if (!(a->edges = mem_new(want, sizeof(*a->edges))))
		return -1;
	a->nedges = want;
	for (uint32_t i = 1; i < a->n; i++)
		*slot_of(a, a->nodes[i].parent, a->nodes[i].byte) = i;
	return 0;
}

int
added_put(struct added *a, const char *content, size_t len, int32_t id)
{
	uint32_t at = 0;

	if (table_put(&a->ids, content, len, (void *)(intptr_t)(id + 1)) < 0)
		return -1;
	if (a->n == 0) {
		if (grow(a) < 0)
			return -1;
		a->nodes[a->n++] = (struct added_node){.len = 0};
	}
	for (size_t i = len; i-- > 0; ) {
		unsigned char byte = (unsigned char)content[i];
		uint32_t *slot = slot_of(a, at, byte);

		if (!*slot) {
			if (grow(a) < 0)
				return -1;
			a->nodes[a->n] = (struct added_node){.parent = at, .byte = byte, .depth = a->nodes[at].depth + 1};
			*slot_of(a, at, byte) = (uint32_t)a->n++;
			slot = slot_of(a, at, byte);
		}
		at = *slot;
	}
	a->nodes[at].len = (uint32_t)len;
	a->nodes[at].id = id;
	a->last[(unsigned char)content[len - 1]] = 1;
	if (len > a->longest)
		a->longest = len;
	return 0;
}

/* The state after reading `byte`. */
static uint32_t
next(const struct added *a, uint32_t state, unsigned char byte)
{
	for (;;) {
		uint32_t child = *slot_of(a, state, byte);

		if (child || !state)
			return child;
		state = a->nodes[state].fail;
	}
}

/* The nodes in order of depth, to be freed; NULL and a message. */
static uint32_t *
by_depth(const struct added *a)
{
	uint32_t *order = mem_raw(a->n, sizeof(*order)), *ends = mem_new(a->longest + 2, sizeof(*ends));

	if (order && ends) {
		for (size_t i = 0; i < a->n; i++)
			ends[a->nodes[i].depth + 1]++;
		for (size_t d = 0; d <= a->longest; d++)
			ends[d + 1] += ends[d];
		for (uint32_t i = 0; i < a->n; i++)
			order[ends[a->nodes[i].depth]++] = i;
	} else {
		free(order);
		order = NULL;
	}
	free(ends);
	return order;
}

int
added_ready(struct added *a)
{
	uint32_t *order;

	if (a->n == 0)
		return 0;
	if (!(order = by_depth(a)))
		return -1;
	for (size_t i = 1; i < a->n; i++) {
		struct added_node *node = &a->nodes[order[i]];
		const struct added_node *fail;

		node->fail = node->parent ? next(a, a->nodes[node->parent].fail, node->byte) : 0;
		fail = &a->nodes[node->fail];
		if (!node->len) {
			node->len = fail->len;
			node->id = fail->id;
		}
	}
	free(order);
	return 0;
}

static int
match_add(struct added *a, size_t at, const struct added_node *node)
{
	if (mem_grow(&a->matches, &a->matches_cap, a->nmatches + 1, sizeof(*a->matches)) < 0)
		return -1;
	a->matches[a->nmatches++] = (struct added_match){at, node->len, node->id};
	return 0;
}

int
added_search(struct added *a, const char *p, size_t n, size_t from, size_t *to)
{
	size_t block = a->longest > BLOCK ? a->longest : BLOCK, end;
	uint32_t state = 0;

	a->nmatches = 0;
	*to = n - from > block ? from + block : n;
	if (a->n == 0)
		return 0;
	/* contents that begin in the block end here */
	end = n - *to > a->longest ? *to + a->longest : n;
	for (size_t i = end; i-- > from; ) {
		if (!state && !a->last[(unsigned char)p[i]])
			continue;
		state = next(a, state, (unsigned char)p[i]);
		if (a->nodes[state].len && i < *to && match_add(a, i, &a->nodes[state]) < 0)
			return -1;
	}
	return 0;
}

void
added_free(struct added *a)
{
	table_free(&a->ids);
	free(a->nodes);
	free(a->edges);
	free(a->matches);
	memset(a, 0, sizeof(*a));
}
