/*
 * How a checkpoint stores a matrix or a vector: its dtype, and which other tensors
 * belong to it.  Known from headers alone; no weight is touched.
 */
#ifndef DS_FORM_H
#define DS_FORM_H

#include "arch/model.h"

struct form {
	enum dtype dtype;                       /* F32, BF16, F16; of matrices F8_E4M3, Q8 and Q4, too */
	const struct safetensor *data;
	const struct safetensor *scale;         /* F8_E4M3: the blocks'; Q8, Q4: the groups'; NULL otherwise */
	const struct safetensor *factor;        /* Q8, Q4; NULL otherwise */
	uint64_t bytes;                         /* of all of them */
};

/* The tensor of that name, which must be [rows][cols], or [rows] where cols is 0, in one of the
 * forms above: 0, or -1 and a message that names the tensor. */
int form_find(struct form *f, struct model *m, const char *name, size_t rows, size_t cols);

#endif
