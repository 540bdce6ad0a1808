#include "base/json_skim.h"

#define DIGITS 15

void
skim_space(struct json_skim *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

int
skim_char(struct json_skim *s, char c)
{
	skim_space(s);
	return s->p < s->end && *s->p == c ? (s->p++, 1) : 0;
}

int
skim_string(struct json_skim *s, const char **from, size_t *n, int *escaped)
{
	const char *p, *end = s->end;

	if (!skim_char(s, '"'))
		return 0;
	*from = p = s->p;
	*escaped = 0;
	for (; p < end && *p != '"'; p++)
		if ((unsigned char)*p < ' ')
			return 0;
		else if (*p == '\\' && (*escaped = 1) && ++p == end)
			return 0;
	if (p == end)
		return 0;
	*n = (size_t)(p - *from);
	s->p = p + 1;
	return 1;
}

int
skim_whole(struct json_skim *s, uint64_t *out)
{
	const char *from;
	uint64_t w = 0;

	skim_space(s);
	for (from = s->p; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++) {
		if (s->p - from == DIGITS)
			return 0;
		w = 10 * w + (uint64_t)(*s->p - '0');
	}
	*out = w;
	return s->p > from && (*from != '0' || s->p == from + 1);
}
