#include "learning/records.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"

const char *const advantage_names[] = {"std", "mean", NULL};

int
batch_add(struct batch *b, struct learn_record *r)
{
	if (mem_grow(&b->p, &b->cap, b->n + 1, sizeof(*b->p)) < 0)
		return -1;
	b->p[b->n++] = r;
	return 0;
}

void
batch_free(struct batch *b)
{
	free(b->p);
	*b = (struct batch){0};
}

int
learn_record_new(struct learn_record *r, uint32_t n, int policy)
{
	*r = (struct learn_record){.n = n, .reward = NAN};
	r->ids = mem_new(n, sizeof(*r->ids));
	r->weight = mem_new(n, sizeof(*r->weight));
	r->old = policy ? mem_new(n, sizeof(*r->old)) : NULL;
	if (r->ids && r->weight && (r->old || !policy))
		return 0;
	learn_record_free(r);
	return -1;
}

void
learn_record_free(struct learn_record *r)
{
	free(r->ids);
	free(r->weight);
	free(r->old);
	free(r->reference);
	*r = (struct learn_record){0};
}

uint32_t
learn_record_rows(const struct learn_record *r)
{
	uint32_t t = r->n;

	while (t > 0 && r->weight[t - 1] == 0)
		t--;
	return t > 0 ? t - 1 : 0;
}

void
learn_record_advantages(struct learn_record **p, size_t n, enum advantage how)
{
	double first = n > 0 ? p[0]->reward : 0, mean = 0, square = 0, scale = 1;

	/* relative to the first, so that the mean of equal rewards is exact */
	for (size_t i = 0; i < n; i++)
		mean += p[i]->reward - first;
	mean = first + mean / (double)n;
	for (size_t i = 0; i < n; i++)
		square += (p[i]->reward - mean) * (p[i]->reward - mean);
	if (how == ADVANTAGE_STD)
		scale = sqrt(square / (double)n) + 1e-6;
	for (size_t i = 0; i < n; i++)
		p[i]->advantage = (float)((p[i]->reward - mean) / scale);
}
