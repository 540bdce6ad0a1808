/*
 * Relay: frames from any endpoints to any others, unchanged.
 *
 * It holds one frame, and the bytes of each input's next frame that have arrived.  A consumer that
 * stalls stops all sources.  A loop does not deadlock as long as ds-embed is in it: ds-embed always
 * reads.
 */
#ifndef DS_RELAY_H
#define DS_RELAY_H

#include "link/link.h"

/* Relay until every input has ended, then send one `end`.  Frames of several inputs leave in the
 * order in which their last bytes arrive.  0, or -1 and a message; error frames are forwarded as by
 * stage_run.  */
int relay_run(struct link *in, int nin, struct link *out, int nout);

#endif
