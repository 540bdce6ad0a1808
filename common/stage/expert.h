/*
 * The experts: frames at `expert` of its layers get what the process's experts contribute added to
 * their fixed-point sum; whoever completes it adds it to h and moves the frame on.  A dense
 * layer's MLP counts as its shared experts.
 */
#ifndef DS_EXPERT_H
#define DS_EXPERT_H

#include "device/mirror.h"
#include "stage/expert_prefetch.h"
#include "stage/expert_set.h"
#include "stage/mlp.h"
#include "base/scratch.h"
#include "stage/stage.h"

struct expert_layer {
	float *norm;                    /* [D] */
	struct mlp *routed;             /* [E]; those of the set are open; NULL on a dense layer */
	struct mlp shared;              /* or the dense MLP; open if the set has s */
};

struct expert_gpu {             /* what it has in a GPU: stage/expert_gpu.h */
	struct mirror mlps;             /* all experts, as arrays of struct gpu_mlp */
	struct mirror has;              /* those that are to be done, if not all */
	struct device_scratch work;
	void *bad;                      /* pinned: what of a frame was refused */
};

struct expert {
	const struct stage *s;
	int all;                        /* no set was given: do what is not yet done */
	struct expert_set set;
	struct expert_layer *layers;    /* [num_layers] */
	struct expert_ahead ahead;
	struct scratch normed, rows, all_rows, parts, inner;
	struct expert_gpu gpu;
};

/* set NULL: all.  s, its model and pool outlive it.  0, or -1 and a message (a wrong set: FAIL_USAGE). */
int expert_open(struct expert *x, const struct stage *s, const char *set);
void expert_close(struct expert *x);

/* A stage_fn, arg the struct expert. */
int expert_frame(void *arg, struct frame *f, struct link *out, int nout);

/* Name the expert (-1: the shared ones, or without moe the MLP) and the row whose contribution was refused: always -1. */
int expert_refused(const struct frame *f, int moe, int e, int32_t row);

#endif
