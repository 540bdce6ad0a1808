/*
 * A hash table from byte strings to pointers.  Keys are borrowed: whoever
 * puts one keeps its bytes alive and unchanged until it is removed.
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
	void *value;            /* NULL: the slot is empty */
};

struct table {
	struct table_slot *slots;
	size_t cap, n;          /* cap is 0 or a power of two */
};

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);    /* FNV-1a, 64 bits */

int table_reserve(struct table *t, size_t n);   /* room for n in all; 0 or -1 */
void *table_get(const struct table *t, const void *key, size_t len);    /* or NULL */
int table_put(struct table *t, const void *key, size_t len, void *value);       /* replaces; 0 or -1 */
void *table_del(struct table *t, const void *key, size_t len);  /* what was there, or NULL */
void table_free(struct table *t);               /* not what the values point at */

/* for (s = NULL; (s = table_next(&t, s)); ) ... s->value; no put or del inside */
struct table_slot *table_next(const struct table *t, const struct table_slot *s);

#endif
