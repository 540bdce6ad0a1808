/*
 * Where the time of a stream went: the header key `trace`, summed per stage and per link.
 */
#ifndef DS_TIMING_H
#define DS_TIMING_H

#include "base/table.h"
#include "frame/frame.h"
#include "inspect/record.h"

struct timing_sum;

struct timing {
	/* program, host and layer of one stage, or of two -> struct timing_sum */
	struct table names;
	struct timing_sum **all;        /* [n] in order of appearance */
	size_t n, cap;
	uint64_t frames;                /* frames with the key */
	double seconds;                 /* sum over frames from the first start to the last end */
};

/* Add the entries of a frame, which may have none. Returns 0, or -1 and a message. */
int timing_frame(struct timing *t, const struct frame *f);

/* Print one record per stage, per link, and for the total. */
void timing_print(const struct timing *t, struct record *r);

void timing_free(struct timing *t);

#endif
