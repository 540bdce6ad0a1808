/*
 * Texts in msgpack objects: keys of maps, names.
 */
#ifndef DS_TEXT_H
#define DS_TEXT_H

#include <msgpack.h>
#include <string.h>

/* 1 if the object is a string with exactly the bytes of s. */
static inline int
is_text(const msgpack_object *o, const char *s)
{
	size_t n = strlen(s);

	/* an empty string may have no address */
	return o->type == MSGPACK_OBJECT_STR && o->via.str.size == n &&
	    (n == 0 || memcmp(o->via.str.ptr, s, n) == 0);
}

#endif
