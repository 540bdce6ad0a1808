/*
 * Whole layers in one process: attention, router and experts, one function after the other on the
 * same frame, so its bits are those of three processes.
 */
#ifndef DS_BLOCK_H
#define DS_BLOCK_H

#include "stage/attn.h"
#include "stage/block_gpu.h"
#include "stage/expert.h"
#include "stage/route.h"

struct block {
	const struct stage *s;
	struct attn attn;
	struct route route;
	struct expert expert;
	struct scratch rows;            /* intermediate results, of the device */
	struct block_gpu gpu;
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int block_open(struct block *b, const struct stage *s);
void block_close(struct block *b);

/* A stage_fn, arg the struct block: through all layers of the range that follow one another.
 * A `trace` gets an entry for each. */
int block_frame(void *arg, struct frame *f, struct link *out, int nout);

#endif
