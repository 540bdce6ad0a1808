#include "stage/stop.h"

#include <string.h>

#include "base/fail.h"

int
stops_add(struct stops *s, const void *text, size_t n)
{
	if (n == 0)
		return fail(FAIL_DATA, "a stop string is empty");
	if (s->n == STOPS_MAX)
		return fail(FAIL_DATA, "more than %d stop strings", STOPS_MAX);
	if (buf_add(&s->bytes, text, n) < 0)
		return -1;
	s->len[s->n++] = n;
	return 0;
}

int
stops_copy(struct stops *to, const struct stops *from)
{
	const unsigned char *p = from->bytes.p;

	for (int i = 0; i < from->n; p += from->len[i++])
		if (stops_add(to, p, from->len[i]) < 0)
			return -1;
	return 0;
}

void
stops_free(struct stops *s)
{
	buf_free(&s->bytes);
	s->n = 0;
}

/* The first place of a string in the text's tail that ends in its last n bytes; NULL: none.  */
static const unsigned char *
find(const struct buf *text, size_t n, const unsigned char *stop, size_t len)
{
	size_t from = text->n - n;      /* bytes that were searched before */

	from = from > len - 1 ? from - (len - 1) : 0;
	return memmem(text->p + from, text->n - from, stop, len);
}

int
stops_find(const struct stops *s, struct stop_text *t, const void *p, size_t n, uint64_t *at)
{
	const unsigned char *stop = s->bytes.p, *first = NULL;
	size_t longest = 1;

	if (n == 0)
		return 0;
	if (buf_add(&t->tail, p, n) < 0)
		return -1;
	for (int i = 0; i < s->n; stop += s->len[i++]) {
		const unsigned char *found = find(&t->tail, n, stop, s->len[i]);

		if (found && (!first || found < first))
			first = found;
		if (s->len[i] > longest)
			longest = s->len[i];
	}
	if (first && at)
		*at = t->before + (uint64_t)(first - t->tail.p);
	if (t->tail.n >= longest) {
		size_t over = t->tail.n - (longest - 1);

		t->before += over;
		buf_drop(&t->tail, over);
	}
	return first != NULL;
}
