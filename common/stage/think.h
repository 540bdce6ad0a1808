/*
 * What ds-sample keeps of the new tokens of a sequence, for the thinking budget and stop strings.
 *
 * Thinking is open until `</think>` is a new token.  A prompt that opens or closes it changes
 * nothing.  A sequence that goes on from `new` tokens of its prompt counts them as its first.
 */
#ifndef DS_THINK_H
#define DS_THINK_H

#include "stage/sampling.h"
#include "token/token.h"

/* The vocabulary, read when a sequence first needs it.  */
struct think_vocab {
	const char *model;
	int size;                       /* ids are below */
	struct tokenizer *t;            /* NULL: not read */
	int32_t close;                  /* the id of `</think>`; -1: none */
	char *why;                      /* why it cannot be read, or NULL */
};

void think_vocab_close(struct think_vocab *v);

/* Read the vocabulary if options need it.  0, or -1 and a message: FAIL_USAGE if it has no
 * `</think>` and they are a thinking budget.  */
int think_check(struct think_vocab *v, const struct sampling *options);

/* The same for parameters that have changed after the first token.  0, or -1 and a message.  */
int think_changed(struct think_vocab *v, const struct sampling *p);

/* Begins as zeros.  */
struct think {
	uint32_t n;                     /* new tokens, with those of the prompt */
	int closed;                     /* `</think>` is one of them */
	struct stop_text text;          /* of them, without special tokens */
	int32_t *prompt;                /* [nprompt] tokens by position, -1: unknown */
	size_t nprompt, cap;
};

void think_free(struct think *a);

/* 1 if the prompt has new tokens that must be kept.  */
int think_replays(const struct sampling *p);

/* Keep n tokens of the prompt, the first at pos.  0, or -1 and a message.  */
int think_keep(struct think *a, uint32_t pos, const int32_t *ids, uint32_t n);

/* Before the first token, whose position is pos.  1 if the new tokens of the prompt contain a stop
 * string already, 0, or -1 and a message.  */
int think_begin(struct think *a, struct think_vocab *v, const struct sampling *p, uint32_t pos);

/* `</think>` if think_max forces it now, or -1.  */
int32_t think_force(const struct think *a, const struct think_vocab *v,
    const struct sampling *p);

/* Set the logits that think_min holds back to -infinity, and back.  */
struct think_held {
	int n;
	int32_t id[STOPS_MAX + 1];
	float logit[STOPS_MAX + 1];
};
void think_hold(const struct think *a, const struct think_vocab *v, const struct sampling *p,
    float *logits, struct think_held *held);
void think_release(float *logits, const struct think_held *held);

/* Add a new token.  1 if the text now contains a stop string, 0, or -1 and a message.  */
int think_add(struct think *a, const struct think_vocab *v, const struct sampling *p,
    int32_t id);

#endif
