/*
 * The name maps of named.h.
 */
#ifndef DS_NAMES_H
#define DS_NAMES_H

#include "inspect/rows.h"

struct names {
	const char *path;       /* the user's file, or NULL */
	struct buf own;         /* text of that file */
	char *fits;             /* [lines + 1] by line, from 1: 1 if a name matched */
	int lines;
};

/* Read a map file and check each line; NULL: built-in names only. Returns 0, or -1 and a
 * message. */
int names_open(struct names *n, const char *path);

/* Find the group of a tensor with that name: 1, 0 if no line matches, or -1 and a message. *line
 * is the line of the user's file that matched, from 1; 0: built in. */
int names_find(struct names *n, struct groups *g, const char *name, struct group **out, int *line);

/* Call after all names were looked up. Returns 0, or -1 and a message with a line of the user's
 * that matched none. */
int names_check(const struct names *n, const char *file);

void names_close(struct names *n);

#endif
