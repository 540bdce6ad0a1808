/*
 * Text input and output of a pipeline, in ds-run: prompts to ds-tokenize, and questions and answers
 * at a terminal. Nothing here blocks.
 */
#ifndef DS_TEXTIO_H
#define DS_TEXTIO_H

#include <poll.h>

#include "base/mem.h"
#include "launch/dialog.h"

#define TEXTIO_POLL 4                   /* descriptors to poll */

struct textio {
	int in;                         /* to ds-tokenize, NUL after each text; -1: closed */
	int text;                       /* from ds-detokenize, NUL after each answer; -1: closed */
	enum { TEXTIO_NOTHING, TEXTIO_PROMPT, TEXTIO_LINE, TEXTIO_ANSWER, TEXTIO_DIALOG } state;
	struct dialog *dialog;          /* history sent with each question; NULL: none */
	/* bytes for `in`, for standard output, and from the terminal */
	struct buf feed, out, typed;
	int asked;                      /* set when a question was sent; the caller clears it */
	int gone;                       /* the reader of standard output has exited */
};

/* Start. in and text are descriptors to be owned, or -1. With `questions`, lines of standard
 * input are questions; otherwise n texts are sent. Returns 0, or -1 and a message. */
int textio_open(struct textio *t, int in, int text, int questions, struct dialog *c, char **texts, int n);
void textio_close(struct textio *t);

void textio_poll(struct textio *t, struct pollfd p[TEXTIO_POLL]); /* fill in what to poll */
/* act on it: 0, or -1 and a message */
int textio_step(struct textio *t, const struct pollfd p[TEXTIO_POLL]);
int textio_done(const struct textio *t);  /* 1: all text was received and written */

#endif
