/*
 * Benchmark of the stages of a model in one process: decode batches and prompts, with the bytes
 * that they must read and the operations that they must do.
 */
#ifndef DS_BENCH_H
#define DS_BENCH_H

#include <stdio.h>

#include "bench/bench_gpu.h"
#include "bench/limit.h"
#include "stage/block.h"
#include "stage/head.h"

/* The measured stages: those of a layer, and the head. */
enum bench_stage {
	BENCH_ATTN,
	BENCH_ROUTE = AT_ROUTE - AT_ATTN,
	BENCH_EXPERT = AT_EXPERT - AT_ATTN,
	BENCH_HEAD = AT_HEAD - AT_ATTN,
	BENCH_STAGES
};

static inline const char *
bench_stage_name(int part)
{
	return at_name(AT_ATTN + (enum at)part);
}

struct stage_cost {
	double seconds, bytes, operations;      /* a multiply-add is two operations */
};

struct measured {
	int prefill;                    /* 1: one prompt of `rows` rows; 0: `rows` sequences */
	int rows, context;
	int steps;   /* number of steps; the figures are the median step's, so that stages add up */
	double experts;            /* mean number of routed experts read in a layer that has them */
	struct stage_cost part[BENCH_STAGES], all;
	/* GPU: whole layers as ds-block computes them, with the router's own choice */
	struct stage_cost block;
	int block_steps;      /* 0: not measured; its bytes are NAN if they depend on that choice */
};

struct bench_weights {
	double bytes, params;           /* params: elements of matrices */
};

struct bench_layer {
	struct bench_weights attn, route, shared, expert;       /* expert: of one routed expert */
};

struct bench {
	/* set by the caller */
	struct stage stage;
	unsigned parts;                 /* 1 << BENCH_... */
	int present;                    /* experts below this number may be chosen */
	double seconds;                 /* time for each batch size, about */
	int fastest;        /* 1: report the fastest step, not the median, to exclude other load; */
	                                /* one thread is then timed by processor time */
	/* read before each step, to evict weights from the caches; or NULL */
	const struct sweep *sweep;
	struct bench_gpu *gpu;     /* the GPU, whose marks measure time; set after it has started */
	int gpu_sweep;                  /* 1: evict the GPU's cache before each step */

	struct block block;             /* attention, router and experts */
	struct head head;
	struct bench_layer *layers;     /* [num_layers] */
	struct bench_weights head_weights;
	double used;                    /* experts used by the current step */
	uint64_t random;                /* state of the generator */
	struct scratch page;            /* the page that caches are filled with */
	int32_t *slot;                  /* [E] the present expert that stands for a drawn one */
	int32_t *order;                 /* [present] all present experts, chosen ones first */
	unsigned char *taken;           /* [E] 1: chosen by the current row */
};

/* Open the stages in b->parts. The caller sets the first group of fields, zeroes the rest, and
 * starts stage.device afterwards. Returns 0, or -1 and a message; call bench_close in either case. */
int bench_open(struct bench *b);
void bench_close(struct bench *b);

/* Measure a batch: a prompt of `rows` rows, or one row each of as many sequences whose caches
 * hold `context` positions. Returns 0, or -1 and a message. */
int bench_run(struct bench *b, int prefill, int rows, int context, struct measured *m);

int bench_layers(const struct bench *b);        /* number of measured layers */

/* Bytes of a sequence's caches on the device of the stage. */
uint64_t bench_cache_bytes(const struct stage *s, const struct config *c, int layers, int context);

/* Draw the roofline plot: operations per second by operations per byte, and the machine's
 * limits. */
void bench_draw(FILE *to, const struct limit *l, const struct measured *m, int n, const char *title, const char *subtitle);

/* Read each page of the weights once, so that none is loaded or mapped while the clock runs.
 * Returns 0, or -1 and a message. */
int bench_touch(struct bench *b);

#endif
