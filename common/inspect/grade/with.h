/*
 * Lines of a second file, found by their id: request lines with what is expected.
 */
#ifndef DS_WITH_H
#define DS_WITH_H

#include "base/json.h"
#include "base/table.h"
#include "inspect/extract.h"

struct with_line {
	char *id;               /* JSON */
	char *text;             /* the line; NULL unless it is kept */
	char *expected;         /* what answers are compared with; NULL: nothing to compare */
	struct with_line *next;
};

struct with {
	struct table lines;     /* id -> struct with_line */
	struct with_line *all;
};

/* Read the file. A line without an id has its number, from 0. With `expect`, each line must have
 * this key. With `keep`, the lines are kept. Returns 0, or -1 and a message with the line;
 * with_free() in either case. */
int with_open(struct with *w, const char *path, const char *expect, int keep,
    const struct extract *e);
void with_free(struct with *w);

/* Append to `to` what an answer is compared with: the key of an object, a string, number or
 * boolean. line is the text that o was parsed from. Returns 1, 0 if it has nothing to compare, or
 * -1 and a message. */
int with_expected(const cJSON *o, const char *line, const char *key, const struct extract *e,
    struct buf *to);

#endif
