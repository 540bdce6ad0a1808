/*
 * Load of experts: which ones the routers of a stream chose, and how evenly.
 */
#ifndef DS_LOAD_H
#define DS_LOAD_H

#include "base/table.h"
#include "frame/frame.h"
#include "arch/config.h"
#include "inspect/record.h"

struct load_layer;

struct load {
	int experts;            /* E, or 0: 1 + the highest chosen */
	int groups;             /* number of expert groups; 0: unknown */
	struct load_layer *layers[LAYERS_MAX];
};

/* Count expert.idx and expert.w of a frame, if present. Rows that pass several expert processes
 * count once. Returns 0, or -1 and a message. */
int load_frame(struct load *l, struct frame *f);

/* Print one record per layer; with `each`, also one per expert. */
void load_print(const struct load *l, struct record *r, int each);

int load_any(const struct load *l);             /* 1 if anything was counted */

void load_free(struct load *l);

#endif
