#include "stage/expert_set.h"

#include <string.h>

#include "base/fail.h"

/* A number of at most 6 digits; -1 if there is none.  */
static int
number(const char **p)
{
	int n = 0, digits = 0;

	for (; **p >= '0' && **p <= '9' && digits < 6; ++*p, digits++)
		n = n * 10 + (**p - '0');
	return digits ? n : -1;
}

/* "7", "0-7" or "s" at *p.  */
static int
item_parse(struct expert_set *s, const char **p, int E, const char *text, int status)
{
	int first, last;

	if (**p == 's') {
		++*p;
		if (s->shared++)
			return fail(status, "experts '%s': s is named twice", text);
		return 0;
	}
	first = last = number(p);
	if (first >= 0 && **p == '-') {
		++*p;
		last = number(p);
	}
	if (first < 0 || last < first)
		return fail(status, "experts '%s' are not ranges and s, as in 0-7,s", text);
	if (E == 0)
		return fail(status, "experts '%s': the model has none: give s, for the MLP", text);
	if (last >= E)
		return fail(status, "experts '%s': the model's are 0 to %d", text, E - 1);
	for (int e = first; e <= last; e++)
		if (s->has[e]++)
			return fail(status, "experts '%s': %d is named twice", text, e);
	return 0;
}

int
expert_set_parse(struct expert_set *s, const char *text, int E, int status)
{
	const char *p = text;

	memset(s, 0, sizeof(*s));
	for (;;) {
		if (item_parse(s, &p, E, text, status) < 0)
			return -1;
		if (*p == '\0')
			return 0;
		if (*p++ != ',')
			return fail(status, "experts '%s' are not ranges and s, as in 0-7,s", text);
	}
}

int
expert_set_text(const struct expert_set *s, int E, struct buf *b)
{
	const char *comma = "";

	for (int e = 0, last; e < E; e = last + 1) {
		last = e;
		if (!s->has[e])
			continue;
		while (last + 1 < E && s->has[last + 1])
			last++;
		if ((last > e ? buf_addf(b, "%s%d-%d", comma, e, last) : buf_addf(b, "%s%d", comma,
		    e)) < 0)
			return -1;
		comma = ",";
	}
	if (s->shared && buf_addf(b, "%ss", comma) < 0)
		return -1;
	if (buf_addc(b, '\0') < 0)
		return -1;
	b->n--;
	return 0;
}

int
expert_set_merge(struct expert_set *to, const struct expert_set *from, int E)
{
	for (int e = 0; e < E; e++) {
		if (to->has[e] && from->has[e])
			return fail(FAIL_DATA, "expert %d: done twice", e);
		to->has[e] |= from->has[e];
	}
	if (to->shared && from->shared)
		return fail(FAIL_DATA, "shared experts: done twice");
	to->shared |= from->shared;
	return 0;
}

void
expert_set_all(struct expert_set *s, int E)
{
	memset(s, 0, sizeof(*s));
	memset(s->has, 1, (size_t)E);
	s->shared = 1;
}

int
expert_set_is_all(const struct expert_set *s, int E)
{
	return s->shared && !memchr(s->has, 0, (size_t)E);
}
