/*
 * Pieces of one working memory in the GPU, each aligned to 256 bytes and none empty: with base NULL they are counted,
 * then, with the memory there, given out in the same order.
 */
#ifndef DS_GPU_PIECES_H
#define DS_GPU_PIECES_H

#include <stddef.h>

#define GPU_ROWS 512    /* of a batch, for which memory is counted at the start: ds-embed makes no larger ones unless told to */

struct pieces {
	char *base;             /* NULL: they are only counted */
	size_t used;            /* bytes */
};

/* The next piece, of so many bytes; NULL while they are counted. */
static inline void *
piece(struct pieces *p, size_t bytes)
{
	void *at = p->base ? p->base + p->used : NULL;

	p->used += bytes / 256 * 256 + 256;
	return at;
}

#endif
