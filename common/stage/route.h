/*
 * The router: frames at `route` of its layers are told which experts their rows go to, with what
 * weight, and wait for `expert`.  On a dense layer there is nothing to choose.
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

#include "device/device.h"
#include "base/scratch.h"
#include "stage/stage.h"

struct gate {
	float *norm;                    /* [D] */
	struct mat weight;              /* [E][D] */
	float *bias;                    /* [E], or NULL */
};

struct route {
	const struct stage *s;
	struct stage gate;              /* s, but with the products of f32 */
	struct gate *layers;            /* [num_layers]; those of the stage that have experts are open */
	struct scratch rows;
	struct device_scratch work;     /* the same in a GPU: stage/route_gpu.h */
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int route_open(struct route *r, const struct stage *s);
void route_close(struct route *r);

/* A stage_fn, arg the struct route. */
int route_frame(void *arg, struct frame *f, struct link *out, int nout);

/*
 * Choose experts from scores [E] of one row: idx [K] ascending, w [K] in the same order; bias [E]
 * or NULL; choice [E] is working memory.
 */
void route_choose(const struct config *c, const float *scores, const float *bias,
    float *choice, int32_t *idx, float *w);

#endif
