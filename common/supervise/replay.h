/*
 * What a driver keeps of the sequences that are not finished, so that they can be begun again in a line
 * that has forgotten them: all of their tokens so far, as prompts.
 */
#ifndef DS_REPLAY_H
#define DS_REPLAY_H

#include "base/table.h"
#include "frame/frame.h"
#include "launch/plan.h"

struct replay_seq;

struct replay {
	const struct plan_options *o;   /* greedy and sampling: what is said of each sequence */
	struct table seqs;              /* number -> struct replay_seq: those that are not finished */
	struct replay_seq *first, *last;        /* in the order in which they came */
	struct replay_seq *next;        /* the first that has not been sent, or NULL */
	char model[17];                 /* of the prompts */
	size_t ids;                     /* tokens that are kept */
	uint64_t tokens;                /* that came */
};

void replay_close(struct replay *r);

/* 1 while there is room for another prompt. */
int replay_has_room(const struct replay *r);

/* Take a prompt as ds-tokenize sends it: 0, or -1 and a message. */
int replay_add(struct replay *r, struct frame *f);

/* The next sequence that has to be sent, as a prompt: 1 and *f, which was empty; 0: there is none; -1 and a message. */
int replay_next(struct replay *r, struct frame *f);

/* Take new tokens, the `free` after a sequence or its error, as ds-sample sends them: 0, or -1 and a message where they
 * do not follow what came. */
int replay_receive(struct replay *r, struct frame *f);

/* All has to be sent again. */
void replay_rewind(struct replay *r);

size_t replay_left(const struct replay *r);     /* how many are not finished */

#endif
