/*
 * A tensor that learns: its gradient, its float32 master and moments, and the weights that the
 * forward pass reads.
 */
#ifndef DS_PARAM_H
#define DS_PARAM_H

#include "arch/arch.h"
#include "base/pool.h"
#include "base/scratch.h"
#include "kernels.h"

struct model;

struct param {
	enum role role;
	int layer, expert;              /* -1 where it has none */
	const char *name;               /* in the checkpoint */
	int rows, cols;                 /* [rows][cols]; cols 0: a vector [rows] */
	enum dtype dtype;               /* in the checkpoint */
	int64_t *acc;                   /* [rows][cols] the gradient's sum, times 2^40 */
	float *master, *m, *v;          /* [rows][cols] */
	struct mat mat;                 /* what the forward pass reads; a step changes its data */
	int shared;                     /* other processes have it, too */
};

struct learn {
	struct model *model;
	struct pool *pool;
	const struct kernels *k;
	struct scratch work;            /* of back.c */
};

#endif
