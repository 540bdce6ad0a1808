/*
 * A conversation at a terminal: what was asked and what was answered, as JSON for ds-tokenize
 * --messages.
 */
#ifndef DS_CONVERSE_H
#define DS_CONVERSE_H

#include "frame/frame.h"
#include "token/token.h"

struct converse {
	struct tokenizer *t;            /* NULL: each question is one of its own */
	struct buf said;                /* messages, a comma after each; the last may lack its answer */
	size_t answered;                /* bytes of it that end in an answer */
	struct buf answer;              /* bytes of the one that is coming */
	int ended;                      /* 1: it has come whole, or was given up */
};

/* With the tokenizer of the model: 0, or -1 and a message. */
int converse_open(struct converse *c, const char *model);
void converse_close(struct converse *c);

/* A question of n bytes: append to `to` the conversation that ends in it. 0, or -1 and a
 * message. */
int converse_ask(struct converse *c, struct buf *to, const char *text, size_t n);

/* A frame of ds-sample: tokens of the answer, without those that are special, or an error, which
 * takes the question back. */
int converse_hear(struct converse *c, struct frame *f);

/* Begin another one. */
void converse_forget(struct converse *c);

#endif
