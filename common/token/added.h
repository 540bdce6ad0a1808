/*
 * Added tokens, found in the text itself: the leftmost match first, and the longest of several that
 * begin at the same byte, as the Aho-Corasick automaton of the Hugging Face library does.
 *
 * This automaton (Aho, Corasick 1975) reads contents and text backwards, so its state at a byte of
 * the text is the longest content that begins there. Time is linear in the length of the text.
 */
#ifndef DS_ADDED_H
#define DS_ADDED_H

#include <stddef.h>
#include <stdint.h>

#include "base/table.h"

struct added_node;

struct added_match {
	size_t at, len;
	int32_t id;
};

struct added {
	struct table ids;             /* content -> (void *)(intptr_t)(id + 1); keys are borrowed */
	struct added_node *nodes;       /* [n] a trie; the root is first */
	size_t n, cap, longest;         /* longest: length of the longest content */
	uint32_t *edges;              /* [nedges] nodes, hashed by parent and byte; 0: empty slot */
	size_t nedges;
	unsigned char last[256];        /* 1 for each last byte of a content */
	struct added_match *matches;    /* scratch: [nmatches], last match of the text first */
	size_t nmatches, matches_cap;
};

/* Add a content of len > 0 bytes, which must outlive a. Returns 0, or -1 and a message. */
int added_put(struct added *a, const char *content, size_t len, int32_t id);

/* Build the automaton, once all contents are added. Returns 0, or -1 and a message. */
int added_ready(struct added *a);

/* Find the longest content at each byte of p[from..*to) and store the matches in a->matches. *to
 * <= n is chosen so that memory stays bounded. Returns 0, or -1 and a message. */
int added_search(struct added *a, const char *p, size_t n, size_t from, size_t *to);

void added_free(struct added *a);

#endif
