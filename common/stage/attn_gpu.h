/*
 * Attention in the GPU: what mla.c does, with the same caches but for where their pages lie.  The host keeps the
 * books, and puts all work on the device's stream without waiting for any of it.
 */
#ifndef DS_ATTN_GPU_H
#define DS_ATTN_GPU_H

#include "cuda/gpu.h"
#include "attention/cache.h"
#include "stage/stage.h"

#define ATTN_GPU_ROWS 512       /* of a batch at a time */

struct attn;
struct attn_gpu;
struct attn_place;
struct mla_taps;

/* Nothing is in the GPU yet, which need not be there either.  NULL and a message where there is no memory. */
struct attn_gpu *attn_gpu_new(const struct stage *s);
void attn_gpu_free(struct attn_gpu *g);         /* NULL: nothing; the caches are freed before */

/* Tell the device what memory the stage will need beside its weights: for a block of a prompt, for the first pages, and
 * for each position of a sequence. */
void attn_gpu_expect(const struct attn *a);

/* Where the pages of its caches lie; it lives as long as g. */
const struct cache_memory *attn_gpu_memory(struct attn_gpu *g);

/*
 * attn_take for a layer in the GPU: all rows left of the frame, or those before a sequence goes back.  Their
 * positions and pages are in the GPU then, in memory that the layer's next batch uses again, at the same addresses as long as
 * device->moves stays.  Layers that take the same rows one after another share positions and angles.  0, or -1 and a message.
 */
int attn_gpu_take(struct attn *a, int layer, const struct frame *f, struct attn_place *at, struct gpu_rows *r);

/* Add to h [r->n][D], in the GPU, its attention.  Only puts work on the stream, unless there are taps; those are
 * moved on by r->n rows.  0, or -1 and a message. */
int attn_gpu_add(struct attn *a, int layer, float *h, const struct gpu_rows *r, struct mla_taps *taps);

#endif
