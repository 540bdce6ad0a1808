/*
 * A pipeline of processes from start to end: fed, watched, and cleaned up
 * behind, whatever happens.
 */
#ifndef DS_RUN_H
#define DS_RUN_H

#include "launch/dialog.h"
#include "launch/plan.h"
#include "launch/tally.h"

struct run_options {
	struct plan_options plan;       /* loop_in, loop_out, tally, asks and dim are set by run_pipeline; texts, too, but for a
	                                   file of prompts */
	const char *dir;                /* where programs are looked for first; NULL: in PATH alone */
	char **texts;                   /* prompts; none: */
	int ntexts;
	int prompts;                    /* descriptor of a file of them, or -1: */
	struct dialog *dialog;          /* with ask: the lines are one conversation; NULL: each is one of its own */
	int ask;                        /* 1: lines of the terminal at standard input are questions; 0: it is one text */
	int count;                      /* fill the tally */
	double began;                   /* clock_now() when the program was started */
};

/*
 * Run it to its end: text goes to standard output, what the programs say (but for failures) to
 * standard error.  0; 1 where sequences failed, which has been reported; or -1 and a message with
 * the status of the stage that failed; *sig, where it is not 0, is
 * the signal that ended it all, after which the caller ends by it too, without a message.
 * No child is left in any case.  Takes over SIGINT, SIGTERM, SIGHUP, SIGCHLD and SIGPIPE; one thread only.
 */
int run_pipeline(const struct run_options *o, struct tally *tally, int *sig);

#endif
