/*
 * Counting the tokens of a pipeline from a copy of what ds-sample sends.
 */
#ifndef DS_TALLY_H
#define DS_TALLY_H

#include "link/link.h"
#include "launch/dialog.h"

struct tally {
	struct link in;
	int open;
	struct dialog *dialog;          /* hears each frame, if it is not NULL */
	uint64_t generated;             /* new tokens */
	uint64_t whole;                 /* tokens of sequences that have ended, prompts included */
	double asked, last;             /* when the prompts went in; when the latest tokens came, 0: not yet */
	double first;                   /* from asked to the first token ever, seconds; negative: none yet */
	double busy;                    /* seconds between tokens, waiting for questions left out */
	uint64_t timed;                 /* tokens that came in that time */
};

/* Count what comes through this descriptor, which is used up.  0, or -1 and a message. */
int tally_open(struct tally *t, int fd, double asked);

/* Another question was asked: what has passed since the last answer does not count. */
void tally_question(struct tally *t);

/* A frame of ds-sample. */
void tally_count(struct tally *t, const struct frame *f);

/* The descriptor is readable: take a frame, if it is whole.  0, or -1 and a message. */
int tally_read(struct tally *t);
void tally_close(struct tally *t);

/* "14 prompt tokens, 120 generated, 1200.1 tokens/s, the first after 80 ms" into to, which is returned. */
char *tally_text(const struct tally *t, char *to, size_t size);

#endif
