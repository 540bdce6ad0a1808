/*
 * The metrics that ds-learn's driver prints, if they are shown as progress: they pass through the
 * process that started it.
 */
#ifndef DS_LEARN_METRICS_H
#define DS_LEARN_METRICS_H

#include "launch/progress.h"

struct learn_metrics {
	int fd;                         /* from the driver; -1: none, or closed */
	struct buf got;                 /* the start of a line */
	struct progress progress;
	int gone;                       /* the reader of standard output has exited */
};

/* Make a pipe to m, if standard error is a terminal and standard output is not.  *out becomes the
 * driver's end, or 1.  0, or -1 and a message. */
int learn_metrics_open(struct learn_metrics *m, int *out);

/* Pass on what the driver printed, and show its last line.  0, or -1 and a message. */
int learn_metrics_read(struct learn_metrics *m);
void learn_metrics_close(struct learn_metrics *m);

#endif
