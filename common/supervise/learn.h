/*
 * ds-learn on the hosts of a plan: its stages learn there, and the driver runs here.  A run that
 * fails is not restarted: it goes on from its last state when it is started again.
 */
#ifndef DS_SUPERVISE_LEARN_H
#define DS_SUPERVISE_LEARN_H

#include "launch/learn.h"

struct learn_hosts {
	const struct learn_launch *launch;      /* its cut and threads are not read */
	const char *plan;               /* plan file of ds-plan */
	const char *rsh;                /* remote shell command */
	const char *manifest;           /* manifest of their weights; NULL: of the model */
};

/* Like learn_launch_run (launch/learn.h). */
int learn_hosts_run(const struct learn_hosts *o, int *sig);

#endif
