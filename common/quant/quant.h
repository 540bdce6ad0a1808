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
	enum dtype to;                          /* F32, BF16, F16, F8_E4M3, Q8 or Q4; in a GGUF
	                                           BF16 or Q8_0 */
	int gguf;                               /* 1: out is a GGUF, 0: a folder */
	int experts;                            /* 1: routed and shared experts alone; 0: all linear layers */
	int head;                               /* 1: the output matrix, too */
	const char *out;                        /* the new folder or file; NULL: write nothing */
	FILE *report;                           /* a line for each matrix, and their sum; or NULL */
	const volatile sig_atomic_t *stop;      /* set: stop and fail */

	uint64_t matrices, before, after;       /* results: matrices converted, bytes of all tensors */
	/* internal */
	struct shard_file *shard;
	struct config config;                   /* the model's, kv_b whole */
};

/* Set q->to and q->gguf by "q8", "q4", "f32", "bf16", "f16", "fp8", "gguf-bf16" or "gguf-q8_0":
 * 0, or -1 without a message. */
int quant_format(struct quant *q, const char *name);

/*
 * Write q->out, one file for each file of the model, a matrix and a few megabytes in memory at a
 * time.  Other files of the folder are copied, except weights; config.json comes last.  A GGUF is
 * one file, which gets its name when it is complete.  Returns 0, or -1 and a message; the folder or
 * file is then removed, unless it existed before (FAIL_USAGE).
 */
int quant_run(struct quant *q);

#endif
