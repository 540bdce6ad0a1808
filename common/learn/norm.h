/*
 * The squared norm of gradients, in 128 bits of fixed point: 64 of them after the point.  Integers
 * add up to the same sum in any order.
 */
#ifndef DS_NORM_H
#define DS_NORM_H

#include "learn/adamw.h"

typedef unsigned __int128 learn_square;

/* Add the sum of g^2 over a tensor, g = (float)(acc[i] * learn_unit(weight, 1)): first as double in
 * NORM_LANES lanes over each NORM_CHUNK elements, lanes and chunks ascending, then rounded to fixed
 * point.  0, or -1 and a message that names it if the sum is not finite or overflows. */
#define NORM_LANES 8
#define NORM_CHUNK 4096
int norm_add(learn_square *sum, const char *name, const int64_t *acc, size_t n, double weight,
    struct pool *pool);

/* The square root of a sum. */
double norm_root(learn_square sum);

/* The sum over the process's own tensors, without shared ones.  0, or -1 and a message. */
int learn_norm(struct learn *l, double weight, learn_square *sum);

/* Add the process's gradients of shared tensors to `sums` (NULL: not wanted).  0, or -1 and a
 * message about a sum that reaches 2^62. */
int learn_share(struct learn *l, const struct learn_shared *sums);

#endif
