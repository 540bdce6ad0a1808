/*
 * Where the time of a stream went: the header key `trace`, summed for each stage and for each way between two.
 */
#ifndef DS_TIMING_H
#define DS_TIMING_H

#include "base/table.h"
#include "frame/frame.h"
#include "inspect/record.h"

struct timing_sum;

struct timing {
	struct table names;             /* program, host and layer, of one stage or of two -> struct timing_sum */
	struct timing_sum **all;        /* [n] in order of appearance */
	size_t n, cap;
	uint64_t frames;                /* that have the key */
	double seconds;                 /* of them, from the first entry's start to the last one's end */
};

/* Add a frame's entries; a frame without them adds nothing.  0, or -1 and a message. */
int timing_frame(struct timing *t, const struct frame *f);

/* A record for each stage, for each way, and for the whole. */
void timing_print(const struct timing *t, struct record *r);

void timing_free(struct timing *t);

#endif
