/*
 * Statistics of rows, accumulated. Written for vectorisation: it keeps up with a pipe.
 */
#ifndef DS_ROW_STATS_H
#define DS_ROW_STATS_H

#include "inspect/rows.h"

struct row_stats {
	uint64_t n, nans, infs, zeros;  /* elements */
	double min, max;                /* of finite elements; min > max: there are none */
};

void row_stats_init(struct row_stats *s);

/* Add a row of floats, or of expert.acc in units of h. Returns the sum of squares of the finite
 * elements. channel [r->count], or NULL, accumulates the largest finite |x| of each element. */
double row_stats_floats(struct row_stats *s, const struct row *r, float *channel);

void row_stats_ints(struct row_stats *s, const struct row *r);

#endif
