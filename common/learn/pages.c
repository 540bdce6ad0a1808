#include "learn/pages.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/fail.h"

static int
reserve(struct learn_pages *p, size_t pages)
{
	p->n = 0;
	return mem_grow(&p->start, &p->cap, pages + 1, sizeof(*p->start));
}

/* Span i begins a sequence, or goes on where the one before it ended. */
static int
check_span(const struct frame *f, int i, const struct span *last)
{
	const struct span *s = &f->spans[i];

	if (last && last->seq == s->seq && last->pos + last->n == s->pos)
		return 0;
	if (s->pos != 0)
		return fail(FAIL_DATA, "sequence %" PRIu64 ": position %" PRIu32
		    " in a frame to learn from, which needs whole sequences", s->seq, s->pos);
	for (int j = 0; j < i; j++)
		if (f->spans[j].n > 0 && f->spans[j].seq == s->seq)
			return fail(FAIL_DATA, "sequence %" PRIu64
			    ": twice in a frame to learn from", s->seq);
	return 0;
}

int
learn_pages_open(struct learn_pages *p, const struct frame *f)
{
	const struct span *last = NULL;
	int row = 0;

	if (reserve(p, f->rows / CACHE_PAGE + (size_t)f->nspans) < 0)
		return -1;
	for (int i = 0; i < f->nspans; i++) {
		const struct span *s = &f->spans[i];

		if (s->n == 0)
			continue;
		if (check_span(f, i, last) < 0)
			return -1;
		for (uint32_t pos = s->pos; pos < s->pos + s->n; pos++, row++)
			if (pos % CACHE_PAGE == 0)
				p->start[p->n++] = row;
		last = s;
	}
	p->start[p->n] = row;
	return 0;
}

int
learn_pages_select(struct learn_pages *p, const struct learn_pages *of, const int32_t *rows, int n)
{
	int page = 0;

	if (reserve(p, (size_t)(n < of->n ? n : of->n)) < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		if (i > 0 && rows[i] < of->start[page + 1])
			continue;
		while (rows[i] >= of->start[page + 1])
			page++;
		p->start[p->n++] = i;
	}
	p->start[p->n] = n;
	return 0;
}

int
learn_pages_repeat(struct learn_pages *p, const struct learn_pages *of, int times)
{
	if (learn_pages_rows(of) > INT32_MAX / times)
		return fail(FAIL_DATA, "%d rows of %d heads in a frame to learn from: at most %d "
		    "in all", learn_pages_rows(of), times, INT32_MAX);
	if (reserve(p, (size_t)of->n) < 0)
		return -1;
	for (int i = 0; i <= of->n; i++)
		p->start[i] = of->n > 0 ? of->start[i] * times : 0;
	p->n = of->n;
	return 0;
}

void
learn_pages_free(struct learn_pages *p)
{
	free(p->start);
	*p = (struct learn_pages){0};
}
