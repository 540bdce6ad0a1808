/*
 * Lines of words, as plans have them (planfile.h), and what ds-run and its agents tell each other (agent.h).
 */
#ifndef DS_WORDS_H
#define DS_WORDS_H

#include "base/mem.h"

/*
 * Split a line in place: words end at blanks; '...' is taken literally, a backslash outside of it
 * makes the next character so, as in sh and as script_quote writes them.  Their number, or -1 and
 * a message (FAIL_DATA): more than max, a quote that is not closed.
 */
int words_split(char *line, char **words, int max);

/*
 * Append a word in which {NAME} has been replaced by value(arg, NAME, its length); where that is NULL, it stays as it
 * is.  0, or -1 and a message.
 */
int words_fill(struct buf *to, const char *word, const char *(*value)(void *arg, const char *name, size_t n), void *arg);

/* Take the next line, without its newline, off the front of what has come: 1 and its text, to be freed; 0 where
 * none is whole; -1 and a message. */
int words_line(struct buf *got, char **line);

#endif
