/*
 * Keys unknown to the format of this version: find, drop and set one; append to arrays that grow on
 * the way, such as trace and edits.
 */
#include <msgpack.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame.h"
#include "frame/frame_internal.h"

/* The elements of a msgpack array, and the bytes in front of the first; -1 where it is none.  */
static int64_t
array_count(const unsigned char *p, size_t *head)
{
	*head = p[0] == 0xdd ? 5 : p[0] == 0xdc ? 3 : 1;
	if (p[0] == 0xdd)
		return (int64_t)p[1] << 24 | p[2] << 16 | p[3] << 8 | p[4];
	if (p[0] == 0xdc)
		return p[1] << 8 | p[2];
	return p[0] >> 4 == 9 ? p[0] & 15 : -1;
}

static struct frame_key *
find_key(struct frame *f, const char *key)
{
	size_t n = strlen(key);

	for (int i = 0; i < f->nothers; i++)
		if (f->others[i].nkey == n + 1 && memcmp(f->others[i].key + 1, key, n) == 0)
			return &f->others[i];
	return NULL;
}

const struct frame_key *
frame_other(const struct frame *f, const char *key)
{
	return find_key((struct frame *)(uintptr_t)f, key);
}

void
frame_drop_other(struct frame *f, const char *key)
{
	struct frame_key *k = find_key(f, key);

	if (!k)
		return;
	f->nothers--;
	memmove(k, k + 1, (size_t)(&f->others[f->nothers] - k) * sizeof(*k));
	f->changed = 1;
}

static int
add_key(struct frame *f, const char *key, const void *value, size_t n)
{
	unsigned char name[32];
	struct frame_key one = {name, value, strlen(key) + 1, n};
	struct frame from = {.others = &one, .nothers = 1};

	name[0] = (unsigned char)(0xa0 | strlen(key));
	memcpy(name + 1, key, strlen(key));
	return frame_add_others(f, &from);
}

int
frame_set_other(struct frame *f, const char *key, const void *value, size_t n)
{
	frame_drop_other(f, key);
	return add_key(f, key, value, n);
}

/* The key with an empty array, if it is not there.  */
static struct frame_key *
ensure_key(struct frame *f, const char *key)
{
	struct frame_key *k = find_key(f, key);

	if (k)
		return k;
	return add_key(f, key, "\x90", 1) < 0 ? NULL : find_key(f, key);
}

int
frame_append(struct frame *f, const char *key, const void *element, size_t n)
{
	struct frame_key *k = ensure_key(f, key);
	msgpack_sbuffer b;
	msgpack_packer p;
	size_t head;
	int64_t count = k ? array_count(k->value, &head) : 0;

	if (count < 0)
		return fail(FAIL_DATA, "header: '%s' is not an array", key);
	if (!k)
		return -1;
	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&p, &b, msgpack_sbuffer_write);
	msgpack_pack_array(&p, (size_t)count + 1);
	msgpack_sbuffer_write(&b, (const char *)k->value + head, k->nvalue - head);
	msgpack_sbuffer_write(&b, element, n);
	k->value = frame_keep(f, b.data, b.size);
	k->nvalue = b.size;
	msgpack_sbuffer_destroy(&b);
	f->changed = 1;
	return k->value ? 0 : -1;
}

/* --- two arrays --- */

/* The next element of the array under the key, *at bytes from its start; NULL after the last.  */
static const unsigned char *
next_element(const struct frame_key *k, size_t *at, size_t *n)
{
	msgpack_unpacked u;
	size_t from;
	int r;

	if (*at == 0)
		*at = k->value[0] == 0xdd ? 5 : k->value[0] == 0xdc ? 3 : 1;
	from = *at;
	msgpack_unpacked_init(&u);
	r = from < k->nvalue ? msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, at) : 0;
	msgpack_unpacked_destroy(&u);
	*n = *at - from;
	return r == MSGPACK_UNPACK_SUCCESS ? k->value + from : NULL;
}

static int
has_element(const struct frame_key *k, const unsigned char *p, size_t n)
{
	const unsigned char *q;

	for (size_t at = 0, m; (q = next_element(k, &at, &m)); )
		if (m == n && memcmp(p, q, n) == 0)
			return 1;
	return 0;
}

int
frame_unite(struct frame *to, const struct frame *from, const char *key)
{
	const struct frame_key *k = frame_other(from, key), *has;
	const unsigned char *p;
	size_t head;

	if (k && array_count(k->value, &head) < 0)
		return fail(FAIL_DATA, "header: '%s' is not an array", key);
	for (size_t at = 0, n; k && (p = next_element(k, &at, &n)); ) {
		has = frame_other(to, key);
		if (!(has && has_element(has, p, n)) && frame_append(to, key, p, n) < 0)
			return -1;
	}
	return 0;
}
