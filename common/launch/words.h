/*
 * Lines of words: in plan files (planfile.h), and between ds-run and its agents (agent.h).
 */
#ifndef DS_WORDS_H
#define DS_WORDS_H

#include "base/mem.h"

/*
 * Split a line in place. Words end at blanks; '...' is literal, and a backslash outside of it makes
 * the next character literal, as in sh and as script_quote writes them. Returns the number of
 * words, or -1 and a message (FAIL_DATA): more than max, or an unclosed quote.
 */
int words_split(char *line, char **words, int max);

/*
 * Append a word with {NAME} replaced by value(arg, NAME, length); if that is NULL, {NAME} remains.
 * Returns 0, or -1 and a message.
 */
int words_fill(struct buf *to, const char *word, const char *(*value)(void *arg, const char *name, size_t n), void *arg);

/* Remove the first line from `got`. Returns 1 and its text without newline, to be freed; 0 if
 * there is no complete line; or -1 and a message. */
int words_line(struct buf *got, char **line);

#endif
