#include "inspect/vote/ballot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

struct ballot *
ballot_new(const void *id, size_t n)
{
	struct ballot *b = mem_new(1, sizeof(*b));

	if (!b || !(b->id = mem_new(n + 1, 1))) {
		free(b);
		return NULL;
	}
	memcpy(b->id, id, n);
	b->id_len = n;
	return b;
}

/* The votes for an answer. */
struct tally {
	size_t votes;
	size_t n;
	char answer[];          /* [n], then a NUL */
};

/* Count a vote. Returns the answer in the ballot's memory; NULL and a message on failure. */
static const char *
ballot_vote(struct ballot *b, const char *answer, size_t n)
{
	struct tally *t = table_get(&b->tallies, answer, n);

	if (!t) {
		if (!(t = mem_new(1, sizeof(*t) + n + 1)))
			return NULL;
		t->n = n;
		memcpy(t->answer, answer, n);
		if (table_put(&b->tallies, t->answer, n, t) < 0) {
			free(t);
			return NULL;
		}
	}
	t->votes++;
	if (t->votes > b->most) {
		b->second = t == b->leading ? b->second : b->most;
		b->most = t->votes;
		b->leading = t;
	} else if (t->votes > b->second) {
		b->second = t->votes;
	}
	return t->answer;
}

int
ballot_add(struct ballot *b, uint64_t index, const char *answer, size_t n, double logprob)
{
	struct path *p;

	if (table_get(&b->taken, &index, sizeof(index)))
		return fail(FAIL_DATA, "id %.200s: a second answer with index %llu", b->id,
		    (unsigned long long)index);
	if (mem_grow(&b->paths, &b->cap, b->n + 1, sizeof(*b->paths)) < 0 ||
	    !(p = mem_new(1, sizeof(*p))))
		return -1;
	*p = (struct path){index, NULL, logprob};
	b->paths[b->n++] = p;
	if (answer && !(p->answer = ballot_vote(b, answer, n)))
		return -1;
	return table_put(&b->taken, &p->index, sizeof(p->index), p);
}

/* By answer, abstentions last, then by index. */
static int
path_cmp(const void *a, const void *b)
{
	const struct path *x = *(struct path *const *)a, *y = *(struct path *const *)b;
	int r = x->answer == y->answer ? 0 : !x->answer ? 1 : !y->answer ? -1 :
	    strcmp(x->answer, y->answer);

	return r ? r : x->index < y->index ? -1 : x->index > y->index;
}

void
ballot_count(struct ballot *b, struct majority *m)
{
	double best = -INFINITY, sum;
	size_t end;

	*m = (struct majority){0};
	if (b->n > 0)
		qsort(b->paths, b->n, sizeof(*b->paths), path_cmp);
	for (size_t i = 0; i < b->n; i = end) {
		const char *answer = b->paths[i]->answer;
		size_t count;

		for (end = i, sum = 0; end < b->n && b->paths[end]->answer &&
		    strcmp(b->paths[end]->answer, answer) == 0; end++)
			sum += b->paths[end]->logprob;
		if (!answer) {
			m->abstained = b->n - i;
			break;
		}
		count = end - i;
		if (count > m->count || (count == m->count && (sum > best ||
		    (sum == best && b->paths[i]->index < b->paths[m->first]->index)))) {
			m->first = i;
			m->count = count;
			best = sum;
		}
	}
}

int
ballot_decided(const struct ballot *b, size_t remaining)
{
	return b->most > b->second + remaining;
}

void
ballot_free(struct ballot *b)
{
	struct table_slot *s = NULL;

	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++)
		free(b->paths[i]);
	while ((s = table_next(&b->tallies, s)))
		free(s->value);
	free(b->paths);
	table_free(&b->taken);
	table_free(&b->tallies);
	free(b->id);
	free(b);
}
