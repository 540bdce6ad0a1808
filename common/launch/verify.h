/*
 * The promise, proven on this machine: one prompt through many pipelines,
 * whose logits must be the same bits.
 */
#ifndef DS_VERIFY_H
#define DS_VERIFY_H

#include <stdio.h>

#include "arch/model.h"

struct verify {
	struct model *model;            /* its config and dir */
	const char *text;               /* the prompt */
	const char *programs;           /* folder of the programs, put in front of PATH; NULL: none */
	const char *precision;          /* of the products; NULL: what the environment says, or f32 */
	int threads;                    /* the largest number to try */
	int verbose;                    /* show the shell line of each way */
	FILE *to;                       /* the table */

	/* filled in */
	long ways, failed;              /* compared, and of these not the same */
};

/* Run every way and print a line for each.  0, or -1 and a message where a pipeline did not work. */
int verify_run(struct verify *v);

#endif
