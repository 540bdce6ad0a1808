/*
 * Join streams of processes that computed experts of the same frames side by side: one frame from
 * each input in turn.  They are copies of one frame and differ in the experts that each process
 * computed.
 */
#ifndef DS_JOIN_H
#define DS_JOIN_H

#include "stage/stage.h"

/* Join until every input has ended, then send `end`.  0, or -1 and a message: inputs that differ
 * (FAIL_DATA), an input that ends before the others (FAIL_SYSTEM).  Error frames are forwarded as
 * by stage_run.  */
int join_run(const struct stage *s, struct link *in, int nin, struct link *out, int nout);

#endif
