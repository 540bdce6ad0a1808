/*
 * A conversation at a terminal: what was asked and what was answered, as JSON for ds-tokenize
 * --messages.
 */
#ifndef DS_DIALOG_H
#define DS_DIALOG_H

#include "frame/frame.h"
#include "token/token.h"

struct dialog {
	struct tokenizer *t;            /* NULL: each question is one of its own */
	struct buf messages;            /* messages, a comma after each; the last may lack its answer */
	size_t answered;                /* bytes of it that end in an answer */
	struct buf answer;              /* bytes of the one that is coming */
	int ended;                      /* 1: it has come whole, or was given up */
};

/* With the tokenizer of the model: 0, or -1 and a message. */
int dialog_open(struct dialog *c, const char *model);
void dialog_close(struct dialog *c);

/* A question of n bytes: append to `to` the conversation that ends in it. 0, or -1 and a
 * message. */
int dialog_add_question(struct dialog *c, struct buf *to, const char *text, size_t n);

/* A frame of ds-sample: tokens of the answer, without those that are special, or an error, which
 * takes the question back. */
int dialog_add_frame(struct dialog *c, struct frame *f);

/* Begin another one. */
void dialog_reset(struct dialog *c);

#endif
