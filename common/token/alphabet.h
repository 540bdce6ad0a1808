/*
 * GPT-2's alphabet, in which byte-level tokens are spelled: one character for each byte.
 */
#ifndef DS_ALPHABET_H
#define DS_ALPHABET_H

#include <stddef.h>

/* Decode the spelling s of n bytes of UTF-8 into `to`, which needs no more bytes. Returns their
 * number, or -1 for any other character. If space is not NULL, one blank is allowed and *space,
 * which must be SIZE_MAX, is set to its position. */
ptrdiff_t alphabet_bytes(char *to, const char *s, size_t n, size_t *space);

/* Encode n bytes into `to`, which needs twice as many. Returns the length of the spelling. */
size_t alphabet_spell(char *to, const char *bytes, size_t n);

#endif
