/*
 * What goes into a pipeline and comes out of it, where ds-run stands between:
 * prompts to ds-tokenize, and questions and answers at a terminal.  Nothing here waits.
 */
#ifndef DS_TALK_H
#define DS_TALK_H

#include <poll.h>

#include "base/mem.h"
#include "launch/converse.h"

#define TALK_POLL 4                     /* descriptors that it waits for */

struct talk {
	int in;                         /* to ds-tokenize, NUL behind each text; -1: none (any more) */
	int text;                       /* from ds-detokenize, NUL behind each answer; -1: none (any more) */
	enum { TALK_NOTHING, TALK_PROMPT, TALK_LINE, TALK_ANSWER, TALK_HEARS } state;
	struct converse *converse;      /* what was said before goes with each question; NULL: nothing does */
	struct buf feed, out, typed;    /* bytes for in, for standard output, and from the terminal */
	int asked;                      /* a question was sent since the caller set it to 0 */
	int gone;                       /* nobody reads standard output */
};

/* in and text are descriptors that it owns from now on, or -1; ask: lines of standard input are questions,
 * otherwise the texts are sent.  0, or -1 and a message. */
int talk_open(struct talk *t, int in, int text, int ask, struct converse *c, char **texts, int n);
void talk_close(struct talk *t);

void talk_wait(struct talk *t, struct pollfd p[TALK_POLL]);     /* fill in what to poll for */
int talk_step(struct talk *t, const struct pollfd p[TALK_POLL]);        /* do what can be done; 0, or -1 and a message */
int talk_done(const struct talk *t);    /* 1: all text has come and is written */

#endif
