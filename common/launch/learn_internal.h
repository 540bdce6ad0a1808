/*
 * Shared by learn_plan.c (the programs), learn_run.c (starts them) and learn_script.c.
 */
#ifndef DS_LAUNCH_LEARN_INTERNAL_H
#define DS_LAUNCH_LEARN_INTERNAL_H

#include "launch/learn.h"

/* Words of the command lines that differ between a launch and a script. */
struct learn_ends {
	/* names of the streams: where the driver writes, the loop, what comes back to the driver */
	const char *feed, *loop_in, *loop_out, *back_in, *back_out;
	const char *more;               /* a last word of the stages that learn, or NULL */
};

/* Make the plan of a line: the driver, ds-embed, the layers, ds-head, ds-loss, and ds-sample if it
 * samples.  Returns 0, or -1 and a message; call plan_free in either case. */
int learn_plan(struct plan *p, const struct learn_launch *l, const struct learn_ends *e);

#endif
