/* vocab_skim: a strict scanner for the two large values of a tokenizer.json. */
#include <string.h>

#include "base/json_skim.h"
#include "base/utf8.h"
#include "token/tokens.h"
#include "token/vocab.h"

struct scan {
	struct json_skim at;
	struct vocab *v;
	struct buf *rest;
	const char *copied;             /* text before this is in rest */
};

/* Anything that is not as expected ends the scan with 0; memory failures with -1. */

static int
skip_value(struct scan *s)
{
	int depth = 0;

	do {
		const char *from;
		size_t n;
		int escaped;

		skim_space(&s->at);
		if (s->at.p == s->at.end)
			return 0;
		if (*s->at.p == '"') {
			if (!skim_string(&s->at, &from, &n, &escaped))
				return 0;
			continue;
		}
		depth += *s->at.p == '{' || *s->at.p == '[';
		depth -= *s->at.p == '}' || *s->at.p == ']';
		if (depth == 0 && (*s->at.p == ',' || *s->at.p == ':'))
			return 0;
		if (depth < 0)
			return 0;
		s->at.p++;
		/* a number or a word ends where a sign of structure or white space begins */
		while (s->at.p < s->at.end && !strchr("{}[],:\" \t\r\n", s->at.p[-1]) &&
		    !strchr("{}[],:\" \t\r\n", *s->at.p))
			s->at.p++;
	} while (depth > 0);
	return 1;
}

static int
hex4(const char *s, const char *end, uint32_t *c)
{
	*c = 0;
	for (int i = 0; i < 4; i++) {
		char d = s + i < end ? s[i] : 'x';

		if (d >= '0' && d <= '9')
			*c = *c << 4 | (uint32_t)(d - '0');
		else if ((d | 32) >= 'a' && (d | 32) <= 'f')
			*c = *c << 4 | (uint32_t)((d | 32) - 'a' + 10);
		else
			return 0;
	}
	return 1;
}

static char *
put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c >= 0x10000) {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
	} else if (c >= 0x800) {
		*to++ = (char)(0xe0 | c >> 12);
	}
	*to++ = (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6);
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

/* Resolve the escape at s, after its backslash. Returns its end, or NULL. */
static const char *
unescape(const char *s, const char *end, char **to)
{
	static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *letter = s < end && *s ? strchr(letters, *s) : NULL;
	uint32_t c, low;

	if (letter) {
		*(*to)++ = values[letter - letters];
		return s + 1;
	}
	if (s == end || *s != 'u' || !hex4(s + 1, end, &c) || c == 0 || (c >= 0xdc00 && c < 0xe000))
		return NULL;
	s += 5;
	if (c >= 0xd800 && c < 0xdc00) {
		if (end - s < 6 || s[0] != '\\' || s[1] != 'u' || !hex4(s + 2, end, &low) ||
		    low < 0xdc00 || low > 0xdfff)
			return NULL;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		s += 6;
	}
	*to = put_utf8(*to, c);
	return s;
}

static int
is_utf8(const char *s, size_t n)
{
	size_t step;

	for (size_t i = 0; i < n; i += step) {
		step = 1;
		if (s[i] & 0x80 && utf8_next((const unsigned char *)s + i, n - i,
		    &step) != UTF8_CHAR)
			return 0;
	}
	return 1;
}

/* A string, its escapes resolved in the arena, which never moves: it has room for the text. */
static int
read_string(struct scan *s, const char **text, size_t *n)
{
	struct buf *arena = &s->v->arena;
	const char *from, *end;
	char *to = (char *)arena->p + arena->n;
	int escaped;

	if (!skim_string(&s->at, &from, n, &escaped) || !is_utf8(from, *n))
		return 0;
	*text = from;
	if (!escaped)
		return 1;
	*text = to;
	for (end = from + *n; from && from < end; )
		if (*from == '\\')
			from = unescape(from + 1, end, &to);
		else
			*to++ = *from++;
	*n = (size_t)(to - *text);
	arena->n += *n;
	return from != NULL;
}

/* "text": id, ... up to the closing brace */
static int
read_vocab(struct scan *s)
{
	if (skim_char(&s->at, '}'))
		return 1;
	do {
		const char *text;
		size_t n;
		uint64_t id;

		if (!read_string(s, &text, &n) || !skim_char(&s->at, ':') ||
		    !skim_whole(&s->at, &id) || id > TOKEN_ID_MAX)
			return 0;
		if (vocab_add(s->v, text, n, (int32_t)id) < 0)
			return -1;
	} while (skim_char(&s->at, ','));
	return skim_char(&s->at, '}');
}

static int
read_merges(struct scan *s)
{
	if (skim_char(&s->at, ']'))
		return 1;
	do {
		const char *a, *b = NULL;
		size_t na, nb = 0;

		if (skim_char(&s->at, '[')) {
			if (!read_string(s, &a, &na) || !skim_char(&s->at, ',') ||
			    !read_string(s, &b, &nb) || !skim_char(&s->at, ']'))
				return 0;
		} else if (!read_string(s, &a, &na)) {
			return 0;
		}
		if (vocab_merge(s->v, a, na, b, nb) < 0)
			return -1;
	} while (skim_char(&s->at, ','));
	return skim_char(&s->at, ']');
}

/* Read a value, and append the text before it and an empty value to rest. */
static int
take(struct scan *s, const char *empty, int (*read)(struct scan *))
{
	if (buf_add(s->rest, s->copied, (size_t)(s->at.p - s->copied)) < 0 ||
	    buf_add(s->rest, empty, 2) < 0)
		return -1;
	s->at.p++;
	return read(s) > 0 ? (s->copied = s->at.p, 1) : 0;
}

/* An object; inside "model", `depth` is 1. */
static int
read_object(struct scan *s, int depth)
{
	if (!skim_char(&s->at, '{'))
		return 0;
	if (skim_char(&s->at, '}'))
		return 1;
	do {
		const char *key;
		size_t n;
		int escaped, r;

		if (!skim_string(&s->at, &key, &n, &escaped) || escaped || !skim_char(&s->at, ':'))
			return 0;
		skim_space(&s->at);
		if (s->at.p == s->at.end)
			return 0;
		if (depth == 0 && n == 5 && memcmp(key, "model", n) == 0 && *s->at.p == '{')
			r = read_object(s, 1);
		else if (depth == 1 && n == 5 && memcmp(key, "vocab", n) == 0 && *s->at.p == '{' &&
		    s->v->ntokens == 0)
			r = take(s, "{}", read_vocab);
		else if (depth == 1 && n == 6 && memcmp(key, "merges", n) == 0 && *s->at.p == '[' &&
		    s->v->nmerges == 0)
			r = take(s, "[]", read_merges);
		else
			r = skip_value(s);
		if (r <= 0)
			return r;
	} while (skim_char(&s->at, ','));
	return skim_char(&s->at, '}');
}

int
vocab_skim(struct vocab *v, const char *text, size_t n, struct buf *rest)
{
	struct scan s = {{text, text + n}, v, rest, text};
	int r;

	v->arena.p = mem_raw(n + 1, 1);
	if (!v->arena.p)
		return -1;
	r = read_object(&s, 0);
	if (r > 0 && (buf_add(rest, s.copied, (size_t)(s.at.end - s.copied)) < 0 ||
	    buf_addc(rest, 0) < 0))
		r = -1;
	rest->n -= r > 0;
	return r;
}
