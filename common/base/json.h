/*
 * JSON from outside, read with cJSON and checked.  Only whole, valid UTF-8 text
 * with nothing behind the value is taken.  Messages name the key and the value;
 * callers put the file's name in front with fail_in().
 *
 *	cJSON *o = json_load(path, 1 << 20);
 *	if (!o || json_int(o, "hidden_size", JSON_REQUIRED, 1, 1 << 20, &n) < 0)
 *		...
 *	cJSON_Delete(o);
 *
 * Arrays and objects are walked with cJSON's own macro, cJSON_ArrayForEach.
 */
#ifndef DS_JSON_H
#define DS_JSON_H

#include <stddef.h>
#include <stdint.h>

#include <cJSON.h>

#include "base/mem.h"

/* The value in a file of at most max bytes; NULL and a message that names the
 * file, and the byte where the text is wrong. */
cJSON *json_load(const char *path, size_t max);

/* The same for text in memory, n bytes; text[n] must be readable and 0. */
cJSON *json_parse(const char *text, size_t n);

/* For what follows, a key that is missing or null leaves *out as it is (its
 * default): 0, or with JSON_REQUIRED an error.  A value of the wrong type or out of
 * range, or a key that is there twice, is an error: -1 and a message (FAIL_DATA).
 * 1: *out was set. */
enum json_presence { JSON_OPTIONAL, JSON_REQUIRED };

int json_get(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out);
int json_int(const cJSON *o, const char *key, enum json_presence presence, int min, int max, int *out);
int json_number(const cJSON *o, const char *key, enum json_presence presence, double min, double max, double *out);
int json_bool(const cJSON *o, const char *key, enum json_presence presence, int *out);
int json_string(const cJSON *o, const char *key, enum json_presence presence, const char **out);
int json_object(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out);
int json_array(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out);

/* A string that must be one of names (NULL behind the last): its index. */
int json_choice(const cJSON *o, const char *key, enum json_presence presence, const char *const *names, int *out);

/* A value that is an integer in 0..max (at most 2^53): 0, or -1 without a message. */
int json_whole(const cJSON *v, uint64_t max, uint64_t *out);

/* 0, or -1 and a message where an object has a key twice; for any size of object. */
int json_unique(const cJSON *o);

/* Append n bytes, which are UTF-8, as a string.  0, or -1 and a message. */
int json_quote(struct buf *to, const char *text, size_t n);

/* Values one after another, as they come: how far the first one of them has been looked at. */
struct json_scan {
	size_t at;
	int depth, quoted, escaped;
};

/* The n bytes that have come so far begin with blanks and a value, an array or an object: the length of both; 0: more must
 * come; -1 and a message.  *s is all 0 for a new value; the bytes seen are not read again. */
ptrdiff_t json_scan(struct json_scan *s, const char *p, size_t n);

#endif
