/*
 * The records of a file as the source of steps.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "learning/learning.h"
#include "learning/order.h"
#include "learning/records_file.h"

struct source_file {
	struct records_file file;
	struct order order;             /* of its groups */
};

static int
next(void *arg, uint64_t step, struct pipeline *p, struct batch *b)
{
	struct source_file *s = arg;
	size_t g;

	(void)p;
	b->n = 0;
	for (uint64_t k = 0; order_item(&s->order, step, k, &g); k++)
		for (size_t i = s->file.groups[g]; i < s->file.groups[g + 1]; i++)
			if (batch_add(b, &s->file.p[i]) < 0)
				return -1;
	return 0;
}

static void
close_file(void *arg)
{
	struct source_file *s = arg;

	records_close(&s->file);
	order_close(&s->order);
	free(s);
}

int
source_file_open(struct batch_source *to, const struct learning_options *o, const struct model *m)
{
	struct source_file *s = mem_new(1, sizeof(*s));

	if (!s)
		return -1;
	*to = (struct batch_source){.arg = s, .next = next, .close = close_file};
	if (records_open(&s->file, m, o->file, o->data == LEARNING_RECORDS, o->advantage) < 0)
		return -1;
	if (order_open(&s->order, s->file.ngroups, o) < 0)
		return -1;
	to->steps = s->order.steps;
	to->hash = s->file.hash;
	return 0;
}
