/*
 * What ds-bench(1) prints.
 */
#ifndef DS_BENCH_REPORT_H
#define DS_BENCH_REPORT_H

#include "bench/bench.h"
#include "inspect/record.h"

/* The machine's limits, and the model; weights: how they are stored, "" for not known. */
void report_machine(struct record *r, const struct bench *b, const struct limit *l, const char *weights);

/* A batch: its parts that were measured, and all of them. */
void report_measured(struct record *r, const struct bench *b, const struct limit *l, const struct measured *m);

#endif
