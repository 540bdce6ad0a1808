/*
 * A program that reads frames from links and writes frames to links: they are opened in order, run
 * and closed.
 */
#ifndef DS_FILTER_H
#define DS_FILTER_H

#include "learn/param.h"
#include "options.h"
#include "stage/keep.h"
#include "stage/stage.h"

struct filter {
	struct options o;
	struct link in[LINKS_MAX], out[LINKS_MAX];
	struct model model;             /* of a stage: stage_main.h */
	struct learn learn;             /* with --learn: */
	struct keep keep;
	struct stage stage;
};

/* Open -i and -o, standard input and output by default; exits on failure.  */
void filter_links(struct filter *f);

/* Write a newline to the descriptor of -r and close it; exits on failure.  */
void filter_ready(struct filter *f);

/* stage_run over its links, flush, close, check: the exit status of main.  */
int filter_run(struct filter *f, stage_fn *fn, void *arg);

/* For programs that read their inputs themselves.  filter_fail sends an error frame with the
 * message that fail() keeps, and exits with its status.  filter_close closes and checks the links;
 * it returns the status, or a worse one: FAIL_DATA if a sequence was reported to have failed.  */
_Noreturn void filter_fail(struct filter *f);
int filter_close(struct filter *f, int status);

#endif
