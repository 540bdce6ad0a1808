/*
 * Majority votes: answer lines in, one line for each question out.
 */
#ifndef DS_VOTE_H
#define DS_VOTE_H

#include "base/table.h"
#include "inspect/answer.h"
#include "inspect/extract.h"
#include "inspect/vote/ballot.h"

struct vote {
	struct extract extract;         /* how answers are compared; set by the caller */
	uint64_t of;                    /* number of answers to each question; 0: not known */
	struct table ballots;           /* id -> struct ballot */
	struct ballot *first, *last;    /* in order of appearance */
	struct refused refused;
	uint64_t lines, questions;
	struct buf out;
};

/*
 * Read the files, and write the results to descriptor 1. A question's result is written once all
 * v->of answers to it have come, otherwise at the end. Invalid lines are reported and left out.
 * Returns 0, or -1 and a message; vote_free() in either case.
 */
int vote_run(struct vote *v, const char *const *paths, int n);
void vote_free(struct vote *v);

#endif
