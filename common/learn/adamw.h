/*
 * The optimizer: AdamW (Loshchilov and Hutter 2017, "Decoupled weight decay regularization").
 */
#ifndef DS_ADAMW_H
#define DS_ADAMW_H

#include "learn/param.h"

/* The sums over all processes of the shared tensors' gradients, times 2^40; NULL: the process has
 * none of them. */
struct learn_shared {
	int64_t *mlp_norm;              /* [L][D] */
	int64_t *embed;                 /* [V][D], with tied embeddings */
};

/* Where they are of p; NULL: nowhere, or it is not shared. */
int64_t *shared_sums(const struct learn *l, const struct param *p,
    const struct learn_shared *sums);

/* What a sum of gradients is multiplied by, as double; the product is rounded to float32. */
static inline double
learn_unit(double weight, double factor)
{
	return 0x1p-40 * factor / weight;
}

/*
 * One element, float32 operations rounded to nearest, none fused: p is the master, m and v are its
 * moments, g the gradient, `keep` 1 - rate * decay for a matrix and 1 for a vector.
 *	m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) (g g)
 *	p = p keep - rate ((m / bias1) / (sqrt(v / bias2) + eps))
 * The constants are rounded from double once.
 */
struct adamw {
	double unit;
	float beta1, rest1, beta2, rest2, bias1, bias2, rate, keep, eps;
};

struct adamw adamw_constants(const struct frame_step *s, int matrix);

/* n elements.  0, or -1 without a message: a result is not finite. */
int adamw_update(const struct adamw *a, float *p, float *m, float *v, const int64_t *acc, size_t n);

/*
 * A step: every param, then the weights of the forward pass; sums are cleared.  The router's bias
 * moves up by `balance` where its expert was chosen by fewer rows than the mean, and down where by
 * more.  0, or -1 and a message that names the tensor; params must not be used then.
 */
int learn_step(struct learn *l, const struct frame_step *s, const struct learn_shared *sums);

#endif
