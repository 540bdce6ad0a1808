/*
 * The attention stage: frames at `attn` of its layers get their attention added to h and
 * wait for `route`; the cache of its layers is here.
 */
#ifndef DS_ATTN_H
#define DS_ATTN_H

#include "stage/attn_gpu.h"
#include "attention/mla.h"

struct attn {
	const struct stage *s;
	struct mla_math math;
	struct mla *layers;             /* [num_layers]; those of the stage are open */
	uint64_t block;                 /* counts the blocks of rows that were computed */
	struct attn_gpu *gpu;           /* where s->gpu computes, else NULL */
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int attn_open(struct attn *a, const struct stage *s);
void attn_close(struct attn *a);

/* Where in a frame's spans the next block of rows begins. */
struct attn_place {
	int span;
	uint32_t row;                   /* of that span */
};

/* Take places in a layer's cache for the next rows of the frame, at most r->most, and fewer where a sequence goes back behind
 * rows of this block: they must be computed before they are forgotten.  0, or -1 and a message. */
int attn_take(struct attn *a, struct cache *c, const struct frame *f, struct attn_place *at, struct mla_rows *r);

/* The taps are those of the rows n further down. */
void attn_taps_advance(const struct attn *a, struct mla_taps *taps, size_t n);

/* The positions of the frame's longest sequence, which is how many attn.probs has for each row. */
uint64_t attn_positions(const struct frame *f);

/* A stage_fn, arg the struct attn; control frames free and fork. */
int attn_frame(void *arg, struct frame *f, struct link *out, int nout);

#endif
