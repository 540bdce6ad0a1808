/*
 * Sequences that failed alone, while the others go on: an `error` frame with `seq` says so (OP_FAILED).
 *
 * Every stage passes it on.  It is reported once, by the end of the line: the program whose output no
 * other program reads, or that has none.
 */
#ifndef DS_FAILED_H
#define DS_FAILED_H

#include "link/link.h"

/* Report f, an OP_FAILED that is sent to out, on standard error; nothing where a program may read it there.  Of sequences
 * that follow each other with the same text the first is reported now, the others are counted. */
void failed_report(const struct frame *f, struct link *out, int nout);

/* At the end, once: report the count.  The status to exit with: FAIL_DATA if a sequence was reported, or 0. */
int failed_status(void);

#endif
