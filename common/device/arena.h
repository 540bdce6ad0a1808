/*
 * Intermediate results in one block of memory: arrays aligned to 256 bytes, none empty. One
 * layout function serves both passes: with base NULL it counts the bytes, with the memory it sets
 * the pointers.
 */
#ifndef DS_ARENA_H
#define DS_ARENA_H

#include <stddef.h>

/* of a batch, for which a GPU's memory is counted at the start: ds-embed's default limit */
#define ARENA_ROWS 512

struct arena {
	char *base;             /* NULL: count only */
	size_t used;            /* bytes */
};

/* The next array, of so many bytes; NULL while counting. */
static inline void *
arena_next(struct arena *a, size_t bytes)
{
	void *at = a->base ? a->base + a->used : NULL;

	a->used += bytes / 256 * 256 + 256;
	return at;
}

#endif
