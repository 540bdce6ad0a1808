/*
 * Lines of text from a file, a pipe or a terminal, each at most `max` bytes long.
 *
 *	struct lines l;
 *	if (lines_open(&l, "-", 1 << 20) < 0) ...
 *	while ((r = lines_next(&l, 1, &line, &n)) != LINES_END) ...
 *	lines_close(&l);
 */
#ifndef DS_LINES_H
#define DS_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

enum {
	LINES_END = -2,         /* the end of the input */
	LINES_WAIT = 0,         /* no whole line yet; only without wait */
	LINES_LINE = 1,
	LINES_LONG = 2          /* a line of more than max bytes, which was dropped; a message */
};

struct lines {
	int fd;
	const char *name;       /* the path, or "standard input"; borrowed */
	uint64_t number;        /* of the last line, from 1 */
	size_t max;
	struct buf b;           /* bytes that were read */
	size_t at, seen;        /* start of the next line; bytes without its end */
	int dropping, ended;
};

/* Open a path, "-" for standard input. Returns 0, or -1 and a message. */
int lines_open(struct lines *l, const char *path, size_t max);

/*
 * The next line. Returns LINES_LINE, LINES_LONG, LINES_END, LINES_WAIT, or -1 and a message.
 * *line has *n bytes without the newline, then a NUL; it is valid until the next call. A last line
 * need not end in a newline. With wait 0, it never blocks: poll(l->fd) tells when to call again.
 */
int lines_next(struct lines *l, int wait, char **line, size_t *n);

void lines_close(struct lines *l);

#endif
