/*
 * Byte-pair encoding of bytes (Sennrich et al. 2016, as in GPT-2). A piece of text starts as its
 * bytes; the adjacent pair of lowest rank is merged until no pair has a rank.
 *
 * A pair is looked up by the bytes of both together. This finds their product; the rank is that of
 * a merge of these two tokens to it, or in a vocabulary by rank the product's id.
 */
#ifndef DS_BPE_H
#define DS_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "token/tokens.h"

/* A growing list of ids that the caller owns. */
struct ids {
	int32_t **p;
	size_t *n, *cap;
};

int ids_add(struct ids *ids, int32_t id);       /* 0, or -1 and a message */

struct merge;
struct symbol;
struct step;

struct bpe {
	const struct tokens *tokens;
	uint32_t *slots;                /* [nslots] tokens hashed by their bytes; a power of two */
	size_t nslots, longest;         /* longest: bytes of the longest token */
	int32_t byte[256];              /* id of each single byte, -1: none */
	int ignore_merges;              /* a piece that is a token stays whole,
	    whatever the merges */
	int by_rank;                    /* no merges: the rank of a pair is the id of its product */
	int32_t limit;                  /* by_rank: ids from here on are no products; 0: none */
	uint32_t *last;                 /* [tokens->n] last merge that makes a token,
	    + 1; 0: none */
	struct merge *merges;           /* [nmerges] by rank */
	size_t nmerges, merges_cap;
	struct symbol *symbols;         /* scratch: the piece being merged */
	size_t symbols_cap;
	struct step *heap;              /* scratch: possible merges */
	size_t heap_cap, heap_n;
};

/* Reserve room for n tokens of t, which must outlive b. Returns 0, or -1 and a message. */
int bpe_reserve(struct bpe *b, const struct tokens *t, size_t n);

/* Add a token of at least one byte; at most n calls. Returns 0, or -1 without a message if there
 * is one with the same bytes. */
int bpe_put(struct bpe *b, int32_t id);

/* Call once the vocabulary is complete: look up the single bytes and reserve room for n merges.
 * Returns 0, or -1 and a message. */
int bpe_start(struct bpe *b, size_t n);

/* The id of the token with these bytes, or -1. */
int32_t bpe_find(const struct bpe *b, const void *bytes, size_t n);

/* Add the next merge, of the first `left` bytes of a product and the rest; at most n calls. A
 * duplicate pair gets the later rank. */
void bpe_merge(struct bpe *b, size_t left, int32_t product);

/* List the merges by rank: the ids of their products, -1 where a duplicate replaced a merge, and
 * the bytes of their left tokens, in arrays of b->nmerges. */
void bpe_merges(const struct bpe *b, int32_t *products, uint32_t *lefts);

/* Split the token of an id as its merge would, in a vocabulary by rank. Returns the bytes of its
 * left token, 0 if it is not made of two, or -1 and a message. */
ptrdiff_t bpe_split(struct bpe *b, int32_t id);

/* Append the ids of a piece of n bytes. Returns 0, or -1 and a message. */
int bpe_encode(struct bpe *b, const char *text, size_t n, struct ids *ids);

void bpe_free(struct bpe *b);

#endif
