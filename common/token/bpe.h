/*
 * Byte-pair encoding of bytes (Sennrich et al. 2016, as in GPT-2). A piece of text starts as its
 * bytes; the adjacent pair of lowest rank is merged until no pair has a rank.
 */
#ifndef DS_BPE_H
#define DS_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/table.h"

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
	struct table vocab;  /* bytes of a token -> (void *)(intptr_t)(id + 1); keys are borrowed */
	int32_t byte[256];              /* id of each single byte, -1: none */
	int ignore_merges;            /* a piece that is a token stays whole, whatever the merges */
	struct merge *merges;           /* [merges_cap] hashed by the two ids; merges_cap is a power of two */
	size_t merges_cap;
	struct symbol *symbols;         /* scratch: the piece being merged */
	size_t symbols_cap;
	struct step *heap;              /* scratch: possible merges */
	size_t heap_cap, heap_n;
};

/* Call once the vocabulary is complete: look up the single bytes and reserve room for n merges.
 * Returns 0, or -1 and a message. */
int bpe_start(struct bpe *b, size_t n);

/* The id of the token with these bytes, or -1. */
int32_t bpe_find(const struct bpe *b, const void *bytes, size_t n);

/* Add merge number `rank`, which joins left and right to product; at most n calls (bpe_start). A
 * duplicate pair gets the later rank. */
void bpe_merge(struct bpe *b, int32_t left, int32_t right, int32_t product, int32_t rank);

/* Append the ids of a piece of n bytes. Returns 0, or -1 and a message. */
int bpe_encode(struct bpe *b, const char *text, size_t n, struct ids *ids);

void bpe_free(struct bpe *b);   /* keys are not freed */

#endif
