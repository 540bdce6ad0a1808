/*
 * The router on the GPU: what route.c does there.  Scores are computed in f32 in every precision and with the
 * CPU's bits, so where h is the same, the choice is.
 */
#ifndef DS_ROUTE_GPU_H
#define DS_ROUTE_GPU_H

#include "stage/route.h"

/* Name the gates' weights for the GPU, and the memory for batches of GPU_ROWS rows.  0, or -1 and a message. */
int route_gpu_want(struct route *r);

/* Rows that are to choose, all in the GPU. */
struct route_rows {
	int T;
	const float *x;                 /* [T][D] normed */
	float *scores, *choice;         /* [T][E] */
	int32_t *idx;                   /* [T][K] */
	float *w;
};

/* Put it on the stream.  0, or -1 and a message. */
int route_gpu_put(const struct route *r, int layer, const struct route_rows *rows);

/* A frame at `route` of a layer with experts, as route_batch has it: expert.idx and expert.w are in the GPU then. */
int route_gpu_batch(struct route *r, struct frame *f);

#endif
