/*
 * What a plan comes to: memory, bytes over links, predicted rates, and what bounds them.
 */
#ifndef DS_REPORT_H
#define DS_REPORT_H

#include "plan/lines.h"

struct report {
	const char *model;
	const struct split *split;
	const struct lines *lines;
	const struct cost *many, *one, *prompt; /* a batch in flight, a sequence alone, a batch of a prompt */
};

/* Append its lines, each with `prefix` in front.  0, or -1 and a message. */
int report_write(struct buf *to, const struct report *r, const char *prefix);

#endif
