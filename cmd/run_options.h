/*
 * The options of ds-run.
 */
#ifndef DS_RUN_OPTIONS_H
#define DS_RUN_OPTIONS_H

#include "launch/run.h"
#include "options.h"

struct given {
	struct run_options run;
	int script, agent;
	const char *probe;              /* seconds, NULL: not given */
	const char *plan, *rsh, *manifest;      /* NULL: not given */
	long samples;                   /* answers to each prompt */
	const char *prompts;            /* a file of them, or NULL */
	const char *cut;                /* an option that excludes --plan, or NULL */
	const char *worker;             /* likewise; programs in the lines of a plan have it */
};

#define RUN_LETTERS "0:cwx:gT:k:p:S:n:qst:"
extern const struct option run_longs[];

/* For struct options: keep one of them in a struct given. */
int run_own(int c, const char *arg, void *to);

/* Exits with 2 if options do not go together. */
void run_check(const struct given *o);

#endif
