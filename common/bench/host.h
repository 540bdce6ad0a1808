/*
 * What a machine does with a model, as the line that ds-plan(1) wants of a host.
 */
#ifndef DS_BENCH_HOST_H
#define DS_BENCH_HOST_H

#include "bench/bench.h"

struct host_rates {
	double row, rows;               /* operations a second: products of weights with one row, and with many */
	double attend;                  /* of attention over the cache */
};

/* Measure the rates of an open bench on the CPU with all its parts.  0, or -1 and a message. */
int host_measure(struct bench *b, struct host_rates *r);

/* Append the line: name, cores, memory, bandwidth, rates.  0, or -1 and a message. */
int host_line(struct buf *to, const struct bench *b, const struct limit *l, const struct host_rates *r, const char *model);

#endif
