/*
 * Multi-head latent attention in two steps, for kinds that do something between them: mla.c.
 */
#ifndef DS_MLA_INTERNAL_H
#define DS_MLA_INTERNAL_H

#include "attention/attention.h"

#define MLA_SHAPE(key) {#key, offsetof(struct config, key)}
#define MLA_SHAPES \
	MLA_SHAPE(q_lora_rank), MLA_SHAPE(kv_lora_rank), MLA_SHAPE(qk_nope_head_dim), \
	MLA_SHAPE(qk_rope_head_dim), MLA_SHAPE(v_head_dim)

#define LORA_EPS 1e-6f  /* of the norms on the latents, whatever rms_norm_eps is */

struct mla {            /* a layer's weights */
	float *norm;                    /* [D] */
	struct mat q;                   /* [H (nope + rope)][D], or [..][q_lora] */
	struct mat q_a;                 /* [q_lora][D], where there is one */
	float *q_norm;                  /* [q_lora], or NULL */
	struct mat kv_a;                /* [R + rope][D] */
	float *kv_norm;                 /* [R] */
	struct mat kv_b;                /* [H (nope + v)][R], or [H nope][R] and */
	struct mat v_b;                 /* [H v][R] */
	struct mat o;                   /* [D][H v] */
	struct mat mapped_o;            /* the same, where the CPU has it */
	struct mla_params *params;      /* the same as parameters; NULL: it does not learn */
};

struct mla_rows {       /* a block of rows on its way: all [n][...] */
	float *x;               /* [D] normed input; later attention's output */
	float *qa, *qn;         /* [q_lora]; qn: normed, may be qa */
	float *q;               /* [H][nope + rope] */
	float *kv;              /* [R + rope] */
	float *query;           /* [H][R + rope] queries in the latent space */
	float *latent;          /* [H][R] weighted sums of latents */
	float *v;               /* [H][v] */
	float *max, *sum;       /* [H] of the scores */
};

struct mla_block {      /* what each step reads */
	struct attention_layers *a;
	const struct mla *m;
	const struct config *c;
	const struct kv_rows *rows;
	const struct attention_taps *taps;
	struct mla_rows r;
};

/* A key is [R + rope], its value the first R of it. */
struct kv_shape mla_kv_shape(const struct config *c);

/* Of struct attention_kind. */
float mla_scale(const struct config *c);
int mla_rotated(const struct config *c);
int mla_tap(const struct config *c, enum attention_tap tap, uint64_t P, uint64_t shape[2]);
void mla_describe(const struct config *c, char *to, size_t size);
void mla_layout(const struct config *c, struct arena *arena, size_t n, void *rows);

/* The weights of a layer, registered with the device; *m is zeroed before.  0, or -1 and a
 * message; mla_weights_close is due in either case. */
int mla_weights_open(struct mla *m, const struct attention_layers *a, int layer);
void mla_weights_close(struct mla *m, const struct attention_layers *a);

/* Of h [T][D], x normed, and qa, q and kv made of it; then b->rows may get chosen positions. */
int mla_inputs(const struct mla_block *b, const float *h);

/* Keys and latents appended to the cache, the queries turned and brought to the latent space. */
int mla_append(const struct mla_block *b, const float *cosine, const float *sine);

/* The values v, out of latent. */
int mla_values(const struct mla_block *b);

/* Append to the cache, attend, and add the result to h; taps. */
int mla_outputs(const struct mla_block *b, float *h, const float *cosine, const float *sine);

/* --- mla_back.c: of struct attention_kind --- */

int mla_learn(void *weights, struct learn *l, int layer);
int mla_back(const struct backward *b, void *weights);

#endif
