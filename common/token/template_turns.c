/* Templates that put each message between marks with its role: ChatML, Qwen, Llama 3, Moonlight. */
#include <string.h>

#include "token/template_internal.h"

static int
add(struct buf *to, const char *s)
{
	return s ? buf_add(to, s, strlen(s)) : 0;
}

/* --- parts of a text, as Python's methods of str give them --- */

struct part {
	const char *s;
	size_t n;
};

static struct part
strip_newlines(struct part p, int left, int right)
{
	for (; left && p.n > 0 && *p.s == '\n'; p.n--)
		p.s++;
	while (right && p.n > 0 && p.s[p.n - 1] == '\n')
		p.n--;
	return p;
}

/* The length of the white space at s, which str.strip() removes, or 0. */
static size_t
space_length(const char *s, const char *end)
{
	/* U+0085 U+00A0 U+1680 U+2000-200A U+2028 U+2029 U+202F U+205F U+3000 */
	static const char *const longer[] = {
		"\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
		    "\u2005",
		"\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f",
		    "\u205f",
		"\u3000"
	};

	if (*s == ' ' || (*s >= '\t' && *s <= '\r') || (*s >= 0x1c && *s <= 0x1f))
		return 1;
	for (size_t i = 0; i < sizeof(longer) / sizeof(*longer); i++) {
		size_t n = strlen(longer[i]);

		if ((size_t)(end - s) >= n && memcmp(s, longer[i], n) == 0)
			return n;
	}
	return 0;
}

static struct part
trim(struct part p)
{
	const char *end = p.s + p.n, *last;
	size_t n;

	while (p.s < end && (n = space_length(p.s, end)) > 0)
		p.s += n;
	for (; end > p.s; end = last) {
		last = end - 1;
		while (last > p.s && (*last & 0xc0) == 0x80)
			last--;
		if (space_length(last, end) != (size_t)(end - last))
			break;
	}
	return (struct part){p.s, (size_t)(end - p.s)};
}

/* The part before the first mark, and the one after the last; *p itself where there is none. */
static int
split(struct part p, const char *mark, struct part *first, struct part *last)
{
	const char *at = p.s, *found;
	size_t n = strlen(mark);
	int marks = 0;

	*first = *last = p;
	while ((found = memmem(at, (size_t)(p.s + p.n - at), mark, n))) {
		if (!marks++)
			first->n = (size_t)(found - p.s);
		at = found + n;
	}
	*last = (struct part){at, (size_t)(p.s + p.n - at)};
	return marks;
}

/* --- Qwen3 --- */

static int
is_tool_response(const struct turn *turn)
{
	static const char open[] = "<tool_response>", close[] = "</tool_response>";
	size_t a = sizeof(open) - 1, b = sizeof(close) - 1;

	return turn->n >= b && memcmp(turn->text, open, a) == 0 &&
	    memcmp(turn->text + turn->n - b, close, b) == 0;
}

/* The index of the last question, the last message if there is none. */
static size_t
last_query(const struct turn *turns, size_t n)
{
	for (size_t i = n; i-- > 0; )
		if (turns[i].role == ROLE_USER && !is_tool_response(&turns[i]))
			return i;
	return n - 1;
}

/* An answer without its reasoning, which it keeps after the last question. */
static int
add_answer(struct buf *to, const struct turn *turn, int kept, int last)
{
	struct part content = {turn->text, turn->n}, before, after, reasoning = {"", 0}, rest;

	if (split(content, "</think>", &before, &after) > 0) {
		split(strip_newlines(before, 0, 1), "<think>", &rest, &reasoning);
		reasoning = strip_newlines(reasoning, 1, 0);
		content = strip_newlines(after, 1, 0);
	}
	if (!kept || !(last || reasoning.n > 0))
		return buf_add(to, content.s, content.n);
	reasoning = strip_newlines(reasoning, 1, 1);
	content = strip_newlines(content, 1, 0);
	return add(to, "<think>\n") < 0 || buf_add(to, reasoning.s, reasoning.n) < 0 ||
	    add(to, "\n</think>\n\n") < 0 ? -1 : buf_add(to, content.s, content.n);
}

/* --- all of them --- */

static int
add_head(const struct turns *f, struct buf *to, enum role role)
{
	static const char *const names[] = {"system", "user", "assistant"};

	return add(to, f->before[role]) < 0 || add(to, names[role]) < 0 ? -1 : add(to, f->after);
}

static int
add_turn(const struct turns *f, struct buf *to, const struct turn *turns, size_t n, size_t i)
{
	struct part text = {turns[i].text, turns[i].n};

	if (add_head(f, to, turns[i].role) < 0 ||
	    (i == 0 && turns[i].role == ROLE_SYSTEM && add(to, f->preamble) < 0))
		return -1;
	if (f->reasons && turns[i].role == ROLE_ASSISTANT) {
		if (add_answer(to, &turns[i], i > last_query(turns, n), i == n - 1) < 0)
			return -1;
	} else {
		text = f->trims ? trim(text) : text;
		if (buf_add(to, text.s, text.n) < 0)
			return -1;
	}
	return add(to, f->end);
}

int
turns_render(const struct turns *f, const char *bos, int thinking, struct buf *to,
    const struct turn *turns, size_t n)
{
	if (add(to, bos) < 0)
		return -1;
	if (turns[0].role != ROLE_SYSTEM && f->system && (add_head(f, to, ROLE_SYSTEM) < 0 ||
	    add(to, f->preamble) < 0 || add(to, f->system) < 0 || add(to, f->end) < 0))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (add_turn(f, to, turns, n, i) < 0)
			return -1;
	return add_head(f, to, ROLE_ASSISTANT) < 0 || add(to, f->open) < 0 ? -1 :
	    add(to, thinking == 0 ? f->unthinking : NULL);
}
