/*
 * Working memory of a stage: allocated at the first batch, kept, and made
 * larger when a larger batch comes.  What it held is lost when it grows.
 */
#ifndef DS_SCRATCH_H
#define DS_SCRATCH_H

#include <stddef.h>

struct scratch {
	void *p;
	size_t bytes;
};

/* At least n objects of the given size, aligned to 64 bytes, not set; NULL
 * and a message where there is no memory. */
void *scratch_reserve(struct scratch *s, size_t n, size_t size);
void scratch_free(struct scratch *s);

#endif
