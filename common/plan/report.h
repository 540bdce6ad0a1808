/*
 * Summary of a plan: memory, traffic, predicted rates, and bottlenecks.
 */
#ifndef DS_REPORT_H
#define DS_REPORT_H

#include "plan/lines.h"

struct report {
	const char *model;
	const struct split *split;
	const struct lines *lines;
	/* a batch in flight; one sequence alone; a batch of a prompt */
	const struct cost *batched, *single, *prompt;
};

/* Append the summary, each line after `prefix`. Returns 0, or -1 and a message. */
int report_write(struct buf *to, const struct report *r, const char *prefix);

#endif
