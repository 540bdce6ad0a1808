/*
 * Rows of a frame: where they are, and which of them have logits.
 */
#ifndef DS_FRAME_ROWS_H
#define DS_FRAME_ROWS_H

#include "frame/frame.h"

/* Sequence and position of row t, which the frame has: a span of one row without flags. */
struct span row_at(const struct frame *f, uint32_t t);

struct logit_rows {
	int n;                          /* W */
	const int32_t *row;             /* [W]: those of the frame's rows, ascending */
	float *x;                       /* [W][V] */
};

/* The tensors `row` and `name`, which is `logits` or `logits.grad`.  0, or -1 and a message
 * (FAIL_DATA) if one is missing or not as it must be. */
int logit_rows_read(struct logit_rows *to, struct frame *f, const char *name, int V);

#endif
