/*
 * A machine's rates for a model, as a line of ds-plan's hosts file (ds-plan(1)).
 */
#ifndef DS_BENCH_HOST_H
#define DS_BENCH_HOST_H

#include "bench/bench.h"

struct host_rates {
	/* operations per second: products of weights with one row; with many rows */
	double row, rows;
	double attend;                  /* attention over the cache */
};

/* Measure the rates on the CPU, with an open bench that has all parts. Returns 0, or -1 and a
 * message. */
int host_measure(struct bench *b, struct host_rates *r);

/* Append the line: name, cores, memory, bandwidth, rates. Returns 0, or -1 and a message. */
int host_line(struct buf *to, const struct bench *b, const struct limit *l, const struct host_rates *r, const char *model);

#endif
