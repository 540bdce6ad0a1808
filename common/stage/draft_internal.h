/*
 * Shared by the files of ds-draft: draft.c (frames), draft_seq.c (sequences), draft_prompt.c.
 */
#ifndef DS_DRAFT_INTERNAL_H
#define DS_DRAFT_INTERNAL_H

#include "stage/draft.h"

struct draft_seq {
	uint64_t seq;
	uint32_t next;                  /* positions that the caches hold: 0 .. next - 1 */
	uint32_t proposed;              /* guesses that are being verified */

	/* By the layer: its cache holds positions base .. base + n - 1, and maybe guesses.  */
	uint32_t base, n;
	float *hidden;                  /* [D] of position next - 1 */
	int waits;                      /* 1: that row waits for the next token */

	/* By the prompt: */
	int32_t *ids;                   /* [nids] tokens of positions from base on */
	size_t nids, cap;
};

/* Rows for the layer, of all sequences of a frame.  */
struct draft_rows {
	struct span *spans;
	int32_t *next, *wanted;
	float *hidden;
	int nspans, T, n;
};

/* Rows that the caches hold, and the token after the last one (-1: not known).  */
struct draft_held {
	struct span span;
	const int32_t *ids;             /* [span.n] */
	const float *hidden;            /* [span.n][D], or NULL: not known */
	int32_t token;
};

/* --- sequences (draft_seq.c) --- */

struct draft_seq *draft_find(const struct draft *d, uint64_t seq);       /* or NULL */
/* Made if new; NULL and a message.  */
struct draft_seq *draft_get(struct draft *d, uint64_t seq);
void draft_forget(struct draft *d, uint64_t seq);

/* `to` starts with the first n positions of `from`, as far as that is known here.  0, or -1 and a
 * message.  */
int draft_fork(struct draft *d, uint64_t from, uint64_t to, uint32_t n);

/* The caches hold these rows, and nothing after them.  Appends rows for the layer, the last of them
 * that of the last position, if the token after it is known: then 1; else 0; -1 and a message.  */
int draft_hold(struct draft *d, struct draft_seq *s, const struct draft_held *h,
    struct draft_rows *r);

/* --- by the prompt (draft_prompt.c) --- */

/* What followed the longest suffix of ids [n] that was there before, the last time: at most `most`
 * tokens.  How many.  */
int draft_prompt(const int32_t *ids, size_t n, int32_t *guess, int most);

#endif
