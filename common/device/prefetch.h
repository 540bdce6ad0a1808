/*
 * Weights that are not in memory: a checkpoint may be larger than memory, and then its pages are
 * read from the disk when they are first touched, a few at a time. Which experts a batch reads is
 * known before they are computed, so the system can read all of them at once. The request takes
 * time, too: it is made only while the process waits for the disk.
 */
#ifndef DS_PREFETCH_H
#define DS_PREFETCH_H

#include "kernels.h"

struct prefetch {
	int left;                       /* batches for which it still asks */
	int asked;                      /* 1: it did for some */
	long waits;                     /* of the process for the disk so far */
	int counts;                     /* for the caller to set: count what is in memory */
	uint64_t bytes, held;           /* of the weights so far: all, and what was in memory */
	uint64_t batches;
};

/* Bytes of the elements of w, without those of its scales. */
uint64_t mat_bytes(const struct mat *w);

/* The weights are mapped: what was read until now does not count as waiting. *p begins as
 * zeros. */
void prefetch_init(struct prefetch *p);

/* A batch begins: 1 if its weights are to be passed to prefetch_mat. */
int prefetch_begin(struct prefetch *p);
void prefetch_mat(struct prefetch *p, const struct mat *w);

#endif
