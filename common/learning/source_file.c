/*
 * Records of a file in the order of (seed, epoch).
 *
 * The groups of all epochs form one sequence, each epoch in an order of its own; a step has the
 * next `batch` of them.  So its records depend on its number alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "learning/learning.h"
#include "learning/records_file.h"
#include "stage/sample.h"

#define BATCH_USUAL 32

struct source_file {
	struct records_file file;
	uint64_t seed, batch, total;    /* total: groups of the whole run */
	uint64_t epoch;                 /* of the order below; UINT64_MAX: none yet */
	size_t *order;                  /* [file.ngroups] */
};

/* Fisher and Yates. */
static void
shuffle(struct source_file *s, uint64_t epoch)
{
	size_t n = s->file.ngroups;

	for (size_t i = 0; i < n; i++)
		s->order[i] = i;
	for (size_t i = n; i > 1; i--) {
		size_t j = (size_t)(sample_random(s->seed, epoch, i) * (double)i), t;

		t = s->order[i - 1];
		s->order[i - 1] = s->order[j];
		s->order[j] = t;
	}
	s->epoch = epoch;
}

static int
next(void *arg, uint64_t step, struct pipeline *p, struct batch *b)
{
	struct source_file *s = arg;
	uint64_t at = (step - 1) * s->batch, end = at + s->batch;

	(void)p;
	b->n = 0;
	for (; at < end && at < s->total; at++) {
		size_t g;

		if (at / s->file.ngroups != s->epoch)
			shuffle(s, at / s->file.ngroups);
		g = s->order[at % s->file.ngroups];
		for (size_t i = s->file.groups[g]; i < s->file.groups[g + 1]; i++)
			if (batch_add(b, &s->file.p[i]) < 0)
				return -1;
	}
	return 0;
}

static void
close_file(void *arg)
{
	struct source_file *s = arg;

	records_close(&s->file);
	free(s->order);
	free(s);
}

int
source_file_open(struct batch_source *to, const struct learning_options *o, const struct model *m)
{
	struct source_file *s = mem_new(1, sizeof(*s));
	uint64_t n;

	if (!s)
		return -1;
	*to = (struct batch_source){.arg = s, .next = next, .close = close_file};
	if (records_open(&s->file, m, o->file, o->data == LEARNING_RECORDS, o->advantage) < 0)
		return -1;
	n = s->file.ngroups;
	if (!(s->order = mem_new(n, sizeof(*s->order))))
		return -1;
	s->seed = (uint64_t)o->sampling.seed;
	s->epoch = UINT64_MAX;
	s->batch = o->batch ? (uint64_t)o->batch : o->dry_run ? n : BATCH_USUAL;
	if (s->batch > n)
		s->batch = n;
	to->steps = o->steps ? (uint64_t)o->steps :
	    ((uint64_t)(o->epochs ? o->epochs : 1) * n + s->batch - 1) / s->batch;
	s->total = o->steps ? to->steps * s->batch : (uint64_t)(o->epochs ? o->epochs : 1) * n;
	to->hash = s->file.hash;
	return 0;
}
