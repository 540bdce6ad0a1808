/*
 * The backward pass of the router and of the norm before the experts: frames at `route.back`, with
 * the gradients of the normed rows and of the routing weights.  The choice has no gradient, nor has
 * the bias: the rows that chose each expert are counted for it.
 */
#ifndef DS_ROUTE_BACK_H
#define DS_ROUTE_BACK_H

#include "stage/route.h"

/* Tensors of a frame at `route` that its backward pass needs (keep.h). */
extern const char *const route_kept[];

/* Register what learns, and open the norms of dense layers.  0, or -1 and a message; route_forget
 * frees. */
int route_learn(struct route *r);
void route_forget(struct route *r);

/* f waits for `route.back`: x.grad [T][D] and, where there are experts, w.grad [T][K] are added to
 * h.grad [T][D].  0, or -1 and a message. */
int route_back(struct route *r, struct frame *f);

#endif
