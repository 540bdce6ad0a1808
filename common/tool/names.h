/*
 * The name maps of named.h.
 */
#ifndef DS_NAMES_H
#define DS_NAMES_H

#include "tool/rows.h"

struct names {
	struct buf own;         /* the text of the user's file */
};

/* Read a map's file and check each line; NULL: only what is built in.  0, or -1 and a message. */
int names_open(struct names *n, const char *path);

/* The group that a tensor of that name is of: 1; 0 the map has none; -1 and a message without memory. */
int names_find(const struct names *n, struct groups *g, const char *name, struct group **out);

void names_close(struct names *n);

#endif
