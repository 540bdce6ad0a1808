/*
 * A model: the configuration and the tensors of a checkpoint.
 */
#ifndef DS_MODEL_H
#define DS_MODEL_H

#include "arch/arch.h"
#include "weights/checkpoint.h"

struct model {
	struct config config;
	struct checkpoint weights;
};

/* Read config.json and the names of the tensors; no tensor is touched.  0, or -1 and a message. */
int model_open(struct model *m, const char *dir);
void model_close(struct model *m);      /* unmaps: matrices must not be used any more */

/* The matrix of a role; layer and expert are -1 where it has none.  Its memory is the mapped
 * file: read-only, shared.  0, or -1 and a message that names the tensor. */
int model_weight(struct model *m, enum role role, int layer, int expert, struct mat *w);

/* The vector of a role as float32 in memory of its own (free() it).  NULL and a message. */
float *model_vector(struct model *m, enum role role, int layer);

#endif
