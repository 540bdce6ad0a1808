/*
 * An expert, the shared experts, or a dense layer's MLP: down(silu(gate x) * up x),
 * times a weight for each row, added in fixed point.
 */
#ifndef DS_MLP_H
#define DS_MLP_H

#include "base/scratch.h"
#include "stage/stage.h"

#define MLP_ROWS 128    /* rows of one that are computed together at most */
#define MLP_PIECES 256  /* and of how many at once: their rows are MLP_ROWS to 2 MLP_ROWS together */

struct mlp {
	struct mat gate, up;            /* [width][D] */
	struct mat down;                /* [D][width] */
};

/* gate: the role of its first matrix; expert: -1 where it has none.  0, or -1 and a message. */
int mlp_open(struct mlp *m, struct model *model, enum role gate, int layer, int expert);

/* One of them and the rows that it gets, no row twice. */
struct mlp_rows {
	const struct mlp *m;
	int n;
	const int32_t *row;             /* [n] */
	const float *w;                 /* [n] their weights */
	float *tap;                     /* NULL, or rows [D] that get a copy of what is added: row i's at slot[i] */
	const int32_t *slot;            /* [n] */
};

/*
 * acc[row[i]] += m(x[row[i]]) * w[i], for i < n of each of parts: x [..][D], acc [..][D] fixed point.  The parts
 * go side by side, since one alone may be too little to share among threads.
 * -1: done; else the first part, and in *row its least i, whose contribution fixed_add refused; -2 and a
 * message where there is no memory.
 */
int mlp_add(const struct stage *s, const struct mlp_rows *parts, int nparts, struct scratch *memory, int64_t *acc,
    const float *x, int *row);

#endif
