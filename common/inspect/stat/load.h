/*
 * The load of experts: which the routers of a stream chose, and how evenly.
 */
#ifndef DS_LOAD_H
#define DS_LOAD_H

#include "base/table.h"
#include "frame/frame.h"
#include "arch/config.h"
#include "inspect/record.h"

struct load_layer;

struct load {
	int experts;            /* E, or 0: as many as the highest that was chosen says */
	int groups;             /* of experts, for the share of those that no expert was chosen from; 0: not known */
	struct load_layer *layers[LAYERS_MAX];
};

/* Count what expert.idx and expert.w of a frame say, if it has them: rows that were counted on their way to another
 * expert process are not counted again.  0, or -1 and a message. */
int load_frame(struct load *l, struct frame *f);

/* A record for each layer; with each, also one for each expert. */
void load_print(const struct load *l, struct record *r, int each);

int load_any(const struct load *l);             /* 1 if a choice of experts was counted */

void load_free(struct load *l);

#endif
