/*
 * The command of ds-learn --grade: a filter that adds rewards to answer lines.  It is started for
 * each step, so that it sees the end of its input, and reads answers while others are sampled.
 */
#ifndef DS_GRADER_H
#define DS_GRADER_H

#include "base/mem.h"
#include "launch/child.h"

struct grader {
	struct command command;
	struct child child;
	int in, out;                    /* to it and from it; -1: closed */
	struct buf send, got;
};

/* All return 0, or -1 and a message. */

/* Start the command, by sh.  A zeroed grader, or one that was dropped. */
int grader_start(struct grader *g, const char *command);

/* Send n bytes: whole lines.  They wait in memory until the command reads them. */
int grader_send(struct grader *g, const void *lines, size_t n);

/*
 * Send the rest, and read to the end of its output, which is in g->got then.  *status becomes its
 * exit status; -N if signal N has ended it.  signals: a descriptor that polls readable if the run
 * must end, or -1; then it returns 1.
 */
int grader_finish(struct grader *g, int signals, int *status);

/* End the command, if it runs. */
void grader_drop(struct grader *g);

#endif
