/*
 * The name maps of named.h.
 */
#ifndef DS_NAMES_H
#define DS_NAMES_H

#include "inspect/rows.h"

struct names {
	const char *path;       /* of the user's file, or NULL */
	struct buf own;         /* its text */
	char *fits;             /* [lines + 1] by line, from 1: some name fitted it */
	int lines;
};

/* Read a map's file and check each line; NULL: only what is built in.  0, or -1 and a message. */
int names_open(struct names *n, const char *path);

/* The group that a tensor of that name is of: 1; 0 the map has none; -1 and a message without
 * memory.  *line: that of the user's file which says so, from 1; 0 where it is built in. */
int names_find(struct names *n, struct groups *g, const char *name, struct group **out, int *line);

/* Every name has been looked up: 0, or -1 and a message that names a line of the user's which fits
 * none. */
int names_check(const struct names *n, const char *file);

void names_close(struct names *n);

#endif
