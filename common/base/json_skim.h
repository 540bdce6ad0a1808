/*
 * Steps through JSON text in place, for large files that are regular: no memory, no tree. Each
 * returns 1, or 0 without a message for anything unusual. Then json_parse() reads the text, and
 * reports what is wrong with it.
 */
#ifndef DS_JSON_SKIM_H
#define DS_JSON_SKIM_H

#include <stddef.h>
#include <stdint.h>

struct json_skim {
	const char *p, *end;
};

void skim_space(struct json_skim *s);

/* White space and then c. If another character is there, only the space is skipped. */
int skim_char(struct json_skim *s, char c);

/* White space and a string, whose n bytes between the quotes are at *from: escapes are not
 * resolved, and UTF-8 is not checked. */
int skim_string(struct json_skim *s, const char **from, size_t *n, int *escaped);

/* White space and an integer of at most 15 digits, which every double keeps. */
int skim_whole(struct json_skim *s, uint64_t *out);

#endif
