/*
 * Token counts and rates of a pipeline, from a copy of ds-sample's output.
 */
#ifndef DS_TALLY_H
#define DS_TALLY_H

#include "link/link.h"
#include "launch/dialog.h"

struct tally {
	struct link in;
	int open;
	struct dialog *dialog;          /* receives each frame, unless NULL */
	uint64_t generated;             /* new tokens */
	uint64_t guesses, right;        /* of ds-draft; how many were right */
	uint64_t answers;               /* finished and failed sequences */
	uint64_t whole;                 /* tokens of finished sequences, prompts included */
	/* when the prompts were sent; when the last tokens arrived, 0: none yet */
	double asked, last;
	double first;           /* seconds from asked to the very first token; negative: none yet */
	double busy;                    /* seconds between tokens, without waits for questions */
	uint64_t timed;                 /* tokens in that time */
};

/* Count the stream of this descriptor, which is closed. Returns 0, or -1 and a message. */
int tally_open(struct tally *t, int fd, double asked);

/* Another question was asked: time since the last answer does not count. */
void tally_question(struct tally *t);

/* Count a frame from ds-sample. */
void tally_count(struct tally *t, const struct frame *f);

/* Read a frame without blocking and count it. Returns 0, or -1 and a message. */
int tally_read(struct tally *t);
void tally_close(struct tally *t);

/* Write "14 prompt tokens, 120 generated, 1200.1 tokens/s, the first after 80 ms" to to[size],
 * 256 at least. Returns to. */
char *tally_text(const struct tally *t, char *to, size_t size);

#endif
