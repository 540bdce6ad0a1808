/*
 * Shared by bench.c (weights, caches, runs) and bench_step.c (one step).
 */
#ifndef DS_BENCH_INTERNAL_H
#define DS_BENCH_INTERNAL_H

#include "bench/bench.h"

/* Bytes per position of a layer's cache. */
size_t bench_position_bytes(const struct stage *s, const struct config *c);

/* 1 if whole layers can be measured: on a GPU, with all stages and experts. */
int bench_has_block(const struct bench *b);

/* Run one step of the batch that m describes and add its times, bytes and operations to m. block:
 * whole layers on a GPU. Returns 0, or -1 and a message. */
int bench_step(struct bench *b, int block, struct measured *m);

#endif
