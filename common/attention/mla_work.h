/*
 * Shared by mla.c, mla_attend.c and mla_tap.c.
 */
#ifndef DS_MLA_WORK_H
#define DS_MLA_WORK_H

#include "attention/mla.h"

struct work {           /* a block of rows on its way: all [n][...] */
	struct mla_math *a;
	const struct mla *m;
	const struct config *c;
	const struct mla_rows *r;
	const struct mla_taps *taps;
	float *x;               /* [D] normed input; later attention's output */
	float *qa;              /* [q_lora] */
	float *q;               /* [H][nope + rope] */
	float *kv;              /* [R + rope] */
	float *cosine, *sine;   /* [rope / 2] */
	float *query;           /* [H][R + rope] queries in the latent space */
	float *latent;          /* [H][R] weighted sums of latents */
	float *v;               /* [H][v] */
};

/* latent = the attention of each query over the pages of its sequence.  0, or -1 and a message. */
int mla_attend(struct work *w);

/* Copy what is known behind the queries, before the cache is read; and when the values are there and
 * x is attention's output.  The latter: 0, or -1 and a message. */
void mla_tap_rows(const struct work *w);
int mla_tap_out(const struct work *w);

/* heads [T][H][D]: the values v [T][H v] through each head's columns of o.  0, or -1 and a message. */
int mla_tap_heads(struct mla_math *a, const struct mat *o, const float *v, int T, float *heads);

/* The probabilities of row t, n heads from h; mine: memory of n * CACHE_PAGE; max, sum [n]: of all pages. */
void mla_tap_probs(const struct work *w, size_t t, int h, int n, float *mine, const float *max, const float *sum);

#endif
