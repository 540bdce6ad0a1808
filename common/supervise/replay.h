/*
 * Replay buffer of the driver: all tokens of unfinished sequences, from which a restarted pipeline,
 * which has lost its caches, continues them as prompts.
 */
#ifndef DS_REPLAY_H
#define DS_REPLAY_H

#include "base/table.h"
#include "frame/frame.h"
#include "launch/plan.h"

struct replay_seq;

struct replay {
	/* greedy and sampling: parameters of each sequence; jsonl: its `free` is part of it */
	const struct plan_options *o;
	struct table seqs;              /* sequence id -> struct replay_seq */
	struct replay_seq *first, *last;        /* in order of arrival */
	struct replay_seq *next;        /* the first to be sent, or NULL */
	char model[17];                 /* of the prompts */
	size_t ids;                     /* number of tokens kept */
	uint64_t tokens;                /* number of tokens received */
};

void replay_close(struct replay *r);

/* 1 if another prompt may be added. */
int replay_has_room(const struct replay *r);

/* Add a prompt from ds-tokenize. Returns 0, or -1 and a message. */
int replay_add(struct replay *r, struct frame *f);

/* Build the next prompt to send in *f, which was initialised. Returns 1, 0 if there is none, or
 * -1 and a message. */
int replay_next(struct replay *r, struct frame *f);

/* Add a frame from ds-sample: new tokens, or the `free` or error of a sequence. Returns 0, or -1
 * and a message if tokens do not continue their sequence. */
int replay_receive(struct replay *r, struct frame *f);

/* Send all sequences again. */
void replay_rewind(struct replay *r);

size_t replay_left(const struct replay *r);     /* number of unfinished sequences */

#endif
