/*
 * Grouped-query attention in steps, for gqa.c and its backward pass, gqa_back.c.
 */
#ifndef DS_GQA_INTERNAL_H
#define DS_GQA_INTERNAL_H

#include "attention/attention.h"

struct gqa {            /* a layer's weights; vectors that the model lacks are NULL */
	float *norm;                    /* [D] */
	struct mat q, k, v;             /* [H d][D], [G d][D], [G d][D] */
	float *q_bias, *k_bias, *v_bias;
	float *q_norm, *k_norm;         /* [d] */
	struct mat o;                   /* [D][H d] */
	struct mat mapped_o;            /* the same, where the CPU has it */
	float *o_bias;                  /* [D] */
	int window;                     /* 0: rows see all positions */
	struct gqa_params *params;      /* the same as parameters; NULL: it does not learn */
};

struct gqa_rows {       /* a block of rows on its way: all [n][...] */
	float *x;               /* [D] normed input; later attention's output */
	float *q;               /* [H][d] */
	float *k, *v;           /* [G][d] */
	float *values;          /* [H][d] weighted sums of values */
	float *max, *sum;       /* [H] of the scores */
};

struct gqa_block {      /* what each step reads */
	struct attention_layers *a;
	const struct gqa *m;
	const struct config *c;
	struct kv_rows rows;
	const struct attention_taps *taps;
	struct gqa_rows r;
};

struct kv_shape gqa_kv_shape(const struct config *c);

/* Of struct attention_kind. */
void gqa_layout(const struct config *c, struct arena *arena, size_t n, void *rows);

/* Of h [T][D], x normed, and q, k and v made of it. */
int gqa_inputs(const struct gqa_block *b, const float *h);

/* Biases, norms and rotation of q, k and v; keys and values appended to the cache. */
int gqa_append(const struct gqa_block *b, const float *cosine, const float *sine);

/* --- gqa_back.c: of struct attention_kind --- */

int gqa_learn(void *weights, struct learn *l, int layer);
int gqa_back(const struct backward *b, void *weights);

#endif
