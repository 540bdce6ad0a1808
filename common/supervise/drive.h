/*
 * Drives the pipeline of a plan: sends prompts, receives text, and restarts what fails.
 */
#ifndef DS_DRIVE_H
#define DS_DRIVE_H

#include "launch/run.h"

struct drive_options {
	/* from its plan: model, chat, template, quiet, verbose, greedy, sampling */
	struct run_options run;
	const char *plan;               /* plan file */
	const char *rsh;                /* remote shell command */
	/* manifest of the weights that hosts must have; NULL: of run's model */
	const char *manifest;
};

/* Like run_pipeline (run.h). Prints one line to standard error for each restart. Links use
 * link_settings, whose timeout also applies to hosts. */
int drive_plan(const struct drive_options *o, struct tally *tally, int *sig);

#endif
