/*
 * Runs a pipeline of local processes: starts, feeds and watches them, and cleans up in any case.
 */
#ifndef DS_RUN_H
#define DS_RUN_H

#include "launch/dialog.h"
#include "launch/plan.h"
#include "launch/progress.h"
#include "launch/tally.h"

struct run_options {
	/* run_pipeline sets loop_in, loop_out, copy_in, copy_out, tally, asks and dim; also
	 * texts, except for a file of prompts */
	struct plan_options plan;
	const char *dir;                /* folder searched first for programs; NULL: PATH only */
	char **texts;                   /* prompts; none: */
	int ntexts;
	int prompts;                    /* descriptor of a file of them, or -1: */
	struct dialog *dialog;    /* with ask: keeps the dialog; NULL: each question stands alone */
	int ask;   /* 1: each line from the terminal is a question; 0: standard input is one text */
	int out;                        /* descriptor of the answers: 1, or that of a file */
	int count;                      /* 1: fill the tally */
	struct progress *progress;      /* with count: shown on standard error; NULL: not */
	double began;                   /* clock_now() at the program's start */
};

/*
 * Run a pipeline to its end. Text goes to o->out, messages of programs to standard error.
 * Returns 0; 1 if sequences failed, as reported; or -1 and a message with the status of the failed
 * stage. If *sig is not 0, a signal ended the run and the caller must end by it, without a message.
 * No child is left in any case. Handles SIGINT, SIGTERM, SIGHUP, SIGCHLD and SIGPIPE; call it from
 * a single-threaded process.
 */
int run_pipeline(const struct run_options *o, struct tally *tally, int *sig);

#endif
