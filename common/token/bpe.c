#include "token/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/table.h"

#define TOKENS_MAX 0x7fffffffu          /* positions of a sequence: FRAME_POS_MAX */
/* bytes of a piece: indexes are 32 bits, and the heap holds up to two steps per byte */
#define PIECE_MAX 0x3fffffffu
#define NONE UINT32_MAX

struct merge {
	uint32_t left;                  /* bytes of its left token */
	uint32_t before;                /* the merge before it with the same product,
	    + 1; 0: none */
};

struct symbol {
	int32_t id;                     /* -1: merged into the previous symbol */
	uint32_t before, after;         /* neighbours, NONE at the ends */
};

struct step {
	int32_t rank;
	uint32_t at;                    /* the left symbol of the pair */
	int32_t product;
};

int
ids_add(struct ids *ids, int32_t id)
{
	if (*ids->n >= TOKENS_MAX)
		return fail(FAIL_DATA, "the text has more than %u tokens", TOKENS_MAX);
	if (mem_grow(ids->p, ids->cap, *ids->n + 1, sizeof(**ids->p)) < 0)
		return -1;
	(*ids->p)[(*ids->n)++] = id;
	return 0;
}

/* A slot holds 8 bits of the hash above id + 1; 0: empty. */
static uint32_t
slot_tag(uint64_t hash)
{
	return (uint32_t)(hash >> 56) << 24;
}

int32_t
bpe_find(const struct bpe *b, const void *bytes, size_t n)
{
	uint64_t hash;
	uint32_t slot;

	if (n > b->longest || b->nslots == 0)
		return -1;
	hash = hash_bytes(bytes, n, 0);
	for (size_t i = hash & (b->nslots - 1); (slot = b->slots[i]); i =
	    (i + 1) & (b->nslots - 1)) {
		const struct token *token = &b->tokens->v[(slot & 0xffffff) - 1];

		if ((slot & 0xff000000) == slot_tag(hash) && token->len == n &&
		    memcmp(b->tokens->bytes + token->at, bytes, n) == 0)
			return (int32_t)(slot & 0xffffff) - 1;
	}
	return -1;
}

int
bpe_reserve(struct bpe *b, const struct tokens *t, size_t n)
{
	b->tokens = t;
	for (b->nslots = 16; b->nslots / 2 <= n; )
		b->nslots *= 2;
	b->slots = mem_new(b->nslots, sizeof(*b->slots));
	return b->slots ? 0 : -1;
}

int
bpe_put(struct bpe *b, int32_t id)
{
	const struct token *token = &b->tokens->v[id];
	const char *bytes = b->tokens->bytes + token->at;
	uint64_t hash;
	size_t i;

	if (bpe_find(b, bytes, token->len) >= 0)
		return -1;
	hash = hash_bytes(bytes, token->len, 0);
	for (i = hash & (b->nslots - 1); b->slots[i]; )
		i = (i + 1) & (b->nslots - 1);
	b->slots[i] = slot_tag(hash) | (uint32_t)(id + 1);
	if (token->len > b->longest)
		b->longest = token->len;
	return 0;
}

int
bpe_start(struct bpe *b, size_t n)
{
	for (int i = 0; i < 256; i++) {
		unsigned char c = (unsigned char)i;

		b->byte[i] = bpe_find(b, &c, 1);
	}
	b->merges_cap = n;
	b->merges = mem_raw(n, sizeof(*b->merges));
	b->last = mem_new(b->tokens->n, sizeof(*b->last));
	return b->merges && b->last ? 0 : -1;
}

void
bpe_merge(struct bpe *b, size_t left, int32_t product)
{
	uint32_t *link = &b->last[product];

	while (*link && b->merges[*link - 1].left != left)
		link = &b->merges[*link - 1].before;
	if (*link)
		*link = b->merges[*link - 1].before;
	b->merges[b->nmerges++] = (struct merge){(uint32_t)left, b->last[product]};
	b->last[product] = (uint32_t)b->nmerges;
}

void
bpe_merges(const struct bpe *b, int32_t *products, uint32_t *lefts)
{
	for (size_t m = 0; m < b->nmerges; m++) {
		products[m] = -1;
		lefts[m] = b->merges[m].left;
	}
	for (size_t id = 0; b->last && id < b->tokens->n; id++)
		for (uint32_t m = b->last[id]; m; m = b->merges[m - 1].before)
			products[m - 1] = (int32_t)id;
}

/* The end of the pair that begins at symbol `at` of a piece of n bytes. */
static uint32_t
pair_end(const struct bpe *b, uint32_t at, size_t n)
{
	uint32_t end = b->symbols[b->symbols[at].after].after;

	return end == NONE ? (uint32_t)n : end;
}

/* Look up the pair that begins at symbol `at`, which is not the last one. Returns the id of its
 * product, or -1. */
static int32_t
pair_find(const struct bpe *b, const char *text, size_t n, uint32_t at, int32_t *rank)
{
	int32_t product = bpe_find(b, text + at, pair_end(b, at, n) - at);
	uint32_t left = b->symbols[at].after - at, m;

	*rank = product;
	if (product < 0 || b->by_rank)
		return b->limit && product >= b->limit ? -1 : product;
	for (m = b->last[product]; m && b->merges[m - 1].left != left; )
		m = b->merges[m - 1].before;
	*rank = (int32_t)m - 1;
	return m ? product : -1;
}

static int
step_before(const struct step *a, const struct step *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* Push the pair that begins at symbol `at`, if it can be merged. Returns 0, or -1 and a message. */
static int
step_push(struct bpe *b, const char *text, size_t n, uint32_t at)
{
	struct step step = {.at = at};
	size_t i = b->heap_n;

	if (b->symbols[at].after == NONE || (step.product =
	    pair_find(b, text, n, at, &step.rank)) < 0)
		return 0;
	if (mem_grow(&b->heap, &b->heap_cap, b->heap_n + 1, sizeof(*b->heap)) < 0)
		return -1;
	for (b->heap_n++; i > 0 && step_before(&step, &b->heap[(i - 1) / 2]); i = (i - 1) / 2)
		b->heap[i] = b->heap[(i - 1) / 2];
	b->heap[i] = step;
	return 0;
}

static struct step
step_pop(struct bpe *b)
{
	struct step top = b->heap[0], last = b->heap[--b->heap_n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < b->heap_n) {
		if (child + 1 < b->heap_n && step_before(&b->heap[child + 1], &b->heap[child]))
			child++;
		if (!step_before(&b->heap[child], &last))
			break;
		b->heap[i] = b->heap[child];
		i = child;
	}
	b->heap[i] = last;
	return top;
}

/* Merge the pair of a step, unless an earlier step has changed it. Returns 0, or -1 and a
 * message. */
static int
step_apply(struct bpe *b, const char *text, size_t n, const struct step *step)
{
	struct symbol *s = &b->symbols[step->at], *next;
	int32_t rank;

	if (s->id < 0 || s->after == NONE || pair_find(b, text, n, step->at,
	    &rank) != step->product)
		return 0;
	next = &b->symbols[s->after];
	s->id = step->product;
	s->after = next->after;
	next->id = -1;
	if (s->after != NONE)
		b->symbols[s->after].before = step->at;
	if (s->before != NONE && step_push(b, text, n, s->before) < 0)
		return -1;
	return step_push(b, text, n, step->at);
}

static int
split_bytes(struct bpe *b, const char *text, size_t n)
{
	if (n > PIECE_MAX)
		return fail(FAIL_DATA, "a piece of the text has %zu bytes, the limit is %u", n,
		    PIECE_MAX);
	if (mem_grow(&b->symbols, &b->symbols_cap, n, sizeof(*b->symbols)) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int32_t id = b->byte[(unsigned char)text[i]];

		if (id < 0)
			return fail(FAIL_DATA,
			    "the vocabulary has no token for the byte 0x%02x of the text",
			    (unsigned char)text[i]);
		b->symbols[i] = (struct symbol){id, i > 0 ? (uint32_t)i - 1 : NONE, i + 1 < n ?
		    (uint32_t)i + 1 : NONE};
	}
	return 0;
}

int
bpe_encode(struct bpe *b, const char *text, size_t n, struct ids *ids)
{
	int32_t whole = b->ignore_merges ? bpe_find(b, text, n) : -1;

	if (whole >= 0)
		return ids_add(ids, whole);
	if (split_bytes(b, text, n) < 0)
		return -1;
	b->heap_n = 0;
	for (uint32_t i = 0; i < n; i++)
		if (step_push(b, text, n, i) < 0)
			return -1;
	while (b->heap_n > 0) {
		struct step step = step_pop(b);

		if (step_apply(b, text, n, &step) < 0)
			return -1;
	}
	for (uint32_t i = 0; n > 0 && i != NONE; i = b->symbols[i].after)
		if (ids_add(ids, b->symbols[i].id) < 0)
			return -1;
	return 0;
}

ptrdiff_t
bpe_split(struct bpe *b, int32_t id)
{
	const struct token *token = &b->tokens->v[id];
	int whole = b->ignore_merges;
	int32_t *p = NULL;
	size_t n = 0, cap = 0;
	struct ids ids = {&p, &n, &cap};
	ptrdiff_t left = 0;

	b->ignore_merges = 0;
	b->limit = id ? id : 1;
	if (bpe_encode(b, b->tokens->bytes + token->at, token->len, &ids) < 0)
		left = -1;
	else if (n == 2)
		left = (ptrdiff_t)b->tokens->v[p[0]].len;
	b->limit = 0;
	b->ignore_merges = whole;
	free(p);
	return left;
}

void
bpe_free(struct bpe *b)
{
	free(b->slots);
	free(b->last);
	free(b->merges);
	free(b->symbols);
	free(b->heap);
	memset(b, 0, sizeof(*b));
}
