#include "launch/planlearn.h"

#include <string.h>

#include "launch/planedit.h"
#include "stage/stages.h"

#define LINK "ipc://{run}/loss"
#define WHO "--plan"

/* 1 if the line is a stage with weights, from ds-embed to ds-head. */
static int
learns(const struct plan_line *l)
{
	for (int i = STAGE_EMBED; i <= STAGE_HEAD; i++)
		if (strcmp(line_name(l), stage_programs[i].name) == 0)
			return 1;
	return 0;
}

static int
set_learning(struct plan_line *l, const char *state)
{
	struct line_words w = {.n = 0};

	line_add_all(&w, l);
	line_add(&w, "--learn");
	if (state) {
		line_add(&w, "--state");
		line_add(&w, state);
	}
	return line_set(l, &w, WHO);
}

static int
add_loss(struct planfile *p)
{
	static const char *const of_head[] = {"-m", "-t", "--key", "--peers"};
	struct line_words head = {.n = 0}, loss = {.n = 0};
	int h = planedit_find(p, STAGE_HEAD, WHO);

	if (h < 0)
		return -1;
	line_add(&loss, stage_programs[STAGE_LOSS].name);
	for (int i = 0; i < 4; i++)
		line_add_option(&loss, &p->lines[h], of_head[i]);
	line_add(&loss, "-q");
	line_add(&loss, "-i");
	line_add(&loss, "@" LINK);
	line_split(&p->lines[h], LINK, &head, &loss);
	if (line_set(&p->lines[h], &head, WHO) < 0 || planedit_insert(p, h, STAGE_LOSS) < 0)
		return -1;
	return line_set(&p->lines[h + 1], &loss, WHO);
}

int
planlearn(struct planfile *p, const char *state)
{
	int has_loss = 0;

	for (int i = 0; i < p->nlines; i++) {
		has_loss |= strcmp(line_name(&p->lines[i]), stage_programs[STAGE_LOSS].name) == 0;
		if (learns(&p->lines[i]) && set_learning(&p->lines[i], state) < 0)
			return -1;
	}
	return has_loss ? 0 : add_loss(p);
}
