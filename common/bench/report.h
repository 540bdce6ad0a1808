/*
 * Output of ds-bench(1).
 */
#ifndef DS_BENCH_REPORT_H
#define DS_BENCH_REPORT_H

#include "bench/bench.h"
#include "inspect/record.h"

/* Print the machine's limits and the model. weights: their storage format, "": unknown. */
void report_machine(struct record *r, const struct bench *b, const struct limit *l, const char *weights);

/* Print a batch: its measured parts and their sum. */
void report_measured(struct record *r, const struct bench *b, const struct limit *l, const struct measured *m);

#endif
