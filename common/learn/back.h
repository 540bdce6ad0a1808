/*
 * Backward passes through products, norms and biases, over the thread pool. Work is divided among
 * outputs, never among the rows of a sum: bits depend neither on threads nor on what else a frame
 * holds.
 *
 * T rows are those of all pages. Strides are in elements. Inputs and outputs do not overlap unless
 * a function says otherwise. All return 0, or -1 and a message; sums of gradients must not be used
 * after a failure.
 */
#ifndef DS_BACK_H
#define DS_BACK_H

#include "learn/pages.h"
#include "learn/param.h"

/* The gradient of rows row0 .. row0+n-1 of a matrix: += sum over rows t of dy[t][i] x[t][k], with
 * dy [T][n] the gradient of their outputs, x [T][p->cols] their input. */
int back_weight(struct learn *l, struct param *p, int row0, const float *dy, ptrdiff_t ldy, int n,
    const float *x, ptrdiff_t ldx, const struct learn_pages *pages);

/* The gradient of a product's input: dx [T][w->cols] = dy w, or += with `add`; dy [T][w->rows]. */
int back_input(struct learn *l, float *dx, ptrdiff_t ldx, const float *dy, ptrdiff_t ldy, int T,
    const struct mat *w, int add);

/* The gradient of rmsnorm's input: dx [T][n] = or += with `add`; and of its weight [n], to p. x
 * [T][n] is the input, dy the gradient of the output. dx may be x without `add`. */
int back_norm(struct learn *l, struct param *p, float *dx, ptrdiff_t lddx, const float *x,
    ptrdiff_t ldx, const float *dy, ptrdiff_t lddy, int n, const float *weight, float eps,
    const struct learn_pages *pages, int add);

/* The gradient of a bias [n]: += sum over rows t of dy[t][i]. */
int back_bias(struct learn *l, struct param *p, const float *dy, ptrdiff_t ldy, int n,
    const struct learn_pages *pages);

#endif
