/*
 * How long the stages take: batches that decode, and prompts, through the stages of a model in one process, with the
 * bytes that they must read and the operations that they must do.
 */
#ifndef DS_BENCH_H
#define DS_BENCH_H

#include <stdio.h>

#include "bench/bench_gpu.h"
#include "bench/limit.h"
#include "stage/block.h"
#include "stage/head.h"

/* The stages that are measured: those of a layer, and the head. */
enum part { PART_ATTN, PART_ROUTE = AT_ROUTE - AT_ATTN, PART_EXPERT = AT_EXPERT - AT_ATTN, PART_HEAD = AT_HEAD - AT_ATTN, PARTS };

static inline const char *
part_name(int part)
{
	return at_name(AT_ATTN + (enum at)part);
}

struct cost {
	double seconds, bytes, operations;      /* operations: two for a multiply-add */
};

struct measured {
	int prefill;                    /* 1: a prompt of that many rows; 0: one row each of as many sequences */
	int rows, context;
	int steps;                      /* measured; what stands here is the median step, so that parts add up */
	double experts;                 /* routed ones that were read, of a layer that has them, on average */
	struct cost part[PARTS], all;
	struct cost block;              /* on a GPU: whole layers as ds-block computes them, with the router's own choice; */
	int block_steps;                /* bytes NAN where they depend on that.  0: not measured */
};

struct bench_weights {
	double bytes, params;           /* params: numbers of the matrices */
};

struct bench_layer {
	struct bench_weights attn, route, shared, expert;       /* expert: one of the routed ones */
};

struct bench {
	/* set by the caller */
	struct stage stage;
	unsigned parts;                 /* 1 << PART_... */
	int present;                    /* experts of a layer that may be chosen: those below this number */
	double seconds;                 /* to be spent on each batch size, about */
	int fastest;                    /* 1: the fastest step counts, not the median: what else runs here is left out; where one thread */
	                                /* computes, steps take the processor's time, not the clock's */
	const struct sweep *sweep;      /* read before each step, so that no weight is in a cache; or NULL */
	struct bench_gpu *gpu;          /* where stage.gpu computes: whose marks tell the time, once it has begun */
	int gpu_sweep;                  /* what sweep is, on the GPU */

	struct block block;             /* attention, router and experts */
	struct head head;
	struct bench_layer *layers;     /* [num_layers] */
	struct bench_weights head_weights;
	double used;                    /* experts, in the step that is under way */
	uint64_t random;                /* state */
	int32_t *place;                 /* [E] where an expert that was drawn lies */
	int32_t *order;                 /* [present] all of them, those given out first */
	unsigned char *taken;           /* [E] */
};

/* The stages that b->parts names; b's first part is set, the rest zero.  stage.gpu is for the caller to start then.  0, or -1
 * and a message. */
int bench_open(struct bench *b);
void bench_close(struct bench *b);

/* Measure a batch: a prompt of that many rows, or one row each of as many sequences whose caches hold context positions.
 * 0, or -1 and a message. */
int bench_run(struct bench *b, int prefill, int rows, int context, struct measured *m);

int bench_layers(const struct bench *b);        /* how many it measures: those of b->stage */

/* Bytes that the caches of a sequence take where the stage computes. */
uint64_t bench_cache_bytes(const struct stage *s, const struct config *c, int layers, int context);

/* The picture: what was reached, in operations per second over operations per byte, under what the machine can do. */
void bench_draw(FILE *to, const struct limit *l, const struct measured *m, int n, const char *title, const char *subtitle);

/* Look at each page of the weights once, so that none has to be read from a disk or mapped while the clock runs.
 * 0, or -1 and a message. */
int bench_touch(struct bench *b);

#endif
