/*
 * Log-likelihood of text that went through the model: the logits at position p predict the id at p
 * + 1, which may arrive in a later frame.
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
	uint64_t sequences, tokens, scored;     /* scored: with logits at the position before */
	double loglik;                  /* natural logarithm */
};

struct score {
	const struct kernels *k;        /* any: they have the same bits */
	struct record *r;               /* output */
	const struct tokenizer *t;      /* prints the text of tokens; may be NULL */
	int tokens;                     /* 1: a record per token as well */
	int top;                        /* number of likeliest tokens in it */
	struct table live;              /* sequence id -> struct score_seq */
	struct score_seq *first, *last; /* in order of appearance */
	struct score_sum total;         /* sums over printed sequences */
	uint64_t failed;                /* sequences that have failed */
};

/*
 * Add a batch that waits for sample, or a control frame. A freed sequence prints its record, a
 * failed one prints none. Memory: the last row of logits ([V] floats) of each live sequence, and 16
 * bytes per token. Returns 0, or -1 and a message: rows that wait for another stage, invalid
 * logits, an id without logit.
 */
int score_frame(struct score *s, struct frame *f);

/* Print the records of the remaining sequences and the total. */
void score_end(struct score *s);

void score_free(struct score *s);

#endif
