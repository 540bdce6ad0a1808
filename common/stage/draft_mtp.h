/*
 * The layer for multi-token prediction of a checkpoint, number num_layers (DeepSeek-V3, section
 * 2.2).  From the hidden state of a position, after the final norm, and the next token it predicts
 * the token after that:
 *	x = eh_proj [norm(embedding of the next token, enorm); norm(hidden state, hnorm)]
 *	y = the layer, with a cache of its own
 *	logits = head norm(y, shared_head.norm)
 * Embedding and head are the layer's own, or the model's if it has none.
 */
#ifndef DS_DRAFT_MTP_H
#define DS_DRAFT_MTP_H

#include "device/mirror.h"
#include "stage/block.h"

struct mtp {
	struct model model;             /* the stage's, with the layer as one more */
	struct stage s;                 /* of that layer */
	struct block block;
	float *embed_norm, *hidden_norm, *final_norm;   /* [D] */
	struct mat embed, join, head;   /* [V][D], [D][2 D], [V][D] */
	struct scratch host;            /* what is sent to the device */
	struct scratch rows;            /* of the device */
	struct mirror wanted;
	struct scratch logits;          /* of the host */
};

/* Rows that the layer computes: [T] in all.  */
struct mtp_rows {
	const struct span *spans;       /* positions of the layer's cache */
	int nspans, T;
	const int32_t *next;            /* [T] the token after each */
	const float *hidden;            /* [T][D] */
	/* rows to guess for, ascending */
	const int32_t *wanted;          /* [n] */
	int n;
	int32_t *guess;                 /* [n] becomes the likeliest token */
	float *after;                   /* [n][D] becomes their hidden state; NULL: not asked for */
};

/* 0, or -1 and a message: the model has no such layer.  */
int mtp_open(struct mtp *m, const struct stage *s);
void mtp_close(struct mtp *m);          /* a zeroed *m is fine */

/* Append rows to the cache, and guess.  0, or -1 and a message.  */
int mtp_guess(struct mtp *m, const struct mtp_rows *r);

/* The layer's cache.  */
struct cache *mtp_cache(struct mtp *m);

#endif
