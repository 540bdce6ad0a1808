/*
 * The attention stage: frames at `attn` of its layers get their attention added to h and
 * wait for `route`; the cache of its layers is here.
 */
#ifndef DS_ATTN_H
#define DS_ATTN_H

#include "stage/mla.h"

struct attn {
	const struct stage *s;
	struct mla_math math;
	struct mla *layers;             /* [num_layers]; those of the stage are open */
	uint64_t block;                 /* counts the blocks of rows that were computed */
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int attn_open(struct attn *a, const struct stage *s);
void attn_close(struct attn *a);

/* A stage_fn, arg the struct attn; control frames free and fork. */
int attn_frame(void *arg, struct frame *f, struct link *out, int nout);

#endif
