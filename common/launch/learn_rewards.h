/*
 * The answers of a step of ds-learn --grpo, and the rewards that the command of --grade gives them.
 */
#ifndef DS_LEARN_REWARDS_H
#define DS_LEARN_REWARDS_H

#include "base/json.h"
#include "base/table.h"
#include "launch/grader.h"

struct learn_answer {
	char *key;                      /* "ID, index N": of its line, and in messages */
	char *line;                     /* [n] JSON; NULL: not sampled yet */
	size_t n;
	double reward;                  /* NAN: none yet */
};

struct learn_rewards {
	const char *command;
	struct learn_answer **p;        /* [n] in the order of the prompts */
	size_t n, cap;
	size_t sampled;                 /* with lines */
	struct table keys;              /* -> struct learn_answer */
	struct grader grader;
};

/* All return 0, or -1 and a message. */

/* Start a step without answers; those of the last one are forgotten. */
int learn_rewards_start(struct learn_rewards *a);

/* Expect the answer of a request with that id, a JSON text, and index. */
int learn_rewards_expect(struct learn_rewards *a, const char *id, int index);

/* Add answer lines, and send them to the command.  In their texts, U+FFFD replaces NULs. */
int learn_rewards_add(struct learn_rewards *a, char *lines, size_t n);

/* All answers were sampled: read their rewards.  Each must have one.  1: a signal came
 * (grader_finish). */
int learn_rewards_finish(struct learn_rewards *a, int signals);

/* End the command, and forget the answers. */
void learn_rewards_drop(struct learn_rewards *a);

#endif
