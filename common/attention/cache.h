/*
 * The key-value cache of one layer: for every sequence the rows of the
 * positions it holds, 0 up to n-1, in pages of CACHE_PAGE positions.  Page b
 * holds the positions from CACHE_PAGE b on, whatever the history, so a reduction
 * over the pages has one order.  Forked sequences share pages until one of
 * them writes.  Where pages lie, and what a row is, the cache does not know.
 */
#ifndef DS_CACHE_H
#define DS_CACHE_H

#include <stdint.h>

#include "base/table.h"
#include "kernels.h"

struct cache_page;

struct cache_seq {
	uint64_t id;
	uint32_t n;                     /* positions held */
	uint64_t mark;                  /* for the caller */
	struct cache_page **pages;      /* [ceil(n / CACHE_PAGE)] */
	size_t npages, cap;
};

/* Memory of pages: page gives some, of which copy writes the beginning. */
struct cache_memory {
	void *(*page)(void *arg, size_t bytes);         /* aligned to 64 bytes, not set; NULL and a message */
	void (*drop)(void *arg, void *page);
	int (*copy)(void *arg, void *to, const void *from, size_t bytes);       /* 0, or -1 and a message */
	void *arg;
};

struct cache {
	size_t row;                     /* bytes */
	struct cache_memory memory;
	struct table seqs;              /* id -> struct cache_seq */
	struct cache_page *spare;       /* released pages, to be used again */
};

/* row: bytes of one; memory NULL: the process's. */
void cache_init(struct cache *c, size_t row, const struct cache_memory *memory);
void cache_free(struct cache *c);

struct cache_seq *cache_find(const struct cache *c, uint64_t id);      /* or NULL */

/* The sequence, holding exactly n positions: it forgets what it holds beyond them, and one that
 * is not known is made where n is 0.  NULL and a message (FAIL_DATA) if it holds fewer. */
struct cache_seq *cache_at(struct cache *c, uint64_t id, uint32_t n);

/* One position more: its row, to be filled; valid until the sequence forgets it.
 * NULL and a message where there is no memory. */
void *cache_append(struct cache *c, struct cache_seq *s);

/* The CACHE_PAGE rows of page b, of which those below s->n are set. */
void *cache_rows(const struct cache_seq *s, size_t b);

void cache_release(struct cache *c, uint64_t id);      /* nothing if it is not known */

/* Sequence `to` is new and starts with the first n positions of `from`.
 * 0, or -1 and a message (FAIL_DATA) if it exists or `from` holds fewer. */
int cache_fork(struct cache *c, uint64_t from, uint64_t to, uint32_t n);

#endif
