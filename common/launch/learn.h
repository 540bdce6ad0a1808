/*
 * The pipeline of ds-learn: a line of stages that learn, which ends in ds-loss or ds-sample, and
 * the driver, which is ds-learn again with --feed and --back.  It is started on this host, written
 * as a shell script, or started on the hosts of a plan (supervise/learn.h).
 */
#ifndef DS_LAUNCH_LEARN_H
#define DS_LAUNCH_LEARN_H

#include <getopt.h>

#include "base/mem.h"
#include "launch/plan.h"

struct learn_launch {                   /* strings are borrowed */
	/* model, layers, cut, threads and verbose are read */
	struct plan_options plan;
	const char *dir;                /* folder searched first for programs; NULL: PATH only */
	const char *words[WORDS_MAX];   /* [nwords] the driver's options: learn_pass */
	int nwords;
	char **memory;                  /* [nmemory] of option names among them */
	size_t nmemory, memory_cap;
	const char *state;              /* --state of the stages, or NULL */
	int samples;                    /* 1: the line samples as well */
};

/* Append an option that the driver gets, too: its letter, or its value in `longs`.  arg NULL: none.
 * Returns 0, or -1 and a message. */
int learn_pass(struct learn_launch *l, const struct option *longs, int c, const char *arg);

/*
 * Run the pipeline to its end.  Metrics of the driver go to standard output, messages and progress
 * to standard error.  Returns 0, or -1 and a message with the status of the program that failed.
 * If *sig is not 0, a signal ended the run and the caller must end by it, without a message.  No
 * child is left in any case.  Call it from a single-threaded process.
 */
int learn_launch_run(const struct learn_launch *l, int *sig);

/* Append a script that does the same from the current folder.  state: the folder of o->state, in
 * which the script finds the newest, or NULL.  Returns 0, or -1 and a message. */
int learn_script(struct buf *to, const struct learn_launch *l, const char *state);

void learn_launch_free(struct learn_launch *l);

#endif
