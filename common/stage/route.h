/*
 * The router: frames at `route` of its layers get the experts that their rows go to, with their
 * weights, and wait for `expert`.  On a dense layer there is nothing to choose.
 *
 * Scores are the sigmoid or softmax of the gate's product with the normed row.  Methods
 * (E experts in n_group groups, K chosen, the lower index where scores are equal):
 *	greedy                  the K best
 *	group_limited_greedy    the K best of the topk_group groups with the best expert
 *	noaux_tc                the same by score + bias, groups by the sum of their two best
 * The weights are the chosen scores, without bias.  A score that is not a number counts as
 * the best, so that it shows.
 */
#ifndef DS_ROUTE_H
#define DS_ROUTE_H

#include "device/arena.h"
#include "stage/stage.h"

struct param;
struct route_learn;

struct gate {
	float *norm;                    /* [D] */
	struct mat weight;              /* [E][D]; of a dense layer there is the norm alone */
	float *bias;                    /* [E], or NULL */
	/* --learn: what learns of them; of the bias the rows that chose each expert */
	struct param *norm_grad, *weight_grad, *load;
};

struct route {
	const struct stage *s;
	/* [num_layers]; those of the stage that have experts are open, with --learn all of the
	 * stage */
	struct gate *layers;
	struct scratch rows;            /* intermediate results, of the device */
	struct route_learn *learn;      /* of backward passes; NULL without --learn */
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int route_open(struct route *r, const struct stage *s);
void route_close(struct route *r);

/* A stage_fn, arg the struct route. */
int route_frame(void *arg, struct frame *f, struct link *out, int nout);

/* How the rows of a model choose, as the device computes it. */
struct router route_rule(const struct config *c);

/* Rows that choose, all in the device's memory. */
struct route_rows {
	int T;                          /* at least 1 */
	float *x;                       /* [T][D] normed */
	float *scores, *choice;         /* [T][E] */
	int32_t *idx;                   /* [T][K] */
	float *w;
};

/* From x to all the others. Scores are computed in f32 in every precision, with the same bits on
 * every device: where h is the same, the choice is. 0, or -1 and a message. */
int route_add(const struct route *r, int layer, const struct route_rows *rows);

#endif
