#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "launch/learn_internal.h"
#include "launch/plan_internal.h"

/* Words that this launch or that of supervise/learn.c adds to those of the driver, at most, and the
 * NULL after them. */
#define ADDED 16

int
learn_pass(struct learn_launch *l, const struct option *longs, int c, const char *arg)
{
	char *word = NULL;
	int r;

	while (longs && longs->name && longs->val != c)
		longs++;
	r = longs && longs->name ? asprintf(&word, "--%s", longs->name) :
	    asprintf(&word, "-%c", c);
	if (r < 0 || mem_grow(&l->memory, &l->memory_cap, l->nmemory + 1, sizeof(*l->memory)) < 0)
		return fail(FAIL_SYSTEM, "no memory for a command line");
	l->memory[l->nmemory++] = word;
	if (l->nwords + 2 + ADDED > WORDS_MAX)
		return fail(FAIL_USAGE, "the command line has more than %d words",
		    WORDS_MAX - ADDED);
	l->words[l->nwords++] = word;
	if (arg)
		l->words[l->nwords++] = arg;
	return 0;
}

void
learn_launch_free(struct learn_launch *l)
{
	for (size_t i = 0; i < l->nmemory; i++)
		free(l->memory[i]);
	free(l->memory);
	l->memory = NULL;
	l->nmemory = 0;
}

static void
add_driver(struct plan *p, const struct learn_launch *l, const struct learn_ends *e)
{
	struct command *t = plan_program(p, &l->plan, "ds-learn");

	for (int i = 0; i < l->nwords; i++)
		command_word(t, l->words[i]);
	command_option(t, "--feed", e->feed);
	command_option(t, "--back", e->back_in);
}

static void
add_stages(struct plan *p, const struct learn_launch *l, const struct learn_ends *e)
{
	int first = p->n;
	struct command *embed = plan_program(p, &l->plan, stage_programs[STAGE_EMBED].name);

	command_option(embed, "-i", "-");
	command_option(embed, "-i", e->loop_in);
	if (l->samples)
		command_option(embed, "--batches", "auto");
	plan_layers(p, &l->plan);
	(void)plan_worker(p, &l->plan, STAGE_HEAD, -1);
	for (int i = first; i < p->n; i++) {
		command_word(&p->commands[i], "--learn");
		if (l->state)
			command_option(&p->commands[i], "--state", l->state);
		if (e->more)
			command_word(&p->commands[i], e->more);
	}
}

static void
add_end(struct plan *p, const struct learn_launch *l, const struct learn_ends *e)
{
	struct command *t = plan_worker(p, &l->plan, STAGE_LOSS, -1);

	command_word(t, "-q");          /* the driver prints what it reports */
	if (l->samples)
		t = plan_program(p, &l->plan, stage_programs[STAGE_SAMPLE].name);
	command_option(t, "-o", e->loop_out);
	command_option(t, "-o", e->back_out);
}

int
learn_plan(struct plan *p, const struct learn_launch *l, const struct learn_ends *e)
{
	if (plan_size(p, &l->plan) < 0)
		return -1;
	add_driver(p, l, e);
	add_stages(p, l, e);
	add_end(p, l, e);
	return 0;
}
