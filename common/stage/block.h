/*
 * Whole layers in one process: attention, router and experts, the same operations as those of
 * three processes, so with the same bits. Layers that follow one another are computed in one
 * pass, which is waited for once. On a device that queues, the pass of a few rows (decode) is
 * recorded as a graph when a batch of its shape comes for the second time, and replayed from then
 * on.
 */
#ifndef DS_BLOCK_H
#define DS_BLOCK_H

#include "stage/attn.h"
#include "stage/expert.h"
#include "stage/route.h"

#define BLOCK_GRAPHS 16         /* shapes that are known at a time */
#define BLOCK_GRAPH_ROWS 64     /* of a batch that is worth a graph */

struct block_graph {
	int layer, layers, rows, most;  /* its shape; rows 0: none */
	uint64_t used;                  /* when, in batches */
	struct gpu_graph *graph;        /* NULL: it has come once */
};

struct block {
	const struct stage *s;
	struct attn attn;
	struct route route;
	struct expert expert;
	struct scratch rows;            /* intermediate results, of the device */
	struct block_graph graphs[BLOCK_GRAPHS];
	uint64_t moves;                 /* device->moves when they were recorded */
	uint64_t batches, recorded, replayed;
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int block_open(struct block *b, const struct stage *s);
void block_close(struct block *b);      /* b->s is set; parts that are not open are left alone */

/* A stage_fn, arg the struct block: through all layers of the range that follow one another.
 * A `trace` gets an entry for each. */
int block_frame(void *arg, struct frame *f, struct link *out, int nout);

#endif
