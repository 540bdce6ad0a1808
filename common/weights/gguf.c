#include "weights/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/mem.h"
#include "weights/gguf_format.h"

#define NAME_MAX_BYTES 65535            /* of a key, as in the format; of a name, too */
#define ALIGNMENT 32                    /* where general.alignment is missing */
#define VALUE_MIN 14                    /* bytes of the shortest pair: lengths, types, one letter */
#define TENSOR_MIN 33                   /* bytes of the shortest info */

static const char magic[4] = "GGUF", alignment_key[] = "general.alignment";
static const unsigned char sizes[GGUF_TYPES] = {
	[GGUF_UINT8] = 1, [GGUF_INT8] = 1, [GGUF_UINT16] = 2, [GGUF_INT16] = 2, [GGUF_UINT32] = 4,
	[GGUF_INT32] = 4, [GGUF_FLOAT32] = 4, [GGUF_BOOL] = 1, [GGUF_UINT64] = 8, [GGUF_INT64] = 8,
	[GGUF_FLOAT64] = 8
};

/* --- bytes of the header --- */

struct cursor {
	const unsigned char *p, *end;
};

static size_t
left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

static int
read_bytes(struct cursor *c, void *to, size_t n)
{
	if (left(c) < n)
		return fail(FAIL_DATA, "the file ends within its header");
	memcpy(to, c->p, n);
	c->p += n;
	return 0;
}

/* A length and so many bytes. */
static int
read_string(struct cursor *c, const unsigned char **p, uint64_t *n)
{
	if (read_bytes(c, n, sizeof(*n)) < 0)
		return -1;
	if (*n > left(c))
		return fail(FAIL_DATA, "a string of %llu bytes, but the file ends after %zu",
		    (unsigned long long)*n, left(c));
	*p = c->p;
	c->p += *n;
	return 0;
}

/* A key or a name, copied. */
static int
read_name(struct cursor *c, char **name)
{
	const unsigned char *p;
	uint64_t n;

	if (read_string(c, &p, &n) < 0)
		return -1;
	if (n == 0 || n > NAME_MAX_BYTES || memchr(p, 0, (size_t)n))
		return fail(FAIL_DATA, "must have 1 to %d bytes, none of them 0", NAME_MAX_BYTES);
	*name = strndup((const char *)p, (size_t)n);
	return *name ? 0 : fail(FAIL_SYSTEM, "no memory for a name");
}

/* --- metadata --- */

static int
skip_strings(struct cursor *c, uint64_t count)
{
	const unsigned char *p;
	uint64_t n;

	for (uint64_t i = 0; i < count; i++)
		if (read_string(c, &p, &n) < 0)
			return fail_in("element %llu", (unsigned long long)i);
	return 0;
}

static int
read_array(struct cursor *c, struct gguf_value *v)
{
	uint32_t of;

	v->array = 1;
	if (read_bytes(c, &of, sizeof(of)) < 0 || read_bytes(c, &v->n, sizeof(v->n)) < 0)
		return -1;
	if (of == GGUF_ARRAY)
		return fail(FAIL_DATA, "an array of arrays, which is not supported");
	if (of >= GGUF_TYPES)
		return fail(FAIL_DATA, "an array of type %u, which is not known", of);
	v->type = (enum gguf_type)of;
	v->p = c->p;
	/* a string has eight bytes or more */
	if (v->n > left(c) / (of == GGUF_STRING ? 8 : sizes[of]))
		return fail(FAIL_DATA, "an array of %llu elements, more than the file has",
		    (unsigned long long)v->n);
	if (of == GGUF_STRING)
		return skip_strings(c, v->n);
	c->p += v->n * sizes[of];
	return 0;
}

static int
read_value(struct cursor *c, struct gguf_value *v)
{
	uint32_t type;

	if (read_bytes(c, &type, sizeof(type)) < 0)
		return -1;
	if (type == GGUF_ARRAY)
		return read_array(c, v);
	if (type >= GGUF_TYPES)
		return fail(FAIL_DATA, "type %u is not known", type);
	v->type = (enum gguf_type)type;
	if (type == GGUF_STRING)
		return read_string(c, &v->p, &v->n);
	v->n = 1;
	v->p = c->p;
	if (left(c) < sizes[type])
		return fail(FAIL_DATA, "the file ends within its header");
	if (type == GGUF_BOOL && *v->p > 1)
		return fail(FAIL_DATA, "a truth value of %d, must be 0 or 1", *v->p);
	c->p += sizes[type];
	return 0;
}

static int
read_values(struct gguf *g, struct cursor *c, uint64_t n)
{
	if (!(g->values = mem_new((size_t)n, sizeof(*g->values))) ||
	    table_reserve(&g->keys, (size_t)n) < 0)
		return -1;
	for (uint64_t i = 0; i < n; i++) {
		struct gguf_value *v = &g->values[i];

		v->begin = c->p;
		if (read_name(c, &v->key) < 0)
			return fail_in("key %llu of %llu", (unsigned long long)i + 1,
			    (unsigned long long)n);
		g->nvalues++;
		if (table_get(&g->keys, v->key, strlen(v->key)))
			return fail(FAIL_DATA, "key '%.200s' appears twice", v->key);
		if (read_value(c, v) < 0)
			return fail_in("key '%.200s'", v->key);
		v->end = c->p;
		if (table_put(&g->keys, v->key, strlen(v->key), v) < 0)
			return -1;
	}
	return 0;
}

static int
read_alignment(struct gguf *g)
{
	const struct gguf_value *v = gguf_find(g, alignment_key);
	uint32_t n = ALIGNMENT;

	if (v && (v->array || v->type != GGUF_UINT32))
		return fail(FAIL_DATA, "%s is not of type UINT32", alignment_key);
	if (v)
		memcpy(&n, v->p, sizeof(n));
	if (n == 0 || (n & (n - 1)) != 0)
		return fail(FAIL_DATA, "%s is %u, must be a power of two", alignment_key, n);
	g->alignment = n;
	return 0;
}

/* --- infos of tensors --- */

static int
read_dims(struct cursor *c, struct gguf_tensor *t)
{
	uint32_t rank;

	if (read_bytes(c, &rank, sizeof(rank)) < 0)
		return -1;
	if (rank < 1 || rank > GGUF_RANK_MAX)
		return fail(FAIL_DATA, "%u dimensions, must be 1 to %d", rank, GGUF_RANK_MAX);
	t->rank = (int)rank;
	for (int i = 0; i < t->rank; i++) {
		if (read_bytes(c, &t->dims[i], sizeof(t->dims[i])) < 0)
			return -1;
		if (t->dims[i] == 0 || t->dims[i] > INT64_MAX)
			return fail(FAIL_DATA, "dimension %d is %llu", i,
			    (unsigned long long)t->dims[i]);
	}
	return 0;
}

/* Bytes of the tensor, by its format. */
static int
size_of(const struct gguf_tensor *t, uint64_t *bytes)
{
	if (t->dims[0] % (uint64_t)t->format->block)
		return fail(FAIL_DATA, "%s with rows of %llu numbers, must be a multiple of %d",
		    t->format->name, (unsigned long long)t->dims[0], t->format->block);
	if (gguf_format_bytes(t->format, t->dims[0], bytes) == 0) {
		int i = 1;

		while (i < t->rank && !__builtin_mul_overflow(*bytes, t->dims[i], bytes))
			i++;
		if (i == t->rank && *bytes <= INT64_MAX)
			return 0;
	}
	return fail(FAIL_DATA, "its dimensions have more bytes than a number of 63 bits");
}

/* Its offset in t->begin, and its bytes in t->end. */
static int
read_tensor(struct gguf *g, struct cursor *c, struct gguf_tensor *t)
{
	uint32_t type;

	if (read_dims(c, t) < 0 || read_bytes(c, &type, sizeof(type)) < 0 ||
	    read_bytes(c, &t->begin, sizeof(t->begin)) < 0)
		return -1;
	if (!(t->format = gguf_format(type)))
		return fail(FAIL_DATA, "type %u is not known", type);
	if (t->begin % g->alignment)
		return fail(FAIL_DATA, "its offset, %llu, is no multiple of the alignment, %llu",
		    (unsigned long long)t->begin, (unsigned long long)g->alignment);
	return size_of(t, &t->end);
}

static int
read_tensors(struct gguf *g, struct cursor *c, uint64_t n)
{
	if (!(g->tensors = mem_new((size_t)n, sizeof(*g->tensors))))
		return -1;
	for (uint64_t i = 0; i < n; i++) {
		struct gguf_tensor *t = &g->tensors[i];

		if (read_name(c, &t->name) < 0)
			return fail_in("name of tensor %llu of %llu", (unsigned long long)i + 1,
			    (unsigned long long)n);
		g->ntensors++;
		if (read_tensor(g, c, t) < 0)
			return fail_in("tensor '%.200s'", t->name);
	}
	return 0;
}

static int
by_begin(const void *a, const void *b)
{
	const struct gguf_tensor *s = a, *t = b;

	return s->begin < t->begin ? -1 : s->begin > t->begin;
}

/* Offsets count from `data`; from here on from the begin of the file. */
static int
check_extents(struct gguf *g, uint64_t data, size_t n)
{
	for (struct gguf_tensor *t = g->tensors; t < g->tensors + g->ntensors; t++) {
		uint64_t bytes = t->end;

		if (__builtin_add_overflow(t->begin, data, &t->begin) ||
		    __builtin_add_overflow(t->begin, bytes, &t->end) || t->end > n)
			return fail(FAIL_DATA, "tensor '%.200s': %llu bytes from byte %llu on, but "
			    "the file has %zu", t->name, (unsigned long long)bytes,
			    (unsigned long long)t->begin, n);
	}
	if (g->ntensors > 0)
		qsort(g->tensors, g->ntensors, sizeof(*g->tensors), by_begin);
	for (size_t i = 1; i < g->ntensors; i++)
		if (g->tensors[i].begin < g->tensors[i - 1].end)
			return fail(FAIL_DATA, "tensors '%.200s' and '%.200s' overlap",
			    g->tensors[i - 1].name, g->tensors[i].name);
	return 0;
}

static int
list_names(struct gguf *g)
{
	if (table_reserve(&g->names, g->ntensors) < 0)
		return -1;
	for (struct gguf_tensor *t = g->tensors; t < g->tensors + g->ntensors; t++) {
		if (gguf_tensor(g, t->name))
			return fail(FAIL_DATA, "tensor '%.200s' appears twice", t->name);
		if (table_put(&g->names, t->name, strlen(t->name), t) < 0)
			return -1;
	}
	return 0;
}

/* --- the file --- */

static int
read_version(struct gguf *g, struct cursor *c)
{
	char start[sizeof(magic)];
	uint32_t version;

	if (read_bytes(c, start, sizeof(start)) < 0)
		return -1;
	if (memcmp(start, magic, sizeof(magic)) != 0)
		return fail(FAIL_DATA, "not a GGUF file: its first bytes are not 'GGUF'");
	if (read_bytes(c, &version, sizeof(version)) < 0)
		return -1;
	if (version != 0 && (version & 0xffff) == 0)
		return fail(FAIL_DATA, "a big-endian GGUF file, which is not supported");
	if (version < 2 || version > 3)
		return fail(FAIL_DATA, "GGUF version %u is not supported, only 2 and 3", version);
	g->version = (int)version;
	return 0;
}

static int
read_header(struct gguf *g, const struct file_map *map)
{
	struct cursor c = {.p = map->p, .end = map->p + map->n};
	uint64_t tensors, values, at;

	if (read_version(g, &c) < 0 || read_bytes(&c, &tensors, sizeof(tensors)) < 0 ||
	    read_bytes(&c, &values, sizeof(values)) < 0)
		return -1;
	if (values > left(&c) / VALUE_MIN || tensors > left(&c) / TENSOR_MIN)
		return fail(FAIL_DATA, "its header claims %llu keys and %llu tensors, more than "
		    "%zu bytes have", (unsigned long long)values, (unsigned long long)tensors,
		    map->n);
	if (read_values(g, &c, values) < 0 || read_alignment(g) < 0 ||
	    read_tensors(g, &c, tensors) < 0)
		return -1;
	at = (uint64_t)(c.p - map->p);
	if (check_extents(g, (at + g->alignment - 1) & ~(g->alignment - 1), map->n) < 0)
		return -1;
	return list_names(g);
}

int
gguf_is(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

int
gguf_begins(const struct file_map *map)
{
	return map->n >= sizeof(magic) && memcmp(map->p, magic, sizeof(magic)) == 0;
}

int
gguf_read(struct gguf *g, const struct file_map *map)
{
	if (read_header(g, map) == 0)
		return 0;
	gguf_close(g);
	return -1;
}

int
gguf_open(struct gguf *g, const char *path)
{
	if (file_map(&g->map, path) < 0)
		return -1;
	if (read_header(g, &g->map) == 0)
		return 0;
	fail_in("'%s'", path);
	gguf_close(g);
	return -1;
}

void
gguf_close(struct gguf *g)
{
	for (size_t i = 0; i < g->nvalues; i++)
		free(g->values[i].key);
	for (size_t i = 0; i < g->ntensors; i++)
		free(g->tensors[i].name);
	file_unmap(&g->map);
	table_free(&g->keys);
	table_free(&g->names);
	free(g->values);
	free(g->tensors);
	memset(g, 0, sizeof(*g));
}

const struct gguf_value *
gguf_find(const struct gguf *g, const char *key)
{
	return table_get(&g->keys, key, strlen(key));
}

struct gguf_tensor *
gguf_tensor(const struct gguf *g, const char *name)
{
	return table_get(&g->names, name, strlen(name));
}

const char *
gguf_tensor_describe(const struct gguf_tensor *t, char *to, size_t size)
{
	size_t n = (size_t)snprintf(to, size, "%s [", t->format->name);

	for (int i = t->rank; i-- > 0 && n < size; )
		n += (size_t)snprintf(to + n, size - n, "%llu%s", (unsigned long long)t->dims[i],
		    i ? ", " : "]");
	return to;
}
