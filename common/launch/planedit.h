/*
 * Changes of the lines of a plan, before it is started.  Words of a line are not changed in place:
 * it gets a new list of them.
 */
#ifndef DS_PLANEDIT_H
#define DS_PLANEDIT_H

#include "launch/plan.h"
#include "launch/planfile.h"

struct line_words {
	char *p[WORDS_MAX + 1];
	int n;
};

/* The name of the program of a line, without its folder. */
const char *line_name(const struct plan_line *l);

/* The only line of a stage's program: its index, or -1 and a message, which begins with `who`. */
int planedit_find(const struct planfile *p, int stage, const char *who);

/* Append a word, which lives as long as the plan; all words of a line; an option of it with its
 * value, wherever it stands there. */
void line_add(struct line_words *w, const char *word);
void line_add_all(struct line_words *w, const struct plan_line *l);
void line_add_option(struct line_words *w, const struct plan_line *l, const char *option);

/* Split the words of a program: its outputs become those of another one, which reads `link` from
 * it.  --unsafe is for both. */
void line_split(const struct plan_line *l, const char *link, struct line_words *first,
    struct line_words *other);

/* Replace the words of a line.  Returns 0, or -1 and a message. */
int line_set(struct plan_line *l, const struct line_words *w, const char *who);

/* Insert a line of a stage's program after the one of that index, on its host.  Returns 0, or -1
 * and a message. */
int planedit_insert(struct planfile *p, int after, int stage);

#endif
