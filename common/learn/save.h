/*
 * What a process has learned, as a file of its own: FOLDER/WHO.safetensors.
 */
#ifndef DS_SAVE_H
#define DS_SAVE_H

#include "learn/param.h"
#include "learn/shards.h"

/*
 * Write the tensors that the process owns:
 *	SAVE_WEIGHTS		the weights under their names, dtypes and scales in the checkpoint
 *	SAVE_STATE		F32 NAME.master, NAME.m, NAME.v; of the router's bias the master
 *	SAVE_GRADIENTS		F32 NAME, (float)(acc learn_unit(weight, 1)); shared tensors and the
 *				router's bias are left out
 * The file appears when it is complete and on the disk; it replaces one of that name.  0, or -1 and
 * a message; an old file is then unchanged.
 */
int learn_save(struct learn *l, enum save what, const char *folder, double weight);

/* Take masters, moments and l->step from the state of a folder, by the names of tensors, and make
 * weights of the masters.  Refused: the state of another model, shards of two steps, tensors that
 * are missing or not as they must be.  0, or -1 and a message. */
int learn_load(struct learn *l, const char *folder);

#endif
