/*
 * The votes for the answers to one question.
 */
#ifndef DS_BALLOT_H
#define DS_BALLOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/table.h"

/* One path to an answer. */
struct path {
	uint64_t index;         /* unique within the question */
	const char *answer;     /* in the memory of the ballot; NULL: it abstains */
	double logprob;         /* of all its tokens; -INFINITY: unknown */
};

struct tally;

struct ballot {
	char *id;               /* JSON */
	size_t id_len;
	struct ballot *next, *before;   /* for the caller */
	struct path **paths;    /* [n], sorted by ballot_count() */
	size_t n, cap;
	struct table taken;     /* index -> struct path */
	struct table tallies;   /* answer -> struct tally */
	struct tally *leading;  /* an answer with the most votes, or NULL */
	size_t most, second;    /* votes for it, and for the next answer */
};

/* A ballot without paths; id has n bytes. NULL and a message on failure. */
struct ballot *ballot_new(const void *id, size_t n);

/* Add a path; answer has n bytes, or is NULL. Returns 0, or -1 and a message: an index that is
 * there already is FAIL_DATA. */
int ballot_add(struct ballot *b, uint64_t index, const char *answer, size_t n, double logprob);

/* The answer with the most votes: paths[first] to paths[first + count - 1], ascending by index.
 * Ties go to the larger sum of logprob over these paths, then to the lower first index. */
struct majority {
	size_t first, count;    /* count 0: all abstain */
	size_t abstained;
};

void ballot_count(struct ballot *b, struct majority *m);

/* 1 if `remaining` further votes cannot change the winner. */
int ballot_decided(const struct ballot *b, size_t remaining);

void ballot_free(struct ballot *b);     /* accepts NULL; frees *b */

#endif
