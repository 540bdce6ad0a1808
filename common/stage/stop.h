/*
 * Stop strings: an answer ends when its text contains one of them.
 */
#ifndef DS_STOP_H
#define DS_STOP_H

#include <stdint.h>

#include "base/mem.h"

#define STOPS_MAX 64

struct stops {
	struct buf bytes;               /* of all strings, one after the other */
	size_t len[STOPS_MAX];          /* of each, at least 1 */
	int n;
};

/* Add a string of n bytes.  0, or -1 and a message: it is empty, or one too many.  */
int stops_add(struct stops *s, const void *text, size_t n);

/* Make *to, which is zeros, a copy.  0, or -1 and a message.  */
int stops_copy(struct stops *to, const struct stops *from);

void stops_free(struct stops *s);

/* A text that grows, in which they are searched.  Begins as zeros; buf_free(&t->tail).  */
struct stop_text {
	struct buf tail;                /* its last bytes, fewer than the longest string has */
	uint64_t before;                /* bytes of the text before them */
};

/*
 * Append n bytes to the text.  Returns 1 if a string now ends in it; *at is then the first byte of
 * the text that belongs to one, and may be NULL.  Otherwise 0, or -1 and a message.
 */
int stops_find(const struct stops *s, struct stop_text *t, const void *p, size_t n, uint64_t *at);

#endif
