/*
 * A hash table from byte strings to pointers. Keys are borrowed: their bytes must stay alive and
 * unchanged until they are removed. Initialise with {0}.
 *
 *	struct table t = {0};
 *	table_put(&t, "name", 4, value);        value is not NULL
 */
#ifndef DS_TABLE_H
#define DS_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_slot {
	const void *key;
	uint32_t len, hash;
	void *value;            /* NULL: empty slot */
};

struct table {
	struct table_slot *slots;
	size_t cap, n;          /* cap is 0 or a power of two */
};

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);    /* FNV-1a, 64 bits */

/* room for n entries in all; 0, or -1 and a message */
int table_reserve(struct table *t, size_t n);
void *table_get(const struct table *t, const void *key, size_t len);    /* or NULL */
/* replaces; 0, or -1 and a message */
int table_put(struct table *t, const void *key, size_t len, void *value);
void *table_del(struct table *t, const void *key, size_t len);  /* returns the value, or NULL */
void table_free(struct table *t);               /* values are not freed */

/* for (s = NULL; (s = table_next(&t, s)); ) ... s->value; do not put or delete inside */
struct table_slot *table_next(const struct table *t, const struct table_slot *s);

#endif
