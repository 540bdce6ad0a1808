/*
 * Multi-head latent attention (DeepSeek-V2, 2405.04434, section 2.1), computed in the latent
 * space: instead of expanding the cache's latents to keys and values, the query is
 * brought into the space of the latents, and their weighted sum back out of it.  Prefill and decode
 * alike, over the cache's pages in order, whoever computes them: the bits of a row
 * depend on nothing but its sequence.
 *
 * H heads, R the latent rank; a row of the cache is the latent [R] and the rotated
 * key [rope] that all heads share.
 */
#ifndef DS_MLA_H
#define DS_MLA_H

#include <pthread.h>

#include "attention/cache.h"
#include "attention/rope.h"
#include "base/scratch.h"
#include "stage/stage.h"

#define MLA_ROWS 64     /* of a batch at a time */
#define LORA_EPS 1e-6f  /* of the norms on the latents, whatever rms_norm_eps says */

struct mla {            /* a layer's weights and cache */
	float *norm;                    /* [D] */
	struct mat q;                   /* [H (nope + rope)][D], or [..][q_lora] */
	struct mat q_a;                 /* [q_lora][D], where there is one */
	float *q_norm;                  /* [q_lora], or NULL */
	struct mat kv_a;                /* [R + rope][D] */
	float *kv_norm;                 /* [R] */
	struct mat kv_b;                /* [H (nope + v)][R] */
	struct mat o;                   /* [D][H v] */
	struct mat mapped_o;            /* the same, where the CPU has it */
	struct cache cache;
};

struct mla_math {       /* what all layers share */
	const struct stage *s;
	struct rope rope;
	float scale;                    /* of the scores, before the softmax */
	struct scratch rows;            /* a block's intermediate results */
	struct scratch tasks;           /* attention over the pages, */
	struct scratch parts;           /* and each thread's own of it */
	pthread_mutex_t lock;           /* for threads that wait for their turn */
	pthread_cond_t passed;
};

/* Rows of a batch that are computed together: their places in the cache are taken. */
struct mla_rows {
	int n, most;                    /* there is room for so many */
	const struct cache_seq **seq;
	uint32_t *pos;
	void **kv;                      /* their rows of the cache, to be filled */
};

/* Where copies of inner tensors go, each NULL if nobody asked: of the rows of a block. */
struct mla_taps {
	float *norm;                    /* [n][D] */
	float *q;                       /* [n][H][nope + rope], rotated */
	float *latent;                  /* [n][R] */
	float *krope;                   /* [n][rope], rotated */
	float *probs;                   /* [n][H][positions], 0 behind the row's own */
	float *heads;                   /* [n][H][D] */
	float *out;                     /* [n][D] */
	size_t positions;
};

/* What a position leaves in the cache. */
static inline struct kv_shape
mla_shape(const struct config *c)
{
	return (struct kv_shape){1, c->kv_lora_rank + c->qk_rope_head_dim, c->kv_lora_rank, 1};
}

int mla_math_open(struct mla_math *a, const struct stage *s);
void mla_math_close(struct mla_math *a);

/* s->gpu, if it is set, is told to take the weights.  memory: of the cache, as for cache_init. */
int mla_open(struct mla *m, const struct stage *s, int layer, const struct cache_memory *memory);
void mla_close(struct mla *m, const struct stage *s);

/* Add to h [r->n][D] its attention; the rows' places in the cache are filled.  0, or -1
 * and a message. */
int mla_add(struct mla_math *a, struct mla *m, float *h, const struct mla_rows *r, const struct mla_taps *taps);

#endif
