#include "launch/words.h"

#include <string.h>

#include "base/fail.h"

static int
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Unquote the word at *s in place and move *s after it and one blank. */
static int
unquote(char **s)
{
	char *from = *s, *to = *s, *end;
	int more;

	while (*from && !is_blank(*from)) {
		if (*from == '\'') {
			if (!(end = strchr(++from, '\'')))
				return fail(FAIL_DATA, "a quote is not closed");
			memmove(to, from, (size_t)(end - from));
			to += end - from;
			from = end + 1;
		} else {
			if (*from == '\\' && from[1])
				from++;
			*to++ = *from++;
		}
	}
	more = *from != 0;
	*to = 0;
	*s = from + more;
	return 0;
}

int
words_split(char *line, char **words, int max)
{
	int n = 0;

	for (;;) {
		while (is_blank(*line))
			line++;
		if (!*line)
			return n;
		if (n == max)
			return fail(FAIL_DATA, "more than %d words", max);
		words[n++] = line;
		if (unquote(&line) < 0)
			return -1;
	}
}

int
words_fill(struct buf *to, const char *word, const char *(*value)(void *arg, const char *name, size_t n), void *arg)
{
	for (const char *s = word; *s; ) {
		size_t n = *s == '{' ? strcspn(s + 1, "{}") : 0;
		const char *v = n > 0 && s[n + 1] == '}' ? value(arg, s + 1, n) : NULL;

		if (v ? buf_add(to, v, strlen(v)) < 0 : buf_addc(to, *s) < 0)
			return -1;
		s += v ? n + 2 : 1;
	}
	return 0;
}

int
words_line(struct buf *got, char **line)
{
	unsigned char *end = got->n > 0 ? memchr(got->p, '\n', got->n) : NULL;
	size_t n = end ? (size_t)(end - got->p) : 0;

	if (!end)
		return 0;
	if (memchr(got->p, 0, n) || !(*line = mem_new(n + 1, 1)))
		return fail(FAIL_DATA, "a line with a NUL in it, or no memory for it");
	memcpy(*line, got->p, n);
	buf_drop(got, n + 1);
	return 1;
}
