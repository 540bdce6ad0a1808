/*
 * Proof of bit-reproducibility on this machine: one prompt through many pipelines, whose logits
 * must be identical.
 */
#ifndef DS_VERIFY_H
#define DS_VERIFY_H

#include <stdio.h>

#include "arch/model.h"

struct verify {
	struct model *model;            /* its config and dir */
	const char *text;               /* the prompt */
	const char *programs;         /* folder of the programs, searched before PATH; NULL: none */
	const char *precision;          /* of products; NULL: from the environment, or f32 */
	const char *cache_type;         /* of KV caches; NULL: from the environment */
	int threads;                    /* largest number to try */
	int verbose;                    /* 1: print the shell line of each variant */
	FILE *to;                       /* output */

	/* results */
	long ways, failed;              /* variants compared; how many differ */
};

/* Run every variant and print one line for each. Returns 0, or -1 and a message if a pipeline
 * failed. */
int verify_run(struct verify *v);

#endif
