/*
 * Byte-pair encoding over bytes (Sennrich et al. 2016, as in GPT-2): a piece of text starts as its
 * bytes, and the pair of neighbours with the lowest rank is merged until none has one.
 */
#ifndef DS_BPE_H
#define DS_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/table.h"

/* Growing ids that the caller owns. */
struct ids {
	int32_t **p;
	size_t *n, *cap;
};

int ids_add(struct ids *ids, int32_t id);       /* 0, or -1 and a message */

struct merge;
struct symbol;
struct step;

struct bpe {
	struct table vocab;             /* bytes of a token -> (void *)(intptr_t)(id + 1); keys borrowed */
	int32_t byte[256];              /* ids of the single bytes, -1 where there is none: bpe_vocab */
	int ignore_merges;              /* a piece that is a token stays whole, whatever the merges say */
	struct merge *merges;           /* [merges_cap] hashed by the two ids; merges_cap is a power of two */
	size_t merges_cap;
	struct symbol *symbols;         /* scratch: the piece being merged */
	size_t symbols_cap;
	struct step *heap;              /* scratch: merges that are possible in it */
	size_t heap_cap, heap_n;
};

/* The vocabulary is complete: take the bytes from it, and make room for n merges. */
int bpe_start(struct bpe *b, size_t n);

/* The token with these bytes, or -1. */
int32_t bpe_find(const struct bpe *b, const void *bytes, size_t n);

/* Merge `rank` joins two tokens to a third; at most n calls, as bpe_start was told.  A pair that is there
 * twice keeps the later rank. */
void bpe_merge(struct bpe *b, int32_t left, int32_t right, int32_t product, int32_t rank);

/* Append the ids of a piece of n bytes: 0, or -1 and a message. */
int bpe_encode(struct bpe *b, const char *text, size_t n, struct ids *ids);

void bpe_free(struct bpe *b);   /* not the keys */

#endif
