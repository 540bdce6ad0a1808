/*
 * The experts: frames at `expert` of its layers get what the process's experts contribute added
 * to their fixed-point sum; the process that completes it adds it to h and moves the frame on. A
 * dense layer's MLP counts as its shared experts.
 */
#ifndef DS_EXPERT_H
#define DS_EXPERT_H

#include "device/arena.h"
#include "device/ops.h"
#include "stage/expert_set.h"
#include "stage/stage.h"

struct expert_learn;
struct partial;

struct expert {
	const struct stage *s;
	int all;                        /* no set was given: do what is not yet done */
	struct expert_set set;
	float **norms;                  /* [num_layers], of [D] */
	/* [num_layers][E + 1]: the routed ones of the set; the shared ones or the MLP */
	struct mlp *mlps;
	struct mirror there;            /* the same, where the device reads them */
	struct mirror has;              /* the routed experts to compute, if not all */
	struct scratch rows;            /* of a frame: struct expert_rows */
	struct expert_learn *learn;     /* of backward passes; NULL without --learn */
};

/* set NULL: all. s, its model and pool outlive it. 0, or -1 and a message (a wrong set:
 * FAIL_USAGE). */
int expert_open(struct expert *x, const struct stage *s, const char *set);
void expert_close(struct expert *x);

/* The experts of a layer: the routed ones of the set, then the shared ones or the dense MLP. */
const struct mlp *expert_mlps(const struct expert *x, int layer);

/* 1 if the process's set has the layer's shared experts or dense MLP. */
int expert_has_shared(const struct expert *x, int layer);

/* The experts of the process's set that are not yet done: in *mine, and added to p->done.  0, or -1
 * and a message. */
int expert_mine(const struct expert *x, struct partial *p, struct expert_set *mine);

/* A stage_fn, arg the struct expert. */
int expert_frame(void *arg, struct frame *f, struct link *out, int nout);

/* --- for ds-block, which computes several layers at once --- */

/* Rows that experts of `layers` layers compute in turn, all in the device's memory. */
struct expert_rows {
	int T, layers;
	float *x;                       /* [T][D] normed */
	/* [layers][2]: the first pair of routed and of shared experts that is refused */
	int32_t *bad;
	struct expert_pairs chosen, all;
	float *each, *shared;           /* [T][K][D], [T][D]: for taps, or NULL */
	/* [pairs][width] of routed and of shared experts: for the backward pass, or NULL */
	float *gate[2], *up[2];
};

/* T and layers are set; the rest is laid out. */
void expert_layout(const struct expert *x, struct arena *a, struct expert_rows *r);

/* Before the first layer.  0, or -1 and a message. */
int expert_begin(struct expert *x, const struct expert_rows *r);

/* A layer's contributions to acc [T][D] from the choice in idx and w [T][K], not read on a dense
 * layer. mine: the experts that contribute, NULL all; at: the layer's index in r->bad. 0, or -1
 * and a message. */
int expert_add(struct expert *x, const struct expert_rows *r, int layer, int at, int64_t *acc,
    const int32_t *idx, const float *w, const struct expert_set *mine);

/* Wait, and look whether a contribution was refused: -1 no; else the first layer's index in
 * r->bad, with the pair of that layer in *first, and *shared 1 if it is one of the shared
 * experts; -2 and a message. */
int expert_refused(const struct expert *x, const struct expert_rows *r, int32_t *first,
    int *shared);

/* Fail with the expert and the position of that pair: idx [T][K] of the host.  Always -1. */
int expert_refuse(const struct expert *x, const struct frame *f, int layer, const int32_t *idx,
    const struct expert_set *mine, int32_t first, int shared);

#endif
