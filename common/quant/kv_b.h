/*
 * MLA's kv_b, which a checkpoint stores whole and a GGUF file may store in halves.
 */
#ifndef DS_KV_B_H
#define DS_KV_B_H

#include "arch/model.h"

struct kv_b {
	struct mat k, v;                /* both the whole matrix, or its halves */
	int nope, values, split;        /* rows of a head in each half */
};

/* Of a layer.  0, or -1 and a message. */
int kv_b_open(struct kv_b *b, struct model *m, int layer);

/* Row i of a head, nope rows of keys before those of values: out [k.cols]. */
void kv_b_row(const struct kv_b *b, const struct kernels *k, float *out, int head, int i);

/* All of it as float32 [H (nope + v)][R], in memory to be freed, and *w to describe it.  NULL and a
 * message. */
float *kv_b_whole(const struct kv_b *b, const struct kernels *k, int heads, struct mat *w);

#endif
