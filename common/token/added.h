/*
 * Added tokens, which are found in the text itself: the leftmost first, of several that begin there the longest,
 * as the Aho-Corasick automaton of the Hugging Face library does it.
 *
 * Ours (Aho, Corasick 1975) reads contents and text from their ends: its state at a byte of the text then knows the
 * longest content that begins there.  Time is linear in the text, whatever the contents are.
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
	struct table ids;               /* content -> (void *)(intptr_t)(id + 1); keys borrowed */
	struct added_node *nodes;       /* [n] a tree; the first is its root */
	size_t n, cap, longest;         /* longest: bytes of a content */
	uint32_t *edges;                /* [nedges] nodes, hashed by parent and byte; 0: the slot is empty */
	size_t nedges;
	unsigned char last[256];        /* bytes that a content ends with */
	struct added_match *matches;    /* scratch: [nmatches], the last one in the text first */
	size_t nmatches, matches_cap;
};

/* Add a content of len > 0 bytes, which stay where they are.  0, or -1 and a message. */
int added_put(struct added *a, const char *content, size_t len, int32_t id);

/* All are there: make it ready to search. */
int added_ready(struct added *a);

/* The longest content at each place of p[from..*to) where one begins, into a->matches; *to is chosen, at most n, so that
 * memory stays bounded. */
int added_search(struct added *a, const char *p, size_t n, size_t from, size_t *to);

void added_free(struct added *a);

#endif
