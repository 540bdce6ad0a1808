/*
 * Carrying frames from any endpoints to any others, as they are.
 *
 * One frame is held at a time, and as much of the next of each input as has come: a consumer
 * that stalls stops all sources.  In a loop that is safe as long as ds-embed stands in it,
 * which reads whatever it waits for.
 */
#ifndef DS_RELAY_H
#define DS_RELAY_H

#include "link/link.h"

/* Until `end` has come on all inputs; one is sent on.  Frames of several inputs go in the order in which they have
 * come whole.  0, or -1 and a message; an error is sent on as stage_run does. */
int relay_run(struct link *in, int nin, struct link *out, int nout);

#endif
