/*
 * Joining streams whose experts were done side by side: one frame from each input in turn, copies of
 * one frame but for the experts that each process did.
 */
#ifndef DS_JOIN_H
#define DS_JOIN_H

#include "stage/stage.h"

/* Until `end` has come on all inputs, which is sent on.  0, or -1 and a message: inputs that
 * differ (FAIL_DATA), one that ends before the others (FAIL_SYSTEM).  An error is sent on as stage_run does. */
int join_run(const struct stage *s, struct link *in, int nin, struct link *out, int nout);

#endif
