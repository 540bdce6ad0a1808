/*
 * Working memory of a stage: allocated for the first batch, reused, and replaced by a larger block
 * for a larger batch. Contents are lost when it grows.
 */
#ifndef DS_SCRATCH_H
#define DS_SCRATCH_H

#include <stddef.h>

struct scratch {
	void *p;
	size_t bytes;
};

/* Memory for at least n objects of `size` bytes, aligned to 64 bytes, not initialised. It
 * belongs to s. Returns NULL and a message on failure. */
void *scratch_reserve(struct scratch *s, size_t n, size_t size);
void scratch_free(struct scratch *s);

#endif
