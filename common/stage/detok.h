/*
 * Streaming detokenizer: ids of many sequences, a few at a time, to text.
 *
 * Sequences are printed whole, in order of first appearance: the first one immediately, the others
 * are held back until it is complete. UTF-8 characters are never split; an incomplete one waits for
 * its remaining bytes.
 */
#ifndef DS_DETOK_H
#define DS_DETOK_H

#include "base/table.h"
#include "frame/frame.h"
#include "stage/speech.h"

struct detok_seq;

struct detok {
	struct speech_rules rules;
	int quiet;                      /* 1: print the answer only, without the reasoning */
	int dim;                        /* 1: dim the reasoning with terminal escape sequences */
	int thinks;                     /* 1: text begins inside the reasoning */
	char separator;                 /* printed after each sequence: '\n' or 0 */
	struct table live;              /* sequence id -> struct detok_seq */
	struct table ended;             /* ids of finished sequences whose `free` may still come */
	/* in order of appearance; sequences before `first` are printed */
	struct detok_seq *first, *last;
};

/* Initialise. The caller sets the options above before the first frame. t must outlive d. */
void detok_open(struct detok *d, const struct tokenizer *t);

/* Add a frame at `embed` with ids, or a control frame, and append to `out` the text that can be
 * printed now. A failed sequence ends where it is. Returns 0, or -1 and a message: rows that
 * wait for another stage, ids outside the vocabulary. */
int detok_frame(struct detok *d, struct frame *f, struct buf *out);

/* End of the stream, regular or not: append what is left. Returns 0, or -1 and a message. */
int detok_end(struct detok *d, struct buf *out);

void detok_close(struct detok *d);

#endif
