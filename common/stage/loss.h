/*
 * The loss: frames at `sample` with the key `learn` exchange their logits for the gradient of the
 * loss with respect to them, and wait for `head.back`.  All other frames pass.
 *
 * Of a row that predicts token y with weight w, new = log softmax(logits)[y], the loss is w times
 *	-new                                                    cross-entropy
 *	-min(ratio A, clip(ratio, 1 - low, 1 + high) A)         policy gradient (Shao et al. 2024)
 * plus beta (exp(reference - new) - (reference - new) - 1), with ratio = exp(new - old).
 * Its gradient is that of the sum over rows.
 */
#ifndef DS_LOSS_H
#define DS_LOSS_H

#include "base/scratch.h"
#include "stage/stage.h"

/* --- a row --- */

struct loss_rule {
	int policy;                     /* rows have an advantage and an old log-probability */
	int reference;                  /* and one of the reference model */
	double low, high;               /* INFINITY: the ratio is not clipped */
	double beta;
};

struct loss_row {
	int32_t target;                 /* the token that it predicts */
	float weight, advantage, old, reference;
};

struct loss_term {
	float logprob;                  /* of the target */
	double loss;                    /* without the weight, as kl and entropy */
	double ratio, kl, entropy;      /* ratio: 1 without policy */
	int clipped;                    /* the ratio has no gradient */
	float slope;                    /* the gradient is slope (softmax - onehot) */
};

/*
 * The term of a row, and in x [V], its logits, the gradient of weight * loss; scratch [V].  pos:
 * for messages.  0, or -1, a message (FAIL_DATA) and x unchanged: a logit or the loss is not
 * finite, the weighted loss or slope is 2^18 or more, or the weight or weighted KL 2^40 or more.
 */
int loss_row(const struct kernels *k, const struct loss_rule *rule, const struct loss_row *row,
    float *x, int V, float *scratch, uint32_t pos, struct loss_term *term);

/* --- the stage --- */

/* Fixed point with 60 fractional bits: sums do not depend on the order of frames. */
typedef __int128 loss_fixed;

struct loss_sums {                      /* over the rows since the last `norm` */
	loss_fixed loss, weight, kl, entropy;   /* each times the row's weight, but weight */
	uint64_t tokens, clipped;
	uint64_t exact;                 /* rows whose ratio is 1 */
	double ratio;                   /* the largest |ratio - 1| */
};

/* Add a row of that weight, which is not 0. */
void loss_sums_add(struct loss_sums *s, float weight, const struct loss_term *t);

struct loss {
	const struct stage *s;
	int quiet;                      /* -q */
	struct loss_sums sums;
	uint64_t tokens;                /* of the whole run */
	struct scratch rows, terms;     /* [threads][V]; of a frame */
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int loss_open(struct loss *l, const struct stage *s);
void loss_close(struct loss *l);

/* Write the sums into f, a `norm`, under the key `loss`, print them unless quiet, and begin again.
 * 0, or -1 and a message. */
int loss_report(struct loss *l, struct frame *f);

/* A stage_fn, arg the struct loss. */
int loss_frame(void *arg, struct frame *f, struct link *out, int nout);

#endif
