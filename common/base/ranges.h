/*
 * Lists of numbers on command lines: layers, sequences, positions, columns, experts, heads.
 */
#ifndef DS_RANGES_H
#define DS_RANGES_H

#include <stddef.h>
#include <stdint.h>

#define RANGES_SYNTAX "3, 0-20, 0-2,5 or 10-"   /* syntax, for help and messages */

/* "10-" is 10 and everything above. */
struct ranges {
	struct range { uint64_t from, to; } *r;
	size_t n, cap;                  /* n 0: every number */
};

/* Append the numbers listed in text. Returns 0, or -1 and a message (FAIL_USAGE) that names the
 * option. ranges_has returns 1 if n is listed. */
int ranges_parse(struct ranges *r, const char *option, const char *text);
int ranges_has(const struct ranges *r, uint64_t n);
void ranges_free(struct ranges *r);

#endif
