/*
 * History of a dialog at a terminal: questions and answers as JSON for ds-tokenize --messages.
 */
#ifndef DS_DIALOG_H
#define DS_DIALOG_H

#include "frame/frame.h"
#include "token/token.h"

struct dialog {
	struct tokenizer *t;            /* NULL: no history, each question stands alone */
	struct buf messages;  /* messages, each followed by a comma; the last may lack its answer */
	size_t answered;                /* bytes of messages up to the last answer */
	struct buf answer;              /* the answer being received */
	int ended;                      /* 1: it is complete or was abandoned */
};

/* Load the tokenizer of the model. Returns 0, or -1 and a message. */
int dialog_open(struct dialog *c, const char *model);
void dialog_close(struct dialog *c);

/* Add a question of n bytes and append the dialog that ends in it to `to`. Returns 0, or -1 and
 * a message. */
int dialog_add_question(struct dialog *c, struct buf *to, const char *text, size_t n);

/* Add a frame from ds-sample: tokens of the answer, special ones excluded. An error frame
 * removes the question. Returns 0, or -1 and a message. */
int dialog_add_frame(struct dialog *c, struct frame *f);

/* Start a new dialog. */
void dialog_reset(struct dialog *c);

#endif
