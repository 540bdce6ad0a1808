/*
 * The head on the GPU: what head.c does there.
 */
#ifndef DS_HEAD_GPU_H
#define DS_HEAD_GPU_H

#include "stage/head.h"

/* Name the weights for the GPU, and the memory for as many rows as ds-sample is likely to get.  0, or -1 and a message. */
int head_gpu_want(struct head *h);

/* As head_rows: f's h becomes the logits of the n rows at row, in the GPU.  1, or -1 and a message. */
int head_gpu_rows(struct head *h, struct frame *f, const int32_t *row, size_t n);

#endif
