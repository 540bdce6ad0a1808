#include "launch/plandraft.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "launch/plan.h"
#include "stage/stages.h"
#include "stage/tap.h"

/* Words of a plan are not changed; these are constants among them. */
#define WORD(w) ((char *)(uintptr_t)(w))
#define LINK "ipc://{run}/draft"

static const char *
name_of(const struct plan_line *l)
{
	const char *slash = strrchr(l->words[0], '/');

	return slash ? slash + 1 : l->words[0];
}

/* The only line of a program: its index, or -1 and a message. */
static int
find_line(const struct planfile *p, int stage)
{
	const char *name = stage_programs[stage].name;
	int found = -1;

	for (int i = 0; i < p->nlines; i++)
		if (strcmp(name_of(&p->lines[i]), name) == 0) {
			if (found >= 0)
				return fail(FAIL_DATA, "--draft: the plan has several %s", name);
			found = i;
		}
	return found >= 0 ? found : fail(FAIL_DATA, "--draft: the plan has no %s", name);
}

/* Words for a line: at most WORDS_MAX. */
struct words {
	char *p[WORDS_MAX + 1];
	int n;
};

static void
add_word(struct words *w, const char *word)
{
	if (w->n <= WORDS_MAX)
		w->p[w->n++] = WORD(word);
}

/* Append an option with a value of the line, wherever it stands there. */
static void
add_option(struct words *w, const struct plan_line *l, const char *option)
{
	for (int i = 1; i + 1 < l->nwords; i++)
		if (strcmp(l->words[i], option) == 0) {
			add_word(w, option);
			add_word(w, l->words[i + 1]);
		}
}

static int
set_words(struct plan_line *l, const struct words *w)
{
	char **copy;

	if (w->n > WORDS_MAX)
		return fail(FAIL_DATA, "--draft: '%s' gets more than %d words", l->label,
		    WORDS_MAX);
	if (!(copy = mem_new((size_t)w->n, sizeof(*copy))))
		return -1;
	memcpy(copy, w->p, (size_t)w->n * sizeof(*copy));
	free(l->words);
	l->words = copy;
	l->nwords = w->n;
	return 0;
}

/* ds-sample, whose outputs become those of ds-draft. */
static void
split_sample(const struct plan_line *l, struct words *sample, struct words *draft)
{
	for (int i = 0; i < l->nwords; i++) {
		int output = (strcmp(l->words[i], "-o") == 0 ||
		    strcmp(l->words[i], "--output") == 0) && i + 1 < l->nwords;

		add_word(output ? draft : sample, l->words[i]);
		if (output)
			add_word(draft, l->words[++i]);
		else if (strcmp(l->words[i], "--unsafe") == 0)
			add_word(draft, l->words[i]);
	}
	add_word(sample, "--draft");
	add_word(sample, "-o");
	add_word(sample, LINK);
}

static void
begin_draft(struct words *w, const struct plan_line *sample, const struct plan_line *head,
    const char *kind)
{
	static const char *const of_sample[] = {"-m", "--key", "--peers"}, *const of_head[] = {"-t",
	    "-d", "--precision", "--manifest"};

	add_word(w, stage_programs[STAGE_DRAFT].name);
	for (int i = 0; i < 3; i++)
		add_option(w, sample, of_sample[i]);
	for (int i = 0; i < 4; i++)
		add_option(w, head, of_head[i]);
	add_word(w, "--by");
	add_word(w, kind);
	add_word(w, "-i");
	add_word(w, "@" LINK);
}

/* A line after the one of that index, which it is a copy of. */
static int
insert_line(struct planfile *p, int after)
{
	struct plan_line l = {.host = p->lines[after].host};

	if (mem_grow(&p->lines, &p->lines_cap, (size_t)p->nlines + 1, sizeof(l)) < 0)
		return -1;
	memmove(&p->lines[after + 2], &p->lines[after + 1],
	    (size_t)(p->nlines - after - 1) * sizeof(l));
	memcpy(l.label, stage_programs[STAGE_DRAFT].name,
	    strlen(stage_programs[STAGE_DRAFT].name) + 1);
	p->lines[after + 1] = l;
	p->nlines++;
	return 0;
}

int
plandraft_add(struct planfile *p, const char *kind)
{
	struct words sample = {.n = 0}, draft = {.n = 0}, head = {.n = 0};
	int s = find_line(p, STAGE_SAMPLE), h = s < 0 ? -1 : find_line(p, STAGE_HEAD);

	if (h < 0)
		return -1;
	for (int i = 0; i < p->nlines; i++)
		if (strcmp(name_of(&p->lines[i]), stage_programs[STAGE_DRAFT].name) == 0)
			return fail(FAIL_DATA, "--draft: the plan has ds-draft already");
	for (int i = 0; i < p->lines[h].nwords; i++)
		add_word(&head, p->lines[h].words[i]);
	add_word(&head, "--tap");
	add_word(&head, TAP_HIDDEN);
	begin_draft(&draft, &p->lines[s], &p->lines[h], kind);
	split_sample(&p->lines[s], &sample, &draft);
	if ((strcmp(kind, "mtp") == 0 && set_words(&p->lines[h], &head) < 0) ||
	    set_words(&p->lines[s], &sample) < 0 || insert_line(p, s) < 0)
		return -1;
	return set_words(&p->lines[s + 1], &draft);
}

int
plandraft_embed(struct planfile *p, const char *option, const char *value)
{
	const char *name = stage_programs[STAGE_EMBED].name;
	struct words w = {.n = 0};
	int found = -1;

	for (int i = 0; i < p->nlines; i++)
		if (strcmp(name_of(&p->lines[i]), name) == 0) {
			if (found >= 0)
				return 0;
			found = i;
		}
	if (found < 0)
		return 0;
	for (int i = 0; i < p->lines[found].nwords; i++) {
		const char *word = p->lines[found].words[i];

		if (strncmp(word, option, strlen(option)) == 0 || strcmp(word, "--ring") == 0)
			return 0;
		add_word(&w, word);
	}
	add_word(&w, option);
	add_word(&w, value);
	return w.n > WORDS_MAX ? 0 : set_words(&p->lines[found], &w) < 0 ? -1 : 1;
}
