/*
 * The key-value cache of one layer: for every sequence the rows of the positions it holds, 0 up
 * to n-1, in pages of CACHE_PAGE positions. Page b holds the positions from CACHE_PAGE b on,
 * whatever the history, so a reduction over the pages has one order. Forked sequences share pages
 * until one of them writes. A page is laid out as kernels.h says at struct kv_shape; the cache
 * itself only counts bytes.
 *
 * A cache whose rows have no bytes has no memory either, and uses no device: it counts the pages
 * that other caches use which see the same calls.
 */
#ifndef DS_CACHE_H
#define DS_CACHE_H

#include <stdint.h>

#include "base/table.h"
#include "device/ops.h"

struct cache_page;

struct cache_seq {
	uint64_t id;
	uint32_t n;                     /* positions held */
	uint64_t mark;                  /* for the caller */
	struct cache_page **pages;      /* [ceil(n / CACHE_PAGE)] */
	size_t npages, cap;
};

struct cache {
	size_t row;                     /* bytes of a position */
	struct device *device;          /* whose memory pages are in */
	struct table seqs;              /* id -> struct cache_seq */
	struct cache_page *spare;       /* released pages, to be used again */
	size_t used, peak;              /* pages that sequences hold, and the most so far */
	size_t most;                    /* limit of used; 0: none */
};

void cache_init(struct cache *c, struct device *device, size_t row);
void cache_free(struct cache *c);       /* a zeroed *c is fine */

struct cache_seq *cache_find(const struct cache *c, uint64_t id);      /* or NULL */

/* The sequence, holding exactly n positions: it forgets what it holds beyond them, and one that
 * is not known is made where n is 0.  NULL and a message (FAIL_DATA) if it holds fewer. */
struct cache_seq *cache_at(struct cache *c, uint64_t id, uint32_t n);

/* One position more, whose keys and values are to be written. 0, or -1 and a message
 * (FAIL_SYSTEM) where there is no memory, or c->most pages are in use. */
int cache_append(struct cache *c, struct cache_seq *s);

size_t cache_pages(uint32_t n);         /* that n positions take */

/* By how many pages c->used grows if n positions from pos on follow in s, which holds at least
 * pos; NULL: it is not known. What s holds beyond pos is forgotten first. */
size_t cache_needs(const struct cache_seq *s, uint32_t pos, uint32_t n);

/* Positions of s up to the end of the last page that another sequence holds, too: truncated to
 * these, it still releases all pages that it can. */
uint32_t cache_shared(const struct cache_seq *s);

/* Page b, of CACHE_PAGE * c->row bytes: positions below s->n are set. */
void *cache_page(const struct cache_seq *s, size_t b);

void cache_release(struct cache *c, uint64_t id);      /* nothing if it is not known */

/* Sequence `to` is new and starts with the first n positions of `from`.
 * 0, or -1 and a message (FAIL_DATA) if it exists or `from` holds fewer. */
int cache_fork(struct cache *c, uint64_t from, uint64_t to, uint32_t n);

#endif
