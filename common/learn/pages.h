/*
 * The pages of a frame's rows: up to CACHE_PAGE positions of a sequence, which a gradient sums in
 * float32 before it becomes fixed point (ds-arithmetic(7)). They begin at multiples of CACHE_PAGE
 * positions, so they do not depend on what else a frame holds.
 */
#ifndef DS_PAGES_H
#define DS_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

/* Initialise with {0}; a call replaces what it held. Free with learn_pages_free(). */
struct learn_pages {
	int n;
	int *start;             /* [n + 1]: rows start[i] .. start[i+1]-1 are page i */
	size_t cap;             /* room of start */
};

/* The pages of f's rows. f holds whole sequences from position 0; several spans of one sequence
 * follow one another. 0, or -1 and a message. */
int learn_pages_open(struct learn_pages *p, const struct frame *f);

/* The pages of rows rows[0..n-1], ascending, of those in `of`: row i of p is row rows[i] of `of`.
 * No page is empty. 0, or -1 and a message. */
int learn_pages_select(struct learn_pages *p, const struct learn_pages *of, const int32_t *rows,
    int n);

/* The pages of rows that are `times` rows each: heads with one weight. 0, or -1 and a message. */
int learn_pages_repeat(struct learn_pages *p, const struct learn_pages *of, int times);

/* The rows of all pages. */
static inline int
learn_pages_rows(const struct learn_pages *p)
{
	return p->n > 0 ? p->start[p->n] : 0;
}

void learn_pages_free(struct learn_pages *p);

#endif
