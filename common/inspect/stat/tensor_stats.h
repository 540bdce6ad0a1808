/*
 * The health of tensors: what ds-stat says of each stage, layer and tensor of a stream.
 */
#ifndef DS_TENSOR_STATS_H
#define DS_TENSOR_STATS_H

#include "inspect/record.h"
#include "inspect/rows.h"

struct stats_group;

struct tensor_stats {
	double outlier;         /* a channel is one if its largest |x| is this many times that of the median channel */
	int top;                /* how many of them are named */
	struct groups groups;
	struct stats_group *all;        /* [cap] by the group's id */
	size_t cap;
	uint64_t odd;           /* tensors without a row for each position */
};

/* Count the tensors of a frame.  A tensor that travels on past other stages is counted where it is seen
 * first.  0, or -1 and a message. */
int tensor_stats_frame(struct tensor_stats *h, struct frame *f);

/* A record for each stage, layer and tensor, in pipeline order.  0, or -1 and a message. */
int tensor_stats_print(const struct tensor_stats *h, struct record *r);

int tensor_stats_any(const struct tensor_stats *h);   /* 1 if a tensor was counted */

void tensor_stats_free(struct tensor_stats *h);

#endif
