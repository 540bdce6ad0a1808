#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/extract.h"

#define NESTING_MAX 50

/* The end of the group that begins with the brace at p, or NULL. \{ and \} are no braces. */
static const char *
group_end(const char *p, const char *end)
{
	int depth = 0;

	for (; p < end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '{')
			depth++;
		else if (*p == '}' && --depth == 0)
			return p;
	}
	return NULL;
}

/* An open brace. */
struct brace {
	const char *at;
	int boxed;              /* 1: it follows \boxed */
};

/* The brace of the \boxed that begins at p, a backslash, or NULL. */
static const char *
boxed_brace(const char *p, const char *end)
{
	static const char name[] = "\\boxed";
	const size_t len = sizeof(name) - 1;

	if ((size_t)(end - p) < len || memcmp(p, name, len) != 0)
		return NULL;
	for (p += len; p < end && *p == ' '; p++)
		continue;
	return p < end && *p == '{' ? p : NULL;
}

int
extract_boxed(const char *text, size_t n, struct buf *to)
{
	const char *end = text + n, *from = NULL, *until = NULL, *open;
	struct brace *braces = NULL;
	size_t depth = 0, cap = 0;
	int r = 0;

	/* (one pass: a text may consist of boxes that are not closed) */
	for (const char *p = text; p < end && r == 0; p++) {
		open = *p == '{' ? p : *p == '\\' ? boxed_brace(p, end) : NULL;
		if (open) {
			r = mem_grow(&braces, &cap, depth + 1, sizeof(*braces));
			if (r == 0)
				braces[depth++] = (struct brace){open, open != p};
			p = open;
		} else if (*p == '\\') {
			p++;
		} else if (*p == '}' && depth > 0 && braces[--depth].boxed &&
		    braces[depth].at > from) {
			from = braces[depth].at;
			until = p;
		}
	}
	free(braces);
	if (r < 0 || !from)
		return r;
	return buf_add(to, from + 1, (size_t)(until - from - 1)) < 0 ? -1 : 1;
}

/* A command without its backslash, and what replaces it. */
struct command {
	const char *name, *by;
	int unwrap;             /* 1: its group stays, without the braces */
};

static const struct command commands[] = {
	{"left", "", 0}, {"right", "", 0}, {"big", "", 0}, {"Big", "", 0}, {"displaystyle", "", 0},
	{"quad", "", 0},
	{"qquad", "", 0}, {"degree", "", 0},
	{"dfrac", "\\frac", 0}, {"tfrac", "\\frac", 0}, {"cfrac", "\\frac", 0}, {"leq", "\\le", 0},
	{"geq", "\\ge", 0},
	{"neq", "\\ne", 0},
	{"text", "", 1}, {"textbf", "", 1}, {"textit", "", 1}, {"textrm", "", 1}, {"mathrm", "", 1},
	{"mathbf", "", 1},
	{"mbox", "", 1}, {"operatorname", "", 1}, {NULL, NULL, 0}
};

static int
is_letter(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int latex_copy(const char *p, const char *end, int nesting, struct buf *to);

/* The command at p, a backslash. Returns what follows it, or NULL and a message. */
static const char *
latex_command(const char *p, const char *end, int nesting, struct buf *to)
{
	const struct command *c = commands;
	const char *name = p + 1, *q = name, *close;

	while (q < end && is_letter(*q))
		q++;
	if (q == name && q < end && strchr(",;:! $%\n\t", *q))   /* space and units; \{ stays */
		return q + 1;
	if (q == name && q < end)
		return buf_add(to, p, 2) < 0 ? NULL : q + 1;
	while (c->name && (strlen(c->name) != (size_t)(q - name) || memcmp(c->name, name,
	    (size_t)(q - name)) != 0))
		c++;
	if (!c->name)
		return buf_add(to, p, (size_t)(q - p)) < 0 ? NULL : q;
	if (buf_add(to, c->by, strlen(c->by)) < 0)
		return NULL;
	if (!c->unwrap || q >= end || *q != '{' || nesting >= NESTING_MAX ||
	    !(close = group_end(q, end)))
		return q;
	return latex_copy(q + 1, close, nesting + 1, to) < 0 ? NULL : close + 1;
}

/* Bytes at p that are left out, or 0: white space, $, %, degrees. */
static size_t
left_out(const char *p, const char *end)
{
	static const char *const words[] = {"^\\circ", "^{\\circ}", "\xc2\xb0", "\xc2\xa0"};

	if (strchr(" \t\r\n~$%", *p))
		return 1;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if ((size_t)(end - p) >= strlen(words[i]) && memcmp(p, words[i],
		    strlen(words[i])) == 0)
			return strlen(words[i]);
	return 0;
}

/* Append p..end in the normal way of writing. Returns 0, or -1 and a message. */
static int
latex_copy(const char *p, const char *end, int nesting, struct buf *to)
{
	while (p < end) {
		size_t n = left_out(p, end);

		if (n > 0)
			p += n;
		else if (*p == '\\')
			p = latex_command(p, end, nesting, to);
		else if (buf_addc(to, *p++) < 0)
			return -1;
		if (!p)
			return -1;
	}
	return 0;
}

/* Append text, in which \frac12 and \sqrt3 get braces. */
static int
add_braces(const char *p, const char *end, struct buf *to)
{
	int left = 0, r = 0;    /* arguments of the command that are still to come */

	for (; p < end && r == 0; p++) {
		int arguments = 0;

		if (left > 0 && is_letter(*p) + (*p >= '0' && *p <= '9') > 0) {
			r = buf_addf(to, "{%c}", *p);
			left--;
			continue;
		}
		left = 0;
		if ((size_t)(end - p) > 5 &&
		    (memcmp(p, "\\frac", 5) == 0 || memcmp(p, "\\sqrt", 5) == 0) &&
		    !is_letter(p[5])) {
			arguments = p[1] == 'f' ? 2 : 1;
			r = buf_add(to, p, 5);
			p += 4;
		} else {
			r = buf_addc(to, *p);
		}
		left = arguments;
	}
	return r;
}

int
extract_latex(const char *text, size_t n, struct buf *to)
{
	struct buf plain = {0};
	int r = latex_copy(text, text + n, 0, &plain);

	while (r == 0 && plain.n > 0 && plain.p[plain.n - 1] == '.')
		plain.n--;
	if (r == 0)
		r = extract_all_number((const char *)plain.p, plain.n, to);
	if (r == 0 && plain.n > 0)
		r = add_braces((const char *)plain.p, (const char *)plain.p + plain.n, to) < 0 ?
		    -1 : 1;
	buf_free(&plain);
	return r;
}
