/*
 * Which items of the data a step has: records, groups or prompts.
 *
 * The items of all epochs form one sequence, each epoch in an order of its own; a step has the next
 * `batch` of them.  So they depend on the seed and the number of the step alone, also in a run that
 * goes on.
 */
#ifndef DS_LEARNING_ORDER_H
#define DS_LEARNING_ORDER_H

#include <stddef.h>
#include <stdint.h>

struct learning_options;

struct order {
	uint64_t seed, batch;
	uint64_t steps, total;          /* of the run: steps, and items */
	size_t n;
	uint64_t epoch;                 /* of `item`; UINT64_MAX: none yet */
	size_t *item;                   /* [n] */
};

/* Of n items, at least 1.  0, or -1 and a message. */
int order_open(struct order *o, size_t n, const struct learning_options *options);
void order_close(struct order *o);

/* Item k of a step, from 1, into *item.  Returns 1, or 0 if it has no more than k. */
int order_item(struct order *o, uint64_t step, uint64_t k, size_t *item);

#endif
