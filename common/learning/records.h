/*
 * Records: sequences of tokens, and how much each of them counts in the loss.
 */
#ifndef DS_LEARNING_RECORDS_H
#define DS_LEARNING_RECORDS_H

#include <stddef.h>
#include <stdint.h>

struct learn_record {
	int32_t *ids;                   /* [n] */
	uint32_t n;
	uint64_t line;                  /* of the file of records; 0: none */
	uint32_t prompt;                /* tokens before the answer; 0: unknown */
	float *weight;                  /* [n] of predicting ids[t] from those before; the first
					 * is 0 */
	/* of policy gradients; NULL: cross entropy */
	float *old;                     /* [n] log probability of ids[t] when sampled */
	float *reference;               /* [n] the same of the reference model; NULL: none */
	float advantage;
	double reward;                  /* NAN: none */
};

/* The records of a step, borrowed. */
struct batch {
	struct learn_record **p;        /* [n] */
	size_t n, cap;
};

int batch_add(struct batch *b, struct learn_record *r); /* 0, or -1 and a message */
void batch_free(struct batch *b);
void learn_record_free(struct learn_record *r);         /* what it holds */

/* Allocate ids and weight, and old with policy: of n tokens, all 0.  0, or -1 and a message. */
int learn_record_new(struct learn_record *r, uint32_t n, int policy);

/* How many positions of r are computed: up to the last token with a weight, which is predicted and
 * need not be read.  0: none has a weight. */
uint32_t learn_record_rows(const struct learn_record *r);

enum advantage {
	ADVANTAGE_STD,                  /* (r - mean) / (std + 1e-6) */
	ADVANTAGE_MEAN                  /* r - mean */
};

extern const char *const advantage_names[];     /* "std"; the last is NULL */

/* Set the advantages of the n answers to one prompt from their rewards. */
void learn_record_advantages(struct learn_record **p, size_t n, enum advantage how);

#endif
