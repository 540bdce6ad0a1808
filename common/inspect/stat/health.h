/*
 * The health of tensors: what ds-stat says of each stage, layer and tensor of a stream.
 */
#ifndef DS_HEALTH_H
#define DS_HEALTH_H

#include "inspect/record.h"
#include "inspect/rows.h"

struct health_group;

struct health {
	double outlier;         /* a channel is one if its largest |x| is this many times that of the median channel */
	int top;                /* how many of them are named */
	struct groups groups;
	struct health_group *all;       /* [cap] by the group's id */
	size_t cap;
	uint64_t odd;           /* tensors without a row for each position */
};

/* Count the tensors of a frame.  A tensor that travels on past other stages is counted where it is seen
 * first.  0, or -1 and a message. */
int health_frame(struct health *h, struct frame *f);

/* A record for each stage, layer and tensor, in pipeline order.  0, or -1 and a message. */
int health_print(const struct health *h, struct record *r);

int health_any(const struct health *h);         /* 1 if a tensor was counted */

void health_free(struct health *h);

#endif
