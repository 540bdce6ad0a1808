/*
 * The numbers of one row, added to those of others.  Written so that the compiler vectorises it: a stream is
 * looked at as fast as it comes through a pipe.
 */
#ifndef DS_ROW_STATS_H
#define DS_ROW_STATS_H

#include "inspect/rows.h"

struct row_stats {
	uint64_t n, nans, infs, zeros;  /* elements */
	double min, max;                /* of those that are finite; min > max: there are none */
};

void row_stats_init(struct row_stats *s);

/* A row of floats, or of expert.acc, which is taken in units of h: the sum of the squares of its finite elements.
 * channel [r->count], or NULL: the largest finite |x| so far at each place. */
double row_stats_floats(struct row_stats *s, const struct row *r, float *channel);

void row_stats_ints(struct row_stats *s, const struct row *r);

#endif
