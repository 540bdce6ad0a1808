/*
 * Products that cuBLASLt makes: those of weights so wide that its tiles of outputs keep all
 * processors busy however few rows of x there are.  Which ones is decided by the matrix alone, and
 * each gets one algorithm, without a split of the columns, which it keeps for any number of rows,
 * so that results do not depend on the batch.
 */
#ifndef DS_LT_H
#define DS_LT_H

#include "fp8.cuh"

/* 1 if w belongs to it: BF16, in bf16 and fp8; with fp8 also F8_E4M3 in blocks of 128 x 128 on
 * compute capability 9.0. */
int lt_supports(struct gpu *g, const struct mat *w, enum precision p);

/* The table's matmul for such a w. */
int lt_matmul(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    enum precision p);

/* Ends what lt_matmul has begun on g; lt is what it left in g->lt. */
struct lt;
void lt_close(struct lt *lt);

#endif
