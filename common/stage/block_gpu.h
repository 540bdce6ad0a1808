/*
 * Whole layers on the GPU: all of a batch's work is put on the stream, and then waited for once.  What a few rows need,
 * decoding, is recorded when a batch of that shape comes again, and replayed from then on.
 */
#ifndef DS_BLOCK_GPU_H
#define DS_BLOCK_GPU_H

#include "cuda/gpu.h"
#include "frame/frame.h"

#define BLOCK_GRAPHS 16         /* shapes that are known at a time */
#define BLOCK_GRAPH_ROWS 64     /* of a batch that is worth a graph */

struct block;

struct block_graph {
	int layer, layers, rows, most;  /* its shape; rows 0: none */
	uint64_t used;                  /* when, in batches */
	struct gpu_graph *graph;        /* NULL: it has come once */
};

struct block_gpu {
	struct block_graph graphs[BLOCK_GRAPHS];
	uint64_t moves;                 /* device->moves when they were recorded */
	uint64_t batches, recorded, replayed;
};

void block_gpu_close(struct block *b);

/* Whether nobody looks into the layers of f, which waits for attention. */
int block_gpu_can(const struct block *b, struct frame *f);

/* Such a frame through all layers of the range that follow one another.  0, or -1 and a message. */
int block_gpu_layers(struct block *b, struct frame *f);

#endif
