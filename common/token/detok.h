/*
 * From ids that arrive a few at a time, of many sequences, to text.
 *
 * The sequences are printed whole, in the order in which they first appeared: the foremost
 * as it comes, what the others say is kept until it is their turn.  A character of UTF-8 is never
 * cut in two: bytes that may begin one wait for the rest.
 */
#ifndef DS_DETOK_H
#define DS_DETOK_H

#include "base/table.h"
#include "frame/frame.h"
#include "token/token.h"

struct detok_seq;

struct detok {
	const struct tokenizer *t;
	int special;                    /* 1: special tokens are text as well */
	int quiet;                      /* 1: only the answer, without the thought */
	int dim;                        /* 1: the thought dimmed, by a terminal's escape sequences */
	int thinks;                     /* 1: text begins inside of a thought */
	char separator;                 /* behind each sequence: '\n' or 0 */
	int64_t think, unthink;         /* ids of <think> and </think>, -1 where there is none */
	struct table live;              /* sequence id -> struct detok_seq */
	struct table ended;             /* ids of sequences whose last token came, and whose `free` may still come */
	struct detok_seq *first, *last; /* in order of appearance; all before the first are printed */
};

/* The options above are set by the caller before the first frame. */
void detok_open(struct detok *d, const struct tokenizer *t);

/* Append to `out` what can be printed now that this frame has come.  A sequence that failed ends where it is:
 * rows at `embed` with their ids, or a control frame.
 * 0, or -1 and a message: rows that wait for another stage, ids that the vocabulary does not have. */
int detok_frame(struct detok *d, struct frame *f, struct buf *out);

/* The stream is over, in whatever way: append what is left. */
int detok_end(struct detok *d, struct buf *out);

void detok_close(struct detok *d);

#endif
