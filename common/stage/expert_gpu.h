/*
 * The experts on the GPU: what expert.c does there.  The experts of a layer are an array in the GPU's memory, of
 * which each gets its rows in the order of the rows; their sum in fixed point has the bits that the CPU's has.
 */
#ifndef DS_EXPERT_GPU_H
#define DS_EXPERT_GPU_H

#include "stage/expert.h"
#include "stage/partial.h"

/* Name the weights for the GPU, and the memory for batches of GPU_ROWS rows.  0, or -1 and a message, also where the
 * experts of a layer are not of one form. */
int expert_gpu_want(struct expert *x);
void expert_gpu_close(struct expert *x);

/* Working memory of a batch in the GPU. */
struct expert_work {
	int T;
	float *x;                       /* [T][D] normed */
	int64_t *acc;                   /* [T][D]; NULL: the caller has one */
	int32_t *idx;                   /* [layers][T][K], and w [T][K], for the caller; NULL: he has them */
	float *w;
	float *scores, *choice;         /* [T][E], the same */
	int32_t *bad;                   /* [layers][2]: the first contribution of routed and of shared experts that is refused */
	struct gpu_chosen chosen, all;
	float *each;                    /* [T][K][D], or [T][D]: for taps, or NULL */
	void *products;
};

/*
 * Memory for T rows, of which `layers` layers are to be computed without a word between; own: with acc, idx, w,
 * scores and choice.  0, or -1 and a message.
 */
int expert_gpu_room(struct expert *x, struct expert_work *w, int T, int layers, int own);

/* What all layers start from, and a layer's contributions to acc from the choice in idx and w [T][K]: put on the
 * stream.  mine NULL: all.  at: the layer's place in w->bad.  0, or -1 and a message. */
int expert_gpu_begin(const struct expert *x, const struct expert_work *w, int layers);
int expert_gpu_routed(struct expert *x, const struct expert_work *w, int layer, int at, int64_t *acc,
    const int32_t *idx, const float *weight, const struct expert_set *mine, float *each);
int expert_gpu_shared(const struct expert *x, const struct expert_work *w, int layer, int at, int64_t *acc, float *each);

/* Wait, and look whether a contribution was refused: -1 no; else the first layer's place in w->bad, and in *first the
 * pair in it, *shared 1 if it is one of the shared experts; -2 and a message. */
int expert_gpu_refused(const struct expert *x, const struct expert_work *w, int layers, int32_t *first, int *shared);

/* Say which: idx [T][K] on the host, mine NULL all experts.  Always -1. */
int expert_gpu_name(const struct expert *x, const struct frame *f, int layer, const int32_t *idx,
    const struct expert_set *mine, int32_t first, int shared);

/* Add to p->acc, in the GPU, all that the process contributes to a frame; with the taps, but for expert.out. */
int expert_gpu_batch(struct expert *x, struct frame *f, const struct partial *p, const struct expert_set *mine);

#endif
