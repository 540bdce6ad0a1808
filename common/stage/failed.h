/*
 * Sequences that failed alone while the others go on: an `error` frame with `seq` (OP_FAILED).
 *
 * Every stage forwards it.  The last program of the pipeline reports it: the one without outputs,
 * or whose outputs no program reads.
 */
#ifndef DS_FAILED_H
#define DS_FAILED_H

#include "link/link.h"

/* Report f, an OP_FAILED that is sent to out [nout], on standard error, unless a program may read
 * it there.  Of successive sequences with the same text the first is reported, the others are
 * counted.  */
void failed_report(const struct frame *f, struct link *out, int nout);

/* The same of a sequence that answers a request.  id: that of the request, in JSON, or NULL.  */
void failed_report_request(const struct frame *f, const char *id);

/* Call once, at the end: reports the count.  Returns the exit status: FAIL_DATA if a sequence was
 * reported, or 0.  */
int failed_status(void);

#endif
