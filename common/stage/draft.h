/*
 * Drafts: guesses of the tokens that a sequence's next ones will be, which ds-sample verifies, so
 * that they change no result.
 *
 * Frames at `draft` come from ds-sample, with all rows that caches hold and the newest tokens; they
 * leave for ds-embed with the newest tokens and guesses.  By the checkpoint's layer for multi-token
 * prediction (draft_mtp.h), or by what followed the last tokens earlier in the sequence
 * (draft_prompt.c).
 *
 * The layer's cache may lack the beginning of a sequence, if the positions came without hidden
 * states.  It then starts where it can: guesses get worse, and nothing fails.
 */
#ifndef DS_DRAFT_H
#define DS_DRAFT_H

#include "stage/draft_mtp.h"

#define GUESSES_MAX 16

enum draft_by { DRAFT_MTP, DRAFT_PROMPT };

/* The kind of that name, "mtp" or "prompt": 0, or -1 without a message. */
int draft_by_name(const char *name, enum draft_by *by);

struct draft_options {
	enum draft_by by;
	int guesses;                    /* most for a sequence; 1 to GUESSES_MAX */
};

struct draft {
	const struct stage *s;
	struct draft_options o;
	struct table seqs;              /* sequence id -> struct draft_seq */
	struct mtp mtp;
	int broken;                     /* the layer has failed: there are no more guesses */
	int reached, passed;            /* 1: a frame with rows was for ds-draft; for ds-embed */
	int hidden;                     /* 1: a frame had hidden states */
	uint64_t proposed[GUESSES_MAX], accepted[GUESSES_MAX];
};

/* 0, or -1 and a message: the model has no such layer.  */
int draft_open(struct draft *d, const struct stage *s, const struct draft_options *o);
void draft_close(struct draft *d);

/* A stage_fn, arg the struct draft.  */
int draft_frame(void *arg, struct frame *f, struct link *out, int nout);

/* -v: how many guesses there were, and how many were right.  */
void draft_report(const struct draft *d);

#endif
