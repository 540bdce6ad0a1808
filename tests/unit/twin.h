/*
 * Arrays that a kernel and its specification get each for itself, and that must end as the same bytes.
 */
#ifndef DS_TEST_TWIN_H
#define DS_TEST_TWIN_H

#include "gpu.h"
#include "numbers.h"

struct twin {
	void *want;             /* on the host */
	void *dev;              /* in the GPU; both are poisoned at first */
	size_t n;               /* bytes */
};

static inline struct twin
twin_new(size_t n)
{
	struct twin t = {malloc(n), in_gpu(n), n};

	if (!t.want) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	memset(t.want, GPU_POISON, n);
	return t;
}

/* What the host has is in the GPU, too. */
static inline void
twin_put(const struct twin *t)
{
	again_to_gpu(t->dev, t->want, t->n);
}

/* Frees the host's. */
static inline int
twin_same(struct twin *t)
{
	unsigned char *got = malloc(t->n);
	int same;

	if (!got) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	from_gpu(got, t->dev, t->n);
	same = memcmp(got, t->want, t->n) == 0;
	free(got);
	free(t->want);
	return same;
}

#endif
