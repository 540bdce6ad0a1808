/*
 * The likelihood of text that has gone through the model: the logits of the row at position p
 * say how likely the id at p + 1 was.  That id may come in a later frame.
 */
#ifndef DS_SCORE_H
#define DS_SCORE_H

#include "base/table.h"
#include "frame/frame.h"
#include "token/token.h"
#include "inspect/record.h"

#define SCORE_TOP_MAX 100

struct score_seq;

struct score_sum {
	uint64_t sequences, tokens, scored;     /* scored: with the logits of the row before */
	double loglik;                  /* natural logarithm */
};

struct score {
	struct record *r;               /* where records go */
	const struct tokenizer *t;      /* for the text of tokens, or NULL */
	int tokens;                     /* 1: a record for each token, too */
	int top;                        /* of the likeliest tokens in it */
	struct table live;              /* sequence id -> struct score_seq */
	struct score_seq *first, *last; /* in order of appearance */
	struct score_sum total;         /* of those that are printed */
	uint64_t failed;                /* sequences that have failed */
};

/*
 * Take the rows of a batch that waits for sample, or a control frame; a sequence that is freed gets its record, one that
 * failed gets none.  Of each
 * live sequence the last row of logits is kept, [V] floats, and 16 bytes a token.
 * 0, or -1 and a message: rows that wait for another stage, logits that are no logits, an id that they do not have.
 */
int score_frame(struct score *s, struct frame *f);

/* The records of the sequences that are left, and of the total. */
void score_end(struct score *s);

void score_free(struct score *s);

#endif
