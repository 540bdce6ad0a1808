/*
 * Shared by join.c and join_merge.c: what processes that ran side by side may each have added to
 * their copy of a frame, the sum of experts aside.
 */
#ifndef DS_JOIN_MERGE_H
#define DS_JOIN_MERGE_H

#include "stage/partial.h"

/* expert.*@N: the tap of one process.  */
int merge_is_tap(const struct tensor *t);

/* to gets the taps of from; of expert.each that both have, the entries of the experts that p, read
 * from `from`, has done.  0, or -1 and a message if there is another difference.  */
int merge_taps(struct frame *to, struct frame *from, const struct partial *p, const struct config *c);

#endif
