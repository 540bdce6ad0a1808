/*
 * Read untrusted JSON with cJSON and check it. The text must be valid UTF-8 and end after the
 * value. Messages name the key and the value; callers add the file name with fail_in().
 *
 *	cJSON *o = json_load(path, 1 << 20);
 *	if (!o || json_int(o, "hidden_size", JSON_REQUIRED, 1, 1 << 20, &n) < 0)
 *		...
 *	cJSON_Delete(o);
 *
 * Walk arrays and objects with cJSON's macro cJSON_ArrayForEach.
 */
#ifndef DS_JSON_H
#define DS_JSON_H

#include <stddef.h>
#include <stdint.h>

#include <cJSON.h>

#include "base/mem.h"

/* Parse a file of at most max bytes. Returns the value, which the caller frees with
 * cJSON_Delete, or NULL and a message with the path and the position of the first wrong byte. */
cJSON *json_load(const char *path, size_t max);

/* Parse n bytes of text in memory; text[n] must be 0. */
cJSON *json_parse(const char *text, size_t n);

/* The functions below return 1 and set *out if the key is present. If it is missing or null they
 * return 0 and leave *out alone, or fail with JSON_REQUIRED. A wrong type, a value out of range
 * and a duplicate key are errors: -1 and a message (FAIL_DATA). Strings and values belong to o. */
enum json_presence { JSON_OPTIONAL, JSON_REQUIRED };

int json_get(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out);
int json_int(const cJSON *o, const char *key, enum json_presence presence, int min, int max, int *out);
int json_number(const cJSON *o, const char *key, enum json_presence presence, double min, double max, double *out);
int json_bool(const cJSON *o, const char *key, enum json_presence presence, int *out);
int json_string(const cJSON *o, const char *key, enum json_presence presence, const char **out);
int json_object(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out);
int json_array(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out);

/* A string that must be one of names, a list ended by NULL; *out is its index. */
int json_choice(const cJSON *o, const char *key, enum json_presence presence, const char *const *names, int *out);

/* An integer in 0..max, max at most 2^53. Returns 0, or -1 without a message. */
int json_whole(const cJSON *v, uint64_t max, uint64_t *out);

/* Check that an object of any size has no duplicate key. Returns 0, or -1 and a message. */
int json_unique(const cJSON *o);

/* The text of a value as it stands in the file, without white space around it: numbers keep all
 * their digits. text is an object that json_parse() accepted; a key with escapes is not found. Of
 * equal keys the first one counts. Returns NULL if the key is missing, without a message. */
const char *json_raw(const char *text, const char *key, size_t *n);

/* Append n bytes of UTF-8 as a JSON string in quotes. Returns 0, or -1 and a message. */
int json_quote(struct buf *to, const char *text, size_t n);

/* Append a key's value, a string or a number, as JSON: equal values are equal bytes, and numbers
 * keep all their digits. text is what o was parsed from. Returns 1, 0 if the key is missing or
 * null, or -1 and a message. */
int json_name(const cJSON *o, const char *text, const char *key, struct buf *to);

/* State of json_scan; all 0 for a new value. */
struct json_scan {
	size_t at;
	int depth, quoted, escaped;
};

/* Find the end of the first array or object in the n bytes received so far; white space may
 * precede it. Returns the length up to its end, 0 if more bytes are needed, or -1 and a message.
 * Bytes that were scanned are not scanned again. */
ptrdiff_t json_scan(struct json_scan *s, const char *p, size_t n);

#endif
