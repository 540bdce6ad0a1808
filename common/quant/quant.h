/*
 * Write a checkpoint with its matrices in another dtype.
 */
#ifndef DS_QUANT_H
#define DS_QUANT_H

#include <signal.h>
#include <stdio.h>

#include "base/pool.h"
#include "arch/model.h"

struct quant {
	struct model *model;
	const struct kernels *k;
	struct pool *pool;
	enum dtype to;                          /* F32, BF16, F16, F8_E4M3, Q8 or Q4 */
	int experts;                            /* 1: routed and shared experts alone; 0: all linear layers */
	int head;                               /* 1: the output matrix, too */
	const char *out;                        /* the new folder; NULL: write nothing */
	FILE *report;                           /* a line for each matrix, and their sum; or NULL */
	const volatile sig_atomic_t *stop;      /* set: stop and fail */

	uint64_t matrices, before, after;       /* results: matrices converted, bytes of all tensors */
	struct quant_shard *shard;              /* internal */
};

/* "q8", "q4", "f32", "bf16", "f16", "fp8": the dtype, or -1. */
int quant_format(const char *name);

/*
 * Write q->out, one file for each file of the model, a matrix and a few megabytes in memory at a
 * time.  Other files of the folder are copied, except weights; config.json comes last.  Returns 0,
 * or -1 and a message; the folder is then removed, unless it existed before (FAIL_USAGE).
 */
int quant_run(struct quant *q);

#endif
