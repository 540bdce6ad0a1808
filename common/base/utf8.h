/*
 * UTF-8 that need not be well-formed.
 */
#ifndef DS_UTF8_H
#define DS_UTF8_H

#include <stddef.h>

#include "base/mem.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd"         /* U+FFFD */

enum utf8 {
	UTF8_CHAR,      /* a character */
	UTF8_BAD,       /* no character can begin so: the maximal ill-formed part */
	UTF8_SHORT      /* the beginning of one, and the bytes end */
};

/* What the n bytes at p, at least one, begin with, and in *len how many bytes that is. */
enum utf8 utf8_next(const unsigned char *p, size_t n, size_t *len);

/* Append n bytes, each maximal ill-formed part as U+FFFD, as Unicode recommends and
 * Rust and Python do.  0, or -1 and a message. */
int utf8_clean(struct buf *to, const void *p, size_t n);

#endif
