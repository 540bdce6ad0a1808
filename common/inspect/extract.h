/*
 * The final answer within a text, in a form in which equal answers are equal strings.
 */
#ifndef DS_EXTRACT_H
#define DS_EXTRACT_H

#include "base/mem.h"

struct extract_regex;

/* First a part of the text is selected: the first group of `regex` (the match, if it has no
 * group), the last \boxed{...}, or all. Then, with `number`, the last number in it. */
struct extract {
	int boxed, number;
	struct extract_regex *regex;    /* NULL: none */
};

/* Compile a regular expression in the syntax of pcre2pattern(3). Returns 0, or -1 and a message
 * (FAIL_USAGE). */
int extract_open(struct extract *e, const char *regex);
void extract_close(struct extract *e);  /* accepts a zeroed *e */

/* Append the answer in text (UTF-8) to `to`, without white space around it. Returns 1, 0 if there
 * is none, or -1 and a message (a regular expression that exceeds its limits). */
int extract_answer(const struct extract *e, const char *text, struct buf *to);

/* The same for the expected answer: if it has no match or no box, all of it is taken. */
int extract_expected(const struct extract *e, const char *text, struct buf *to);

/*
 * The functions below append to `to`. They return 1, 0 if nothing was found, or -1 and a message.
 *
 * extract_number: the last number of n bytes, in decimal, without separators and zeros that change
 * nothing: "1,702.0" is 1702, "1.5e3" is 1500. Fractions of integers are reduced: 2/6 is 1/3, and
 * 1/2, which ends, is 0.5.
 *
 * extract_boxed: the contents of the last \boxed{...} whose braces match.
 *
 * extract_latex: n bytes of LaTeX without what does not change their meaning: space, \left,
 * \right, \text, $, degrees, percent. What is left is written as by extract_number if it is one
 * number.
 */
int extract_number(const char *text, size_t n, struct buf *to);
int extract_boxed(const char *text, size_t n, struct buf *to);
int extract_latex(const char *text, size_t n, struct buf *to);

/* Like extract_number, if the n bytes are one number and nothing else. */
int extract_all_number(const char *text, size_t n, struct buf *to);

#endif
