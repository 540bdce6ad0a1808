#include "learning/order.h"

#include <stdlib.h>

#include "base/mem.h"
#include "learning/learning.h"
#include "stage/sample.h"

#define BATCH_USUAL 32

int
order_open(struct order *o, size_t n, const struct learning_options *options)
{
	uint64_t epochs = options->epochs ? (uint64_t)options->epochs : 1;

	*o = (struct order){.seed = (uint64_t)options->sampling.seed, .n = n, .epoch = UINT64_MAX};
	o->batch = options->batch ? (uint64_t)options->batch : options->dry_run ? n : BATCH_USUAL;
	if (o->batch > n)
		o->batch = n;
	o->steps = options->steps ? (uint64_t)options->steps :
	    (epochs * n + o->batch - 1) / o->batch;
	o->total = options->steps ? o->steps * o->batch : epochs * n;
	return (o->item = mem_new(n, sizeof(*o->item))) ? 0 : -1;
}

void
order_close(struct order *o)
{
	free(o->item);
	*o = (struct order){0};
}

/* Fisher and Yates. */
static void
shuffle(struct order *o, uint64_t epoch)
{
	for (size_t i = 0; i < o->n; i++)
		o->item[i] = i;
	for (size_t i = o->n; i > 1; i--) {
		size_t j = (size_t)(sample_random(o->seed, epoch, i) * (double)i), t;

		t = o->item[i - 1];
		o->item[i - 1] = o->item[j];
		o->item[j] = t;
	}
	o->epoch = epoch;
}

int
order_item(struct order *o, uint64_t step, uint64_t k, size_t *item)
{
	uint64_t at = (step - 1) * o->batch + k;

	if (k >= o->batch || at >= o->total)
		return 0;
	if (at / o->n != o->epoch)
		shuffle(o, at / o->n);
	*item = o->item[at % o->n];
	return 1;
}
