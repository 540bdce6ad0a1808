/*
 * Frames of records to learn from: what ds-loss reads, next to the ids for ds-embed.
 */
#ifndef DS_LEARN_FRAME_H
#define DS_LEARN_FRAME_H

#include "learning/pipeline.h"
#include "learning/records.h"

struct learn_frames {
	uint32_t rows;                  /* of a frame, unless one record has more */
	uint64_t vocab;                 /* V */
	int score;                      /* 1: log probabilities only, no backward pass */
	double clip[2], beta;           /* of policy gradients */
};

/* How many records from b->p[from] on share a frame: at least 1. */
size_t learn_frame_fit(const struct learn_frames *s, const struct batch *b, size_t from);

/*
 * Make the frame of n records from b->p[from] on.  *f was initialised.  A record has the positions
 * learn_record_rows, as one or two spans of the next sequence id of p; the rows of the second span
 * predict.  0, or -1 and a message.
 */
int learn_frame_make(struct frame *f, const struct learn_frames *s, struct pipeline *p,
    const struct batch *b, size_t from, size_t n);

#endif
