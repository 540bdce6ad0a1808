/*
 * What goes into a pipeline and comes out of it, where ds-run stands between:
 * prompts to ds-tokenize, and questions and answers at a terminal.  Nothing here waits.
 */
#ifndef DS_TEXTIO_H
#define DS_TEXTIO_H

#include <poll.h>

#include "base/mem.h"
#include "launch/dialog.h"

#define TEXTIO_POLL 4                   /* descriptors that it waits for */

struct textio {
	int in;                         /* to ds-tokenize, NUL behind each text; -1: none (any more) */
	int text;                       /* from ds-detokenize, NUL behind each answer; -1: none (any more) */
	enum { TEXTIO_NOTHING, TEXTIO_PROMPT, TEXTIO_LINE, TEXTIO_ANSWER, TEXTIO_DIALOG } state;
	struct dialog *dialog;          /* what was said before goes with each question; NULL: nothing does */
	struct buf feed, out, typed;    /* bytes for in, for standard output, and from the terminal */
	int asked;                      /* a question was sent since the caller set it to 0 */
	int gone;                       /* nobody reads standard output */
};

/* in and text are descriptors that it owns from now on, or -1; ask: lines of standard input are questions,
 * otherwise the texts are sent.  0, or -1 and a message. */
int textio_open(struct textio *t, int in, int text, int questions, struct dialog *c, char **texts, int n);
void textio_close(struct textio *t);

void textio_poll(struct textio *t, struct pollfd p[TEXTIO_POLL]); /* fill in what to poll for */
int textio_step(struct textio *t, const struct pollfd p[TEXTIO_POLL]);    /* do what can be done; 0, or -1 and a message */
int textio_done(const struct textio *t);  /* 1: all text has come and is written */

#endif
