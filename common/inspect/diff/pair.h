/*
 * Two streams of rows, each in an order of its own, brought together row by row.
 *
 * A row waits until one of the same group, sequence and position arrives on the other side; what
 * arrives several times is paired in its order (a draft that was taken back comes again).  Points of one
 * run repeat rows: `ids` travel all the way.  A row with the bits of one that the position had before is a copy: it
 * is paired like any other if there is something to pair it with, else nobody misses it.
 *
 * Memory: 16 bytes for each row that came, and the rows that wait.  When these exceed `hold` bytes, copies are
 * forgotten and then the oldest rows keep a digest only, which still tells same from different.
 */
#ifndef DS_PAIR_H
#define DS_PAIR_H

#include "inspect/rows.h"

struct waiting;

struct arrival_list {           /* a list by arrival */
	struct waiting *oldest, *newest;
};

struct pair {
	struct table pages;     /* (group, sequence, position / PAGE) -> struct page */
	struct page *last;      /* looked up last */
	size_t hold, held;      /* bytes of rows that wait: at most, now */
	uint64_t waiting[2];    /* bytes of the rows of each side that wait, copies not counted, kept or not */
	struct arrival_list copies, rows;
	/* Two rows have met.  Both have data, or neither (they differ, but nobody knows where).
	 * again: copies met; what there is to say of them has been said.  0, or -1 and a message. */
	int (*on_pair)(void *arg, const struct row *a, const struct row *b, int again);
	void *arg;
};

void pair_init(struct pair *p, size_t hold, int (*on_pair)(void *, const struct row *, const struct row *, int), void *arg);

/* A row arrives on side 0 or 1; what r points at may be gone afterwards.  0, or -1 and a message. */
int pair_row(struct pair *p, int side, const struct row *r);

/* Hand each row that still waits to fn, its data left out, in no certain order. 0, or -1 from fn. */
int pair_left(struct pair *p, int (*fn)(void *arg, int side, const struct row *r), void *arg);

void pair_free(struct pair *p);

#endif
