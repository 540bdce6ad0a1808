/*
 * UTF-8 from untrusted input.
 */
#ifndef DS_UTF8_H
#define DS_UTF8_H

#include <stddef.h>

#include "base/mem.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd"         /* U+FFFD */

enum utf8 {
	UTF8_CHAR,      /* a well-formed character */
	UTF8_BAD,       /* the maximal ill-formed part */
	UTF8_SHORT      /* an incomplete character at the end */
};

/* Classify the start of the n >= 1 bytes at p; *len is the length of that part in bytes. */
enum utf8 utf8_next(const unsigned char *p, size_t n, size_t *len);

/* Append n bytes, each maximal ill-formed part replaced by U+FFFD, as Unicode recommends and
 * Rust and Python do. Returns 0, or -1 and a message. */
int utf8_clean(struct buf *to, const void *p, size_t n);

#endif
