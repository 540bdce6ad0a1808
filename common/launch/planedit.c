#include "launch/planedit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/stages.h"

/* Words of a plan are not changed; these are constants among them. */
#define WORD(w) ((char *)(uintptr_t)(w))

const char *
line_name(const struct plan_line *l)
{
	const char *slash = strrchr(l->words[0], '/');

	return slash ? slash + 1 : l->words[0];
}

int
planedit_find(const struct planfile *p, int stage, const char *who)
{
	const char *name = stage_programs[stage].name;
	int found = -1;

	for (int i = 0; i < p->nlines; i++)
		if (strcmp(line_name(&p->lines[i]), name) == 0) {
			if (found >= 0)
				return fail(FAIL_DATA, "%s: the plan has several %s", who, name);
			found = i;
		}
	return found >= 0 ? found : fail(FAIL_DATA, "%s: the plan has no %s", who, name);
}

void
line_add(struct line_words *w, const char *word)
{
	if (w->n <= WORDS_MAX)
		w->p[w->n++] = WORD(word);
}

void
line_add_all(struct line_words *w, const struct plan_line *l)
{
	for (int i = 0; i < l->nwords; i++)
		line_add(w, l->words[i]);
}

void
line_add_option(struct line_words *w, const struct plan_line *l, const char *option)
{
	for (int i = 1; i + 1 < l->nwords; i++)
		if (strcmp(l->words[i], option) == 0) {
			line_add(w, option);
			line_add(w, l->words[i + 1]);
		}
}

void
line_split(const struct plan_line *l, const char *link, struct line_words *first,
    struct line_words *other)
{
	for (int i = 0; i < l->nwords; i++) {
		int output = (strcmp(l->words[i], "-o") == 0 ||
		    strcmp(l->words[i], "--output") == 0) && i + 1 < l->nwords;

		line_add(output ? other : first, l->words[i]);
		if (output)
			line_add(other, l->words[++i]);
		else if (strcmp(l->words[i], "--unsafe") == 0)
			line_add(other, l->words[i]);
	}
	line_add(first, "-o");
	line_add(first, link);
}

int
line_set(struct plan_line *l, const struct line_words *w, const char *who)
{
	char **copy;

	if (w->n > WORDS_MAX)
		return fail(FAIL_DATA, "%s: '%s' gets more than %d words", who, l->label,
		    WORDS_MAX);
	if (!(copy = mem_new((size_t)w->n, sizeof(*copy))))
		return -1;
	memcpy(copy, w->p, (size_t)w->n * sizeof(*copy));
	free(l->words);
	l->words = copy;
	l->nwords = w->n;
	return 0;
}

int
planedit_insert(struct planfile *p, int after, int stage)
{
	struct plan_line l = {.host = p->lines[after].host};
	const char *name = stage_programs[stage].name;

	if (mem_grow(&p->lines, &p->lines_cap, (size_t)p->nlines + 1, sizeof(l)) < 0)
		return -1;
	memmove(&p->lines[after + 2], &p->lines[after + 1],
	    (size_t)(p->nlines - after - 1) * sizeof(l));
	memcpy(l.label, name, strlen(name) + 1);
	p->lines[after + 1] = l;
	p->nlines++;
	return 0;
}
