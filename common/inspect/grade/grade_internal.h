#ifndef DS_GRADE_INTERNAL_H
#define DS_GRADE_INTERNAL_H

#include "inspect/grade/grade.h"

/* A line, from the time it was read until it is written. */
struct grade_line {
	struct grade_line *next;
	char *text;             /* [n] */
	size_t n;
	const char *with;       /* the line of the second file, or NULL */
	double values[RULES];   /* by rule */
	char *error;            /* why it has no reward, or NULL */
	int done;
};

/* Apply all rules but RULE_COMMAND. a was read from x->text. Returns 0, or -1 and a message for
 * reward_error. */
int grade_rules(const struct grade *g, struct grade_line *x, const struct answer *a);

/* Append the line with its reward. Returns 0, or -1 and a message. */
int grade_print(struct grade *g, const struct grade_line *x);

#endif
