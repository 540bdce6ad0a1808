#include "token/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define TOKENS_MAX 0x7fffffffu          /* positions of a sequence: FRAME_POS_MAX */
/* bytes of a piece: indexes are 32 bits, and the heap holds up to two steps per byte */
#define PIECE_MAX 0x3fffffffu
#define NONE UINT32_MAX

struct merge {
	int32_t left, right, rank;
	int32_t product;                /* id + 1; 0: empty slot */
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

int32_t
bpe_find(const struct bpe *b, const void *bytes, size_t n)
{
	return (int32_t)(intptr_t)table_get(&b->vocab, bytes, n) - 1;
}

int
bpe_start(struct bpe *b, size_t n)
{
	for (int i = 0; i < 256; i++) {
		unsigned char c = (unsigned char)i;

		b->byte[i] = bpe_find(b, &c, 1);
	}
	b->merges_cap = 16;
	while (b->merges_cap / 2 < n)
		b->merges_cap *= 2;
	b->merges = mem_new(b->merges_cap, sizeof(*b->merges));
	return b->merges ? 0 : -1;
}

/* The slot of the pair, or the empty slot where it belongs. */
static struct merge *
merge_slot(const struct bpe *b, int32_t left, int32_t right)
{
	uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
	size_t i = (h >> 32) & (b->merges_cap - 1);

	while (b->merges[i].product && (b->merges[i].left != left || b->merges[i].right != right))
		i = (i + 1) & (b->merges_cap - 1);
	return &b->merges[i];
}

void
bpe_merge(struct bpe *b, int32_t left, int32_t right, int32_t product, int32_t rank)
{
	*merge_slot(b, left, right) = (struct merge){left, right, rank, product + 1};
}

static int
step_before(const struct step *a, const struct step *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* Push the pair that begins at symbol `at`, if it can be merged. Returns 0, or -1 and a message. */
static int
step_push(struct bpe *b, uint32_t at)
{
	const struct symbol *s = &b->symbols[at];
	const struct merge *m;
	struct step step;
	size_t i = b->heap_n;

	if (s->after == NONE)
		return 0;
	m = merge_slot(b, s->id, b->symbols[s->after].id);
	if (!m->product)
		return 0;
	if (mem_grow(&b->heap, &b->heap_cap, b->heap_n + 1, sizeof(*b->heap)) < 0)
		return -1;
	step = (struct step){m->rank, at, m->product - 1};
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
step_apply(struct bpe *b, const struct step *step)
{
	struct symbol *s = &b->symbols[step->at], *next;
	const struct merge *m;

	if (s->id < 0 || s->after == NONE)
		return 0;
	next = &b->symbols[s->after];
	m = merge_slot(b, s->id, next->id);
	if (m->product != step->product + 1)
		return 0;
	s->id = step->product;
	s->after = next->after;
	next->id = -1;
	if (s->after != NONE)
		b->symbols[s->after].before = step->at;
	if (s->before != NONE && step_push(b, s->before) < 0)
		return -1;
	return step_push(b, step->at);
}

static int
split_bytes(struct bpe *b, const char *text, size_t n)
{
	if (n > PIECE_MAX)
		return fail(FAIL_DATA, "a piece of the text has %zu bytes, the limit is %u", n, PIECE_MAX);
	if (mem_grow(&b->symbols, &b->symbols_cap, n, sizeof(*b->symbols)) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int32_t id = b->byte[(unsigned char)text[i]];

		if (id < 0)
			return fail(FAIL_DATA, "the vocabulary has no token for the byte 0x%02x of the text", (unsigned char)text[i]);
		b->symbols[i] = (struct symbol){id, i > 0 ? (uint32_t)i - 1 : NONE, i + 1 < n ? (uint32_t)i + 1 : NONE};
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
		if (step_push(b, i) < 0)
			return -1;
	while (b->heap_n > 0) {
		struct step step = step_pop(b);

		if (step_apply(b, &step) < 0)
			return -1;
	}
	for (uint32_t i = 0; n > 0 && i != NONE; i = b->symbols[i].after)
		if (ids_add(ids, b->symbols[i].id) < 0)
			return -1;
	return 0;
}

void
bpe_free(struct bpe *b)
{
	table_free(&b->vocab);
	free(b->merges);
	free(b->symbols);
	free(b->heap);
	memset(b, 0, sizeof(*b));
}
