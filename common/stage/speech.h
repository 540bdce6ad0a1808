/*
 * From the token ids of one sequence to well-formed text, split into the reasoning of a model and
 * its answer.
 *
 * Characters of UTF-8 are never split: incomplete bytes wait.  Each maximal ill-formed part becomes
 * U+FFFD, also what is incomplete at a marker or at the end.
 */
#ifndef DS_SPEECH_H
#define DS_SPEECH_H

#include "token/token.h"

struct speech_rules {
	const struct tokenizer *t;
	int special;                    /* 1: special tokens are text as well */
	int64_t think, unthink;         /* ids of <think> and </think>, -1: none */
};

struct speech {
	struct buf part;                /* bytes after the last complete character */
	int reasoning;                  /* 1: inside <think>; set at first by the caller */
};

/* What a text is: a marker within the reasoning is <think> or </think>.  */
enum speech_kind { SPEECH_ANSWER, SPEECH_REASONING, SPEECH_MARKER };

/* Receives n >= 1 bytes of text.  0, or -1 and a message.  */
typedef int speech_fn(void *arg, enum speech_kind kind, const unsigned char *p, size_t n);

struct speech_rules speech_rules(const struct tokenizer *t);

/* Add a token, and pass on the text that it completes at markers.  Returns 0, or -1 and a message:
 * an id outside the vocabulary.  */
int speech_add(const struct speech_rules *r, struct speech *s, int64_t id, speech_fn *fn,
    void *arg);

/* Pass on the complete characters; with all, the rest as well.  0, or -1 and a message.  */
int speech_settle(struct speech *s, int all, speech_fn *fn, void *arg);

#endif
