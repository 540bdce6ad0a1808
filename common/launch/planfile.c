#include "launch/planfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "launch/plan.h"

#define FILE_MAX (16u << 20)
#define HOSTS_MAX 1024
#define LINES_MAX 4096
#define LINE_MAX_BYTES 65536

/* --- hosts --- */

static int
find_host(const struct planfile *p, const char *name, size_t n)
{
	for (int i = 0; i < p->nhosts; i++)
		if (strlen(p->hosts[i].name) == n && memcmp(p->hosts[i].name, name, n) == 0)
			return i;
	return -1;
}

static int
is_made_of(const char *s, const char *others)
{
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr(others, *s)))
			return 0;
	return 1;
}

/* A name that starts with a dash would be an option of ssh. */
static int
parse_host(struct planfile *p, char **w, int n)
{
	struct plan_host h = {.name = n > 1 ? w[1] : ""};

	h.spare = n > 2 && strcmp(w[n - 1], "spare") == 0;
	h.address = n - h.spare > 2 ? w[2] : h.name;
	if (n < 2 || n - h.spare > 3)
		return fail(FAIL_DATA, "expected 'host NAME [ADDRESS] [spare]'");
	if (!*h.name || *h.name == '-' || !is_made_of(h.name, "._-") || strcmp(h.name, "run") == 0)
		return fail(FAIL_DATA, "host '%s': a name has letters, digits and ._- and is not 'run'", h.name);
	if (!*h.address || *h.address == '-' || !is_made_of(h.address, "._-:[]%"))
		return fail(FAIL_DATA, "host '%s': '%s' is not an address", h.name, h.address);
	if (find_host(p, h.name, strlen(h.name)) >= 0)
		return fail(FAIL_DATA, "host '%s' appears twice", h.name);
	if (p->nhosts == HOSTS_MAX)
		return fail(FAIL_DATA, "more than %d hosts", HOSTS_MAX);
	if (mem_grow(&p->hosts, &p->hosts_cap, (size_t)p->nhosts + 1, sizeof(h)) < 0)
		return -1;
	p->hosts[p->nhosts++] = h;
	return 0;
}

/* --- words --- */

static int
is_control(char c)
{
	return (unsigned char)c < ' ' && c != '\t';
}

int
planfile_misfit(const char *word)
{
	for (; *word; word++)
		if (is_control(*word) || *word == '{' || *word == '}')
			return *word;
	return 0;
}

/* Check that {name} is valid. run: {run} is allowed here. */
static int
check_name(const struct planfile *p, const char *name, size_t n, int run)
{
	int host = find_host(p, name, n);

	if (n == 3 && memcmp(name, "run", 3) == 0)
		return run ? 0 : fail(FAIL_DATA, "{run} is for the programs of one host");
	if (host < 0)
		return fail(FAIL_DATA, "{%.*s} is not a host of the lines above", (int)(n < 60 ? n : 60), name);
	return p->hosts[host].spare ? fail(FAIL_DATA, "{%s} is a spare: name the host that it may replace", p->hosts[host].name) : 0;
}

static int
check_word(const struct planfile *p, const char *word, int run)
{
	for (const char *s = word; *s; s++) {
		size_t n = strcspn(s + 1, "{}");

		if (*s == '}' || (*s == '{' && s[n + 1] != '}'))
			return fail(FAIL_DATA, "'%s': unmatched brace", word);
		if (*s == '{') {
			if (check_name(p, s + 1, n, run) < 0)
				return fail_in("'%s'", word);
			s += n + 1;
		}
	}
	return 0;
}

static int
parse_endpoint(struct planfile *p, const char **to, char **w, int n)
{
	if (*to)
		return fail(FAIL_DATA, "a second '%s'", w[0]);
	if (n != 2 || !strstr(w[1], "://"))
		return fail(FAIL_DATA, "expected '%s ENDPOINT' with tcp:// or ipc://", w[0]);
	*to = w[1];
	return check_word(p, w[1], 0);
}

/* Make the label, "ds-block -l 2-3": program, layers and experts. */
static void
make_label(struct plan_line *l)
{
	const char *slash = strrchr(l->words[0], '/');
	int n = snprintf(l->label, sizeof(l->label), "%s", slash ? slash + 1 : l->words[0]);

	for (int i = 1; i + 1 < l->nwords && n < (int)sizeof(l->label); i++)
		if (strcmp(l->words[i], "-l") == 0 || strcmp(l->words[i], "-e") == 0)
			n += snprintf(l->label + n, sizeof(l->label) - (size_t)n, " %s %s", l->words[i], l->words[i + 1]);
}

static int
parse_run(struct planfile *p, char **w, int n)
{
	struct plan_line l = {.nwords = n - 2};

	if (n < 3 || !*w[2])
		return fail(FAIL_DATA, "expected 'run HOST PROGRAM [ARGUMENT ...]'");
	if ((l.host = find_host(p, w[1], strlen(w[1]))) < 0)
		return fail(FAIL_DATA, "'%s' is not a host of the lines above", w[1]);
	if (p->hosts[l.host].spare)
		return fail(FAIL_DATA, "host '%s' is a spare: nothing runs there at first", w[1]);
	if (p->nlines == LINES_MAX)
		return fail(FAIL_DATA, "more than %d processes", LINES_MAX);
	for (int i = 2; i < n; i++)
		if (check_word(p, w[i], 1) < 0)
			return -1;
	if (mem_grow(&p->lines, &p->lines_cap, (size_t)p->nlines + 1, sizeof(l)) < 0 ||
	    !(l.words = mem_new((size_t)l.nwords, sizeof(*l.words))))
		return -1;
	memcpy(l.words, w + 2, (size_t)l.nwords * sizeof(*l.words));
	make_label(&l);
	p->lines[p->nlines++] = l;
	return 0;
}

/* --- lines --- */

static int
parse_line(struct planfile *p, char *line, int *version)
{
	char *w[WORDS_MAX + 1];
	int n;

	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return 0;
	if (strlen(line) > LINE_MAX_BYTES)
		return fail(FAIL_DATA, "more than %d bytes", LINE_MAX_BYTES);
	for (const char *s = line; *s; s++)
		if (is_control(*s))
			return fail(FAIL_DATA, "a control character, 0x%02x", *s);
	if ((n = words_split(line, w, WORDS_MAX + 1)) < 0)
		return -1;
	if (*version == 0) {
		if (n != 2 || strcmp(w[0], "plan") != 0)
			return fail(FAIL_DATA, "a plan begins with the line 'plan 1'");
		if (strcmp(w[1], "1") != 0)
			return fail(FAIL_DATA, "version '%s': this build knows plans of version 1", w[1]);
		*version = 1;
		return 0;
	}
	if (strcmp(w[0], "host") == 0)
		return parse_host(p, w, n);
	if (strcmp(w[0], "feed") == 0)
		return parse_endpoint(p, &p->feed, w, n);
	if (strcmp(w[0], "take") == 0)
		return parse_endpoint(p, &p->take, w, n);
	if (strcmp(w[0], "run") == 0)
		return parse_run(p, w, n);
	return fail(FAIL_DATA, "'%s': a line begins with host, feed, take or run", w[0]);
}

int
planfile_read(struct planfile *p, const char *path)
{
	memset(p, 0, sizeof(*p));
	if (io_file(path, &p->text, FILE_MAX) < 0)
		return fail_in("plan");
	return planfile_parse(p, path);
}

int
planfile_parse(struct planfile *p, const char *path)
{
	char *line = (char *)p->text.p, *next;
	int version = 0, number = 1;

	if (memchr(line, 0, p->text.n))
		return fail(FAIL_DATA, "plan '%s': it has a NUL byte", path);
	for (; line; line = next, number++) {
		if ((next = strchr(line, '\n')))
			*next++ = 0;
		if (parse_line(p, line, &version) < 0)
			return fail_in("plan '%s' line %d", path, number);
	}
	if (!p->feed || !p->take || p->nlines == 0)
		return fail(FAIL_DATA, "plan '%s': it has no line '%s'", path, version == 0 ? "plan 1" :
		    !p->feed ? "feed ENDPOINT" : !p->take ? "take ENDPOINT" : "run HOST PROGRAM");
	return 0;
}

/* 1 if the process binds that endpoint's port; it may bind all addresses of its host. */
static int
waits_at(const struct plan_line *l, const char *endpoint)
{
	const char *port = strrchr(endpoint, ':');

	for (int i = 0; i < l->nwords; i++)
		if (strncmp(l->words[i], "@tcp://", 7) == 0 && strcmp(strrchr(l->words[i], ':'), port) == 0)
			return 1;
	return 0;
}

int
planfile_keyed(const struct planfile *p)
{
	for (int i = 0; i < p->nlines; i++) {
		const struct plan_line *l = &p->lines[i];

		for (int k = 0; k < l->nwords; k++)
			if (strcmp(l->words[k], "--key") == 0 && (waits_at(l, p->feed) || waits_at(l, p->take)))
				return 1;
	}
	return 0;
}

const char *
planfile_option(const struct planfile *p, const char *option)
{
	for (int i = 0; i < p->nlines; i++)
		for (int k = 1; k + 1 < p->lines[i].nwords; k++)
			if (strcmp(p->lines[i].words[k], option) == 0)
				return p->lines[i].words[k + 1];
	return NULL;
}

void
planfile_free(struct planfile *p)
{
	for (int i = 0; i < p->nlines; i++)
		free(p->lines[i].words);
	free(p->lines);
	free(p->hosts);
	buf_free(&p->text);
	memset(p, 0, sizeof(*p));
}

struct addresses {
	const struct planfile *plan;
	const char *const *address;
};

static const char *
find_address(void *arg, const char *name, size_t n)
{
	struct addresses *a = arg;
	int host = find_host(a->plan, name, n);

	return host < 0 ? NULL : a->address[host];
}

int
planfile_fill(struct buf *to, const struct planfile *p, const char *word, const char *const *address)
{
	struct addresses a = {p, address};

	return words_fill(to, word, find_address, &a);
}
