/*
 * Pairs the rows of two streams, each in its own order.
 *
 * A row waits until one of the same group, sequence and position arrives on the other side. Rows
 * that arrive repeatedly are paired in order (a rolled-back draft is recomputed). Streams of one
 * run repeat rows, because `ids` travel all the way. A row with the bits of an earlier row of its
 * position is a copy: it is paired if there is a partner, else ignored.
 *
 * Memory: 16 bytes for each row, and the waiting rows. If these exceed `hold` bytes, copies are
 * dropped first; then the oldest rows keep only a digest, which still tells equal from different.
 */
#ifndef DS_PAIR_H
#define DS_PAIR_H

#include "inspect/rows.h"

struct waiting;

struct arrival_list {           /* waiting rows in order of arrival */
	struct waiting *oldest, *newest;
};

struct pair {
	struct table pages;     /* (group, sequence, position / PAGE) -> struct page */
	struct page *last;      /* last lookup */
	size_t hold, held;      /* limit and current size of waiting rows, in bytes */
	/* bytes of waiting rows of each side, copies excluded, dropped data included */
	uint64_t waiting[2];
	struct arrival_list copies, rows;
	/* Called for each pair. Both rows have data, or neither (they differ at an unknown
	 * element). again: a pair of copies, reported before. Returns 0, or -1 and a message. */
	int (*on_pair)(void *arg, const struct row *a, const struct row *b, int again);
	void *arg;
};

void pair_init(struct pair *p, size_t hold, int (*on_pair)(void *, const struct row *, const struct row *, int), void *arg);

/* Add a row to side 0 or 1; its data are copied if it waits. Returns 0, or -1 and a message. */
int pair_row(struct pair *p, int side, const struct row *r);

/* Call fn for each waiting row, without its data, in no particular order. Returns 0, or -1 if fn
 * fails. */
int pair_left(struct pair *p, int (*fn)(void *arg, int side, const struct row *r), void *arg);

void pair_free(struct pair *p);

#endif
