/*
 * Rewards: answer lines in, the same lines with a key `reward` out, in the same order.
 */
#ifndef DS_GRADE_H
#define DS_GRADE_H

#include "inspect/answer.h"
#include "inspect/extract.h"
#include "inspect/grade/with.h"
#include "inspect/grade/worker.h"

#define GRADE_WORKERS_MAX 1024

enum rule { RULE_EXPECT, RULE_FORMAT, RULE_LENGTH, RULE_COMMAND, RULES };

struct grade_line;

struct grade {
	/* set by the caller */
	struct extract extract;         /* how an answer and the expected one are compared */
	enum rule rules[RULES];         /* [nrules] */
	double weights[RULES];          /* of the rules */
	int nrules;
	const char *expect;             /* RULE_EXPECT: the key */
	const char *with;               /* a file of lines with the same ids, or NULL */
	long length;                    /* RULE_LENGTH: tokens */
	struct workers workers;         /* RULE_COMMAND */
	int nworkers;

	/* results */
	struct refused refused;
	uint64_t lines, failed;         /* lines written, and those without a reward */
	double sum;                     /* of rewards */

	struct with joined;
	struct worker *worker;          /* [nworkers] */
	struct grade_line *first, *last;        /* lines that are not written yet, in order */
	struct grade_line *next;        /* the first one that no worker has */
	uint64_t waiting;               /* their number and bytes */
	size_t bytes;
	struct buf out;
};

/* The name of a rule, the key in `rewards`. */
const char *rule_name(enum rule r);

/*
 * Read the files, and write the lines to descriptor 1. A line that cannot be graded has the reward
 * null and the key reward_error. One that is no object, or has a reward, is reported and left out.
 * Workers that wrote too much are reported. Returns 0, or -1 and a message; grade_free() in either
 * case.
 */
int grade_run(struct grade *g, const char *const *paths, int n);
void grade_free(struct grade *g);

#endif
