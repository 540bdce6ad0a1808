/*
 * A plan's pipeline from start to end: prompts go out to it, text comes back, and what fails is started again.
 */
#ifndef DS_DRIVE_H
#define DS_DRIVE_H

#include "launch/run.h"

struct drive_options {
	struct run_options run;         /* of its plan: model, chat, template, quiet, verbose, greedy, sampling */
	const char *plan;               /* the file */
	const char *rsh;                /* the command that reaches another host */
	const char *manifest;           /* the weights that the hosts have to have; NULL: those of run's model */
};

/* As run_pipeline does it (run.h); one line is written to standard error for each new start.  The
 * links use link_settings, whose timeout is also that of the hosts. */
int drive_plan(const struct drive_options *o, struct tally *tally, int *sig);

#endif
