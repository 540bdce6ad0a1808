/*
 * Votes in a running pipeline: the paths of a decided question are stopped.
 *
 * ds-vote --early stands after ds-sample, in the loop. It knows the questions from the prompts of
 * ds-tokenize --jsonl, and makes the answer lines of finished paths as ds-detokenize does. Once the
 * leading answer cannot be caught up, the next token of each remaining path becomes its last one.
 */
#ifndef DS_EARLY_H
#define DS_EARLY_H

#include "base/table.h"
#include "inspect/extract.h"
#include "link/link.h"
#include "stage/replies.h"

struct early_question;

struct early {
	const struct extract *extract;  /* how answers are compared */
	struct link *prompts;           /* the second output of ds-tokenize --jsonl */
	struct replies replies;
	struct table questions;         /* id -> struct early_question */
	struct table paths;             /* sequence -> struct early_path */
	struct buf lines;               /* answer lines of finished paths */
	char precision[24];             /* of finished paths; "": unknown */
	uint64_t decided, stopped;      /* questions and paths, at the end */
};

/* Initialise; the arguments must outlive e. */
void early_open(struct early *e, const struct tokenizer *t, const struct extract *extract,
    struct link *prompts);

/* The function for stage_run(): arg is a struct early. */
int early_frame(void *arg, struct frame *f, struct link *out, int nout);

void early_close(struct early *e);

#endif
