/*
 * The backward pass of the experts: frames at `expert.back` of the process's layers.  Each process
 * adds what its experts contribute to the gradient of the normed rows (expert.acc) and of the
 * routing weights (expert.wacc); the one that completes the set makes x.grad and w.grad of both,
 * and moves the frame on to `route.back`.
 */
#ifndef DS_EXPERT_BACK_H
#define DS_EXPERT_BACK_H

#include "stage/expert.h"

/* Tensors of a frame at `expert` that its backward pass needs (keep.h). */
extern const char *const expert_kept[];

/* Register the weights that learn.  0, or -1 and a message; expert_forget frees. */
int expert_learn(struct expert *x);
void expert_forget(struct expert *x);

/* Before a forward pass of r->T rows of f: room in r for the products with gate and up of the
 * experts of mine, so that the backward pass need not compute them again.  0, or -1 and a
 * message. */
int expert_keep(struct expert *x, const struct frame *f, const struct expert_set *mine,
    struct expert_rows *r);

/* f waits for `expert.back` of a layer with experts of the process.  0, or -1 and a message. */
int expert_back(struct expert *x, struct frame *f);

#endif
