#include "inspect/diff/names.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/fail.h"
#include "base/io.h"

#define MAP_MAX (16u << 20)
#define FIELDS 4
#define FIELD_MAX 400

/* Names in tests/golden. Each family has the names of its modules: arch/arch.h. */
static const char golden[] =
	"ids tokenize - ids\n"
	"embed embed - h\n"
	"layers.{l}.attn attn {l} h\n"
	"layers.{l}.out expert {l} h\n"
	"layers.{l}.router.idx route {l} expert.idx\n"
	"layers.{l}.router.weight route {l} expert.w\n"
	"final_norm head - head.norm\n"
	"logits head - logits\n"
	"input_ids tokenize - ids\n";

struct field {
	const char *p;
	size_t n;
};

/* Split the line at *p into at most FIELDS + 1 fields and move *p after it. Returns their
 * number. */
static int
line_cut(const char **p, struct field *v)
{
	const char *s = *p;
	int n = 0;

	for (;;) {
		s += strspn(s, " \t\r");
		if (*s == '\0' || *s == '\n' || *s == '#')
			break;
		if (n <= FIELDS)
			v[n++] = (struct field){s, strcspn(s, " \t\r\n")};
		s += strcspn(s, " \t\r\n");
	}
	s += strcspn(s, "\n");
	*p = *s ? s + 1 : s;
	return n;
}

/* Parse the layer number at s. Returns its number of digits, or 0. */
static size_t
layer_digits(const char *s, size_t n, int *layer)
{
	size_t i = 0;

	for (*layer = 0; i < n && isdigit((unsigned char)s[i]) && i < 8; i++)
		*layer = *layer * 10 + s[i] - '0';
	return i < n && isdigit((unsigned char)s[i]) ? 0 : i;
}

/* 1 if the name matches the field. *layer is the layer that {l} matched, -1: none. */
static int
fits(struct field f, const char *name, size_t n, int *layer)
{
	size_t at = 0;

	*layer = -1;
	for (size_t i = 0; i < f.n; ) {
		if (f.n - i >= 3 && memcmp(f.p + i, "{l}", 3) == 0) {
			int l;
			size_t digits = layer_digits(name + at, n - at, &l);

			if (digits == 0 || (*layer >= 0 && l != *layer))
				return 0;
			*layer = l;
			at += digits;
			i += 3;
		} else if (at < n && name[at] == f.p[i]) {
			at++;
			i++;
		} else {
			return 0;
		}
	}
	return at == n;
}

/* Copy the field with {l} replaced. */
static void
fill(char *to, struct field f, int layer)
{
	size_t n = 0;

	for (size_t i = 0; i < f.n && n < FIELD_MAX + 16; ) {
		if (f.n - i >= 3 && memcmp(f.p + i, "{l}", 3) == 0) {
			n += (size_t)sprintf(to + n, "%d", layer);
			i += 3;
		} else {
			to[n++] = f.p[i++];
		}
	}
	to[n] = '\0';
}

/* The group that the fields of a line denote, for layer {l}. */
static struct group *
group_said(const struct field *v, int layer, struct groups *g)
{
	char field[3][FIELD_MAX + 32];

	for (int i = 0; i < 3; i++)
		fill(field[i], v[i + 1], layer);
	return group_named(
	    g, field[0], strcmp(field[1], "-") == 0 ? -1 : atoi(field[1]), field[2], NULL);
}

/* Search the lines of a text for the first match. Lines of a user's map are numbered, and all
 * matching ones are marked. */
static int
find_in(const char *text, struct names *own, struct groups *g, const char *name, size_t n,
    struct group **out, int *line)
{
	struct field v[FIELDS + 1];
	int found = 0, l;

	for (int number = 1; *text; number++) {
		if (line_cut(&text, v) < FIELDS || !fits(v[0], name, n, &l))
			continue;
		if (own)
			own->fits[number] = 1;
		if (found)
			continue;
		if (!(*out = group_said(v, l, g)))
			return -1;
		*line = own ? number : 0;
		if (!own)
			return 1;
		found = 1;
	}
	return found;
}

/* The same for the built-in names. */
static int
find_built_in(struct groups *g, const char *name, size_t n, struct group **out, int *line)
{
	int r = find_in(golden, NULL, g, name, n, out, line);

	for (int i = 0; archs[i] && r == 0; i++)
		r = find_in(archs[i]->modules, NULL, g, name, n, out, line);
	return r;
}

int
names_find(struct names *n, struct groups *g, const char *name, struct group **out, int *line)
{
	size_t len = strlen(name);
	int r = n->own.p ? find_in((const char *)n->own.p, n, g, name, len, out, line) : 0;

	if (r == 0)
		r = find_built_in(g, name, len, out, line);
	if (r == 0 && len > 7 && strcmp(name + len - 7, ".output") == 0)
		r = find_built_in(g, name, len - 7, out, line);
	return r;
}

int
names_check(const struct names *n, const char *file)
{
	struct field v[FIELDS + 1];
	const char *p = (const char *)n->own.p;

	for (int line = 1; line <= n->lines; line++)
		if (line_cut(&p, v) > 0 && !n->fits[line])
			return fail(FAIL_USAGE, "'%s' line %d: '%s' has no tensor '%.*s'", n->path,
			    line, file, (int)v[0].n, v[0].p);
	return 0;
}

/* Check a line. Returns 0, or -1 and a message. */
static int
check_line(const struct field *v, int n)
{
	int l, holds;

	if (n != FIELDS)
		return fail(FAIL_USAGE, "%s: a line is THEIR_NAME STAGE LAYER TENSOR", n < FIELDS ? "too few fields" : "too many fields");
	for (int i = 0; i < FIELDS; i++)
		if (v[i].n > FIELD_MAX)
			return fail(FAIL_USAGE, "'%.20s...' has more than %d characters", v[i].p, FIELD_MAX);
	holds = memmem(v[0].p, v[0].n, "{l}", 3) != NULL;
	if (!(v[2].n == 1 && *v[2].p == '-') && !(v[2].n == 3 && memcmp(v[2].p, "{l}", 3) == 0) &&
	    layer_digits(v[2].p, v[2].n, &l) != v[2].n)
		return fail(FAIL_USAGE, "layer '%.*s': give a number, {l} or -", (int)v[2].n, v[2].p);
	for (int i = 1; i < FIELDS; i++)
		if (!holds && memmem(v[i].p, v[i].n, "{l}", 3))
			return fail(FAIL_USAGE, "'%.*s': the name has no {l}", (int)v[i].n, v[i].p);
	return 0;
}

int
names_open(struct names *n, const char *path)
{
	struct field v[FIELDS + 1];
	const char *p;

	memset(n, 0, sizeof(*n));
	if (!path)
		return 0;
	if (io_file(path, &n->own, MAP_MAX) < 0)
		return -1;
	if (memchr(n->own.p, 0, n->own.n))
		return fail(FAIL_USAGE, "'%s' is no text", path);
	n->path = path;
	for (p = (const char *)n->own.p; *p; ) {
		int fields = line_cut(&p, v);

		n->lines++;
		if (fields > 0 && check_line(v, fields) < 0)
			return fail_in("'%s' line %d", path, n->lines);
	}
	return (n->fits = mem_new((size_t)n->lines + 1, 1)) ? 0 : -1;
}

void
names_close(struct names *n)
{
	buf_free(&n->own);
	free(n->fits);
	memset(n, 0, sizeof(*n));
}
