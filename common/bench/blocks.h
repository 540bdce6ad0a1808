/*
 * Random weights in the block types of GGUF that are usual today.
 */
#ifndef DS_BENCH_BLOCKS_H
#define DS_BENCH_BLOCKS_H

#include "kernels.h"

/* The type of a matrix of `cols` columns, where blocks of t do not divide them: a type of smaller
 * blocks, as files have it, or BF16. */
enum dtype blocks_type(enum dtype t, int cols);

/* Set the scales of a block of random bytes, so that products of a row of `cols` weights with ones
 * sum up to about one. */
void blocks_scale(enum dtype t, int cols, unsigned char *block);

#endif
