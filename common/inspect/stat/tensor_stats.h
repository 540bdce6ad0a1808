/*
 * Tensor statistics for each stage, layer and tensor of a stream, for ds-stat.
 */
#ifndef DS_TENSOR_STATS_H
#define DS_TENSOR_STATS_H

#include "inspect/record.h"
#include "inspect/rows.h"

struct stats_group;

struct tensor_stats {
	/* a channel is an outlier if its largest |x| is this many times the median channel's */
	double outlier;
	int top;                /* number of outliers that are printed */
	struct groups groups;
	struct stats_group *all;        /* [cap], indexed by group id */
	size_t cap;
	uint64_t odd;           /* tensors without one row per position */
};

/* Add the tensors of a frame. A tensor that travels past other stages counts where it is first
 * seen. Returns 0, or -1 and a message. */
int tensor_stats_frame(struct tensor_stats *h, struct frame *f);

/* Print one record per stage, layer and tensor, in pipeline order. Returns 0, or -1 and a
 * message. */
int tensor_stats_print(const struct tensor_stats *h, struct record *r);

int tensor_stats_any(const struct tensor_stats *h);   /* 1 if a tensor was counted */

void tensor_stats_free(struct tensor_stats *h);

#endif
