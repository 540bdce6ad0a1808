/*
 * Editing in flight: values of selected tensors are scaled, set or added to,
 * and each edited frame says so under `edits`.
 */
#ifndef DS_POKE_H
#define DS_POKE_H

#include "weights/safetensors.h"
#include "inspect/select.h"

enum poke_what { POKE_NOTHING, POKE_SCALE, POKE_SET, POKE_ADD };

struct poke {
	struct select select;
	enum poke_what what;
	double number;                  /* what to scale by, set or add, where nothing else is named */
	float *vector;                  /* [width] from a file, or NULL */
	uint64_t width;
	char *tensor;                   /* another tensor of the frame, or NULL */
	long index;                     /* of its second dimension; -1: it has none */
	double by;                      /* factor of what is added or set */
	char *record;                   /* what the frame's `edits` gets: the command line */
	unsigned long long frames, rows, elements;      /* edited so far; rows of each tensor */
};

/* What to add or set: a number, FILE:NAME (a vector F32, F16 or BF16 of a safetensors
 * file), or @TENSOR[/I] (of the frame itself).  0, or -1 and a message. */
int poke_operand(struct poke *p, enum poke_what what, const char *text);

/* Edit a batch: 1, or 0 where nothing was selected, or -1 and a message. */
int poke_frame(struct poke *p, struct frame *f);

void poke_free(struct poke *p);

#endif
