#include "launch/plandraft.h"

#include <string.h>

#include "base/fail.h"
#include "launch/planedit.h"
#include "stage/stages.h"
#include "stage/tap.h"

#define LINK "ipc://{run}/draft"
#define WHO "--draft"

static void
begin_draft(struct line_words *w, const struct plan_line *sample, const struct plan_line *head,
    const char *kind)
{
	static const char *const of_sample[] = {"-m", "--key", "--peers"}, *const of_head[] = {"-t",
	    "-d", "--precision", "--manifest"};

	line_add(w, stage_programs[STAGE_DRAFT].name);
	for (int i = 0; i < 3; i++)
		line_add_option(w, sample, of_sample[i]);
	for (int i = 0; i < 4; i++)
		line_add_option(w, head, of_head[i]);
	line_add(w, "--by");
	line_add(w, kind);
	line_add(w, "-i");
	line_add(w, "@" LINK);
}

int
plandraft_add(struct planfile *p, const char *kind)
{
	struct line_words sample = {.n = 0}, draft = {.n = 0}, head = {.n = 0};
	int s = planedit_find(p, STAGE_SAMPLE, WHO);
	int h = s < 0 ? -1 : planedit_find(p, STAGE_HEAD, WHO);

	if (h < 0)
		return -1;
	for (int i = 0; i < p->nlines; i++)
		if (strcmp(line_name(&p->lines[i]), stage_programs[STAGE_DRAFT].name) == 0)
			return fail(FAIL_DATA, "--draft: the plan has ds-draft already");
	line_add_all(&head, &p->lines[h]);
	line_add(&head, "--tap");
	line_add(&head, TAP_HIDDEN);
	begin_draft(&draft, &p->lines[s], &p->lines[h], kind);
	line_split(&p->lines[s], LINK, &sample, &draft);
	line_add(&sample, "--draft");
	if ((strcmp(kind, "mtp") == 0 && line_set(&p->lines[h], &head, WHO) < 0) ||
	    line_set(&p->lines[s], &sample, WHO) < 0 || planedit_insert(p, s, STAGE_DRAFT) < 0)
		return -1;
	return line_set(&p->lines[s + 1], &draft, WHO);
}

int
plandraft_embed(struct planfile *p, const char *option, const char *value)
{
	const char *name = stage_programs[STAGE_EMBED].name;
	struct line_words w = {.n = 0};
	int found = -1;

	for (int i = 0; i < p->nlines; i++)
		if (strcmp(line_name(&p->lines[i]), name) == 0) {
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
		line_add(&w, word);
	}
	line_add(&w, option);
	line_add(&w, value);
	return w.n > WORDS_MAX ? 0 : line_set(&p->lines[found], &w, WHO) < 0 ? -1 : 1;
}
