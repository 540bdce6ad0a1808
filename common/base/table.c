#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

uint64_t
hash_bytes(const void *p, size_t n, uint64_t seed)
{
	const unsigned char *s = p;
	uint64_t h = 0xcbf29ce484222325u ^ seed;

	for (size_t i = 0; i < n; i++)
		h = (h ^ s[i]) * 0x100000001b3u;
	return h;
}

static uint32_t
hash_key(const void *key, size_t len)
{
	uint64_t h = hash_bytes(key, len, 0);

	return (uint32_t)(h ^ h >> 32);
}

/* The slot that holds the key, or the empty slot where it belongs. */
static struct table_slot *
slot_of(const struct table *t, const void *key, size_t len, uint32_t hash)
{
	size_t i = hash & (t->cap - 1);

	for (;; i = (i + 1) & (t->cap - 1)) {
		struct table_slot *s = &t->slots[i];

		if (!s->value || (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0))
			return s;
	}
}

int
table_reserve(struct table *t, size_t n)
{
	struct table old = *t;
	size_t cap = old.cap ? old.cap : 16;

	while (cap / 4 * 3 <= n)
		cap *= 2;
	if (cap == old.cap)
		return 0;
	t->slots = mem_new(cap, sizeof(*t->slots));
	if (!t->slots) {
		*t = old;
		return -1;
	}
	t->cap = cap;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].value)
			*slot_of(t, old.slots[i].key, old.slots[i].len, old.slots[i].hash) = old.slots[i];
	free(old.slots);
	return 0;
}

void *
table_get(const struct table *t, const void *key, size_t len)
{
	return t->cap ? slot_of(t, key, len, hash_key(key, len))->value : NULL;
}

int
table_put(struct table *t, const void *key, size_t len, void *value)
{
	struct table_slot *s;
	uint32_t hash = hash_key(key, len);

	if (table_reserve(t, t->n + 1) < 0)
		return -1;
	s = slot_of(t, key, len, hash);
	t->n += !s->value;
	*s = (struct table_slot){key, (uint32_t)len, hash, value};
	return 0;
}

void *
table_del(struct table *t, const void *key, size_t len)
{
	struct table_slot *s = t->cap ? slot_of(t, key, len, hash_key(key, len)) : NULL;
	void *value = s ? s->value : NULL;
	size_t hole, i;

	if (!value)
		return NULL;
	s->value = NULL;
	t->n--;
	/* close the gap, so that no search ends early */
	hole = (size_t)(s - t->slots);
	for (i = (hole + 1) & (t->cap - 1); t->slots[i].value; i = (i + 1) & (t->cap - 1)) {
		size_t home = t->slots[i].hash & (t->cap - 1);

		if (((i - home) & (t->cap - 1)) >= ((i - hole) & (t->cap - 1))) {
			t->slots[hole] = t->slots[i];
			t->slots[i].value = NULL;
			hole = i;
		}
	}
	return value;
}

struct table_slot *
table_next(const struct table *t, const struct table_slot *s)
{
	size_t i = s ? (size_t)(s - t->slots) + 1 : 0;

	for (; i < t->cap; i++)
		if (t->slots[i].value)
			return &t->slots[i];
	return NULL;
}

void
table_free(struct table *t)
{
	free(t->slots);
	memset(t, 0, sizeof(*t));
}
