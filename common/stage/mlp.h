/*
 * An expert, the shared experts, or a dense layer's MLP: down(silu(gate x) * up x),
 * times a weight for each row, added in fixed point.
 */
#ifndef DS_MLP_H
#define DS_MLP_H

#include "stage/scratch.h"
#include "stage/stage.h"

#define MLP_ROWS 128    /* rows that are computed together at most */

struct mlp {
	struct mat gate, up;            /* [width][D] */
	struct mat down;                /* [D][width] */
};

/* Its tensors are NAME.gate_proj.weight and so on.  0, or -1 and a message. */
int mlp_open(struct mlp *m, struct model *model, int width, const char *name);

/* The rows that an expert gets, no row twice. */
struct mlp_rows {
	int n;
	const int32_t *row;             /* [n] */
	const float *w;                 /* [n] their weights */
	float *tap;                     /* NULL, or rows [D] that get a copy of what is added: row i's at slot[i] */
	const int32_t *slot;            /* [n] */
};

/*
 * acc[row[i]] += m(x[row[i]]) * w[i], for i < n: x [..][D], acc [..][D] fixed point.
 * -1: done (or n 0); else the least i whose contribution fixed_add refused; -2 and a message
 * where there is no memory.
 */
int mlp_add(const struct stage *s, const struct mlp *m, struct scratch *memory, int64_t *acc,
    const float *x, const struct mlp_rows *r);

#endif
