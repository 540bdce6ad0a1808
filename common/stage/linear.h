/*
 * Products and norms over the rows of a batch, divided among the threads by
 * outputs: the bits do not depend on how many there are.
 */
#ifndef DS_LINEAR_H
#define DS_LINEAR_H

#include "stage/stage.h"

/* out[t][n] = sum over k of x[t][k] w[n][k]: out [T][w->rows], stride ldo;
 * x [T][w->cols], stride ldx.  They do not overlap. */
void linear(const struct stage *s, float *out, ptrdiff_t ldo, const float *x,
    ptrdiff_t ldx, int T, const struct mat *w);

/* RMSNorm of every row: out [T][n] and x [T][n], weight [n]; out may be x. */
void linear_norm(const struct stage *s, float *out, ptrdiff_t ldo, const float *x,
    ptrdiff_t ldx, int T, int n, const float *weight, float eps);

#define LINEAR_GRAIN 16         /* outputs that a thread takes at least */

#endif
