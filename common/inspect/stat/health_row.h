/*
 * The numbers of one row, added to those of others.  Written so that the compiler vectorises it: a stream is
 * looked at as fast as it comes through a pipe.
 */
#ifndef DS_HEALTH_ROW_H
#define DS_HEALTH_ROW_H

#include "inspect/rows.h"

struct health_sums {
	uint64_t n, nans, infs, zeros;  /* elements */
	double min, max;                /* of those that are finite; min > max: there are none */
};

void health_sums_init(struct health_sums *s);

/* A row of floats, or of expert.acc, which is taken in units of h: the sum of the squares of its finite elements.
 * channel [r->count], or NULL: the largest finite |x| so far at each place. */
double health_floats(struct health_sums *s, const struct row *r, float *channel);

void health_ints(struct health_sums *s, const struct row *r);

#endif
