#include "base/ranges.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

static int
number(const char **s, uint64_t *n)
{
	char *end;

	if (!isdigit((unsigned char)**s))
		return -1;
	errno = 0;
	*n = strtoull(*s, &end, 10);
	*s = end;
	return errno ? -1 : 0;
}

int
ranges_parse(struct ranges *r, const char *option, const char *text)
{
	const char *s = text;

	for (;;) {
		struct range one;

		if (number(&s, &one.from) < 0)
			goto bad;
		one.to = one.from;
		if (*s == '-') {
			s++;
			one.to = UINT64_MAX;
			if (*s && *s != ',' && number(&s, &one.to) < 0)
				goto bad;
		}
		if (one.to < one.from || (*s && *s != ','))
			goto bad;
		if (mem_grow(&r->r, &r->cap, r->n + 1, sizeof(*r->r)) < 0)
			return -1;
		r->r[r->n++] = one;
		if (!*s)
			return 0;
		s++;
	}
bad:
	return fail(FAIL_USAGE, "%s '%s': give numbers as " RANGES_SYNTAX, option, text);
}

int
ranges_has(const struct ranges *r, uint64_t n)
{
	for (size_t i = 0; i < r->n; i++)
		if (n >= r->r[i].from && n <= r->r[i].to)
			return 1;
	return r->n == 0;
}

void
ranges_free(struct ranges *r)
{
	free(r->r);
	memset(r, 0, sizeof(*r));
}
