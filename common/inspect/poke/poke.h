/*
 * Editing frames in flight: scale, set or add to values of selected tensors. Each edited frame
 * records this under `edits`.
 */
#ifndef DS_POKE_H
#define DS_POKE_H

#include "weights/safetensors.h"
#include "inspect/select.h"

enum poke_what { POKE_NOTHING, POKE_SCALE, POKE_SET, POKE_ADD };

struct poke {
	struct select select;
	enum poke_what what;
	double number;                  /* the operand if there is neither vector nor tensor */
	float *vector;                  /* [width] from a file, or NULL */
	uint64_t width;
	char *tensor;                   /* name of another tensor of the frame, or NULL */
	long index;                     /* index in its second dimension; -1: none */
	double by;                      /* factor for what is added or set */
	char *record;                   /* the command line, appended to the frame's `edits` */
	unsigned long long frames, rows, elements;  /* counts of edits; rows counts each tensor's */
};

/* Parse what to scale by, set or add: a number, FILE:NAME (a vector of F32, F16 or BF16 in a
 * safetensors file) or @TENSOR[/I] (of the same frame). Returns 0, or -1 and a message. */
int poke_operand(struct poke *p, enum poke_what what, const char *text);

/* Edit a batch in place. Returns 1, 0 if nothing was selected, or -1 and a message. */
int poke_frame(struct poke *p, struct frame *f);

void poke_free(struct poke *p);

#endif
