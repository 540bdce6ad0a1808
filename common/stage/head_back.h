/*
 * The backward pass of the head: frames at `head.back`, with the gradient of their logits, become
 * frames with the gradient of h, where the pass through the layers begins.
 */
#ifndef DS_HEAD_BACK_H
#define DS_HEAD_BACK_H

#include "stage/head.h"

/* Tensors of a frame at `head` that its backward pass needs (keep.h). */
extern const char *const head_kept[];

/* Register the weights that learn.  0, or -1 and a message; head_forget frees. */
int head_learn(struct head *h);
void head_forget(struct head *h);

/* f waits for `head.back`: logits.grad [W][V] of the rows `row` becomes h.grad [T][D], 0 in rows
 * without logits.  0, or -1 and a message. */
int head_back(struct head *h, struct frame *f);

#endif
