#include "weights/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/json.h"
#include "base/mem.h"
#include "kernels.h"

#define HEADER_MAX 100000000            /* what the format's own library allows */
#define HOLE 65536                      /* zeros at the end that are looked into */
#define PROBE 256                       /* zeros that stand for more of them */
#define EDGE 16                         /* zeros at the end of a row that are no more than numbers */
#define WHOLE_MAX ((uint64_t)1 << 53)   /* the largest integer that JSON numbers keep exactly */

struct safetensors_copy {
	struct safetensors_copy *next;
	const struct safetensor *of;
	void *data;
};

/* The size that dtype and shape ask for; -1 where it has no number. */
static int
tensor_size(const struct safetensor *t, uint64_t *bytes)
{
	*bytes = dtype_size((enum dtype)t->dtype);
	for (int i = 0; i < t->rank; i++)
		if (t->shape[i] == 0) {
			*bytes = 0;
			return 0;
		}
	for (int i = 0; i < t->rank; i++)
		if (__builtin_mul_overflow(*bytes, t->shape[i], bytes))
			return -1;
	return 0;
}

static int
read_shape(struct safetensor *t, const cJSON *shape)
{
	const cJSON *v;

	cJSON_ArrayForEach(v, shape) {
		if (t->rank == TENSOR_RANK_MAX)
			return fail(FAIL_DATA, "more than %d dimensions", TENSOR_RANK_MAX);
		if (json_whole(v, WHOLE_MAX, &t->shape[t->rank++]) < 0)
			return fail(FAIL_DATA, "shape is not an array of sizes");
	}
	return 0;
}

/* One entry of the header; data is where the tensors begin in the file. */
static int
read_tensor(struct safetensor *t, const cJSON *o, uint64_t data)
{
	const cJSON *shape = NULL, *offsets = NULL;
	const char *dtype = NULL;
	uint64_t want;

	if (json_string(o, "dtype", JSON_REQUIRED, &dtype) < 0 || json_array(o, "shape", JSON_REQUIRED, &shape) < 0 ||
	    json_array(o, "data_offsets", JSON_REQUIRED, &offsets) < 0 || read_shape(t, shape) < 0)
		return -1;
	if (cJSON_GetArraySize(offsets) != 2 || json_whole(offsets->child, WHOLE_MAX, &t->begin) < 0 ||
	    json_whole(offsets->child->next, WHOLE_MAX, &t->end) < 0 || t->begin > t->end)
		return fail(FAIL_DATA, "data_offsets are not a begin and an end");
	snprintf(t->dtype_text, sizeof(t->dtype_text), "%s", dtype);
	t->dtype = dtype_parse(dtype, strlen(dtype));
	if (t->dtype >= 0 && (tensor_size(t, &want) < 0 || want != t->end - t->begin)) {
		char is[200];

		return fail(FAIL_DATA, "%s does not fill the %llu bytes of its data_offsets",
		    safetensor_describe(t, is, sizeof(is)), (unsigned long long)(t->end - t->begin));
	}
	t->begin += data;
	t->end += data;
	return 0;
}

static int
by_place(const void *a, const void *b)
{
	const struct safetensor *s = a, *t = b;

	if (s->begin != t->begin)
		return s->begin < t->begin ? -1 : 1;
	return s->end < t->end ? -1 : s->end > t->end;
}

/* Sorts the tensors; the file's end first, because a truncated file is the likely fault. */
static int
check_places(struct safetensors *s)
{
	const struct safetensor *last = NULL;
	uint64_t end = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->tensors[i].end > end)
			end = s->tensors[i].end;
	if (end > s->map.n)
		return fail(FAIL_DATA, "its header claims %llu bytes, the file has %zu", (unsigned long long)end, s->map.n);
	if (s->n > 0)
		qsort(s->tensors, s->n, sizeof(*s->tensors), by_place);
	for (struct safetensor *t = s->tensors; t < s->tensors + s->n; t++) {
		if (t->begin == t->end)
			continue;
		if (last && t->begin < last->end)
			return fail(FAIL_DATA, "tensors '%.200s' and '%.200s' overlap", last->name, t->name);
		last = t;
	}
	return 0;
}

static int
bytes_zero(const unsigned char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* The first byte of t from which on all is zeros, where its first is none and its last EDGE bytes are. */
static uint64_t
zeros_from(const unsigned char *p, const struct safetensor *t)
{
	uint64_t low = t->begin, high = t->end - EDGE;

	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2, n = t->end - mid < PROBE ? t->end - mid : PROBE;

		*(bytes_zero(p + mid, (size_t)n) ? &high : &low) = mid;
	}
	return high;
}

/*
 * A download that reserved the room for the whole file and did not finish leaves zeros at its end.  Tensors may be
 * zeros as a whole, and so may the last rows of one (padding): the fault are zeros that begin within a row.
 */
static int
check_end(const struct safetensors *s)
{
	const unsigned char *p = s->map.p;
	const struct safetensor *t = s->tensors + s->n;
	uint64_t end = 0, row, at;

	while (t-- > s->tensors) {
		uint64_t n = t->end - t->begin;

		if (n == 0)
			continue;
		if (end == 0 && (t->end - s->tensors->begin < HOLE || !bytes_zero(p + t->end - HOLE, HOLE)))
			return 0;
		end = end ? end : t->end;
		if (!bytes_zero(p + t->begin, n < PROBE ? (size_t)n : PROBE))
			break;
	}
	if (t < s->tensors || t->end - t->begin <= EDGE || !bytes_zero(p + t->end - EDGE, EDGE))
		return 0;
	at = zeros_from(p, t);
	row = t->rank > 1 ? (t->end - t->begin) / t->shape[0] : t->end - t->begin;
	if ((at - t->begin) % row == 0 || row - (at - t->begin) % row <= EDGE)
		return 0;
	return fail(FAIL_DATA, "zeros from byte %llu, within tensor '%.200s', to byte %llu, as after an unfinished download",
	    (unsigned long long)at, t->name, (unsigned long long)end);
}

static int
read_tensors(struct safetensors *s, const cJSON *header, uint64_t data)
{
	const cJSON *o;
	char *name = s->text;

	cJSON_ArrayForEach(o, header) {
		struct safetensor *t = &s->tensors[s->n];
		size_t n = strlen(o->string);

		if (strcmp(o->string, "__metadata__") == 0)
			continue;
		memcpy(name, o->string, n + 1);
		t->name = name;
		name += n + 1;
		s->n++;
		if (read_tensor(t, o, data) < 0)
			return fail_in("tensor '%.200s'", t->name);
	}
	if (check_places(s) < 0 || check_end(s) < 0 || table_reserve(&s->names, s->n) < 0)
		return -1;
	for (size_t i = 0; i < s->n; i++)
		if (table_put(&s->names, s->tensors[i].name, strlen(s->tensors[i].name), &s->tensors[i]) < 0)
			return -1;
	return 0;
}

static int
read_header(struct safetensors *s)
{
	uint64_t n;
	cJSON *header;
	int r = -1;

	if (s->map.n < sizeof(n))
		return fail(FAIL_DATA, "%zu bytes are too few for a safetensors file", s->map.n);
	memcpy(&n, s->map.p, sizeof(n));
	if (n == 0 && bytes_zero(s->map.p, s->map.n < HOLE ? s->map.n : HOLE))
		return fail(FAIL_DATA, "begins with zeros, as after an unfinished download");
	if (n > s->map.n - 8)
		return fail(FAIL_DATA, "its first bytes claim a header of %llu bytes, the file has %zu",
		    (unsigned long long)n, s->map.n);
	if (n > HEADER_MAX)
		return fail(FAIL_DATA, "its first bytes claim a header of %llu bytes, more than %d", (unsigned long long)n, HEADER_MAX);
	/* first the text of the header; then its names, which are shorter, as they stand there in quotes */
	if (!(s->text = mem_raw((size_t)n + 1, 1)))
		return -1;
	memcpy(s->text, s->map.p + 8, (size_t)n);
	s->text[n] = 0;
	if (!(header = json_parse(s->text, (size_t)n)))
		return fail_in("header");
	if (!cJSON_IsObject(header))
		fail(FAIL_DATA, "header: not an object");
	else if (json_unique(header) < 0)
		fail_in("header");
	else if ((s->tensors = mem_new((size_t)cJSON_GetArraySize(header), sizeof(*s->tensors))))
		r = read_tensors(s, header, 8 + n);
	cJSON_Delete(header);
	return r;
}

int
safetensors_open(struct safetensors *s, const char *path)
{
	if (file_map(&s->map, path) < 0)
		return -1;
	if (read_header(s) == 0)
		return 0;
	fail_in("'%s'", path);
	safetensors_close(s);
	return -1;
}

void
safetensors_close(struct safetensors *s)
{
	struct safetensors_copy *c, *next;

	for (c = s->copies; c; c = next) {
		next = c->next;
		free(c->data);
		free(c);
	}
	file_unmap(&s->map);
	table_free(&s->names);
	free(s->tensors);
	free(s->text);
	memset(s, 0, sizeof(*s));
}

struct safetensor *
safetensors_find(const struct safetensors *s, const char *name)
{
	return table_get(&s->names, name, strlen(name));
}

const void *
safetensors_data(struct safetensors *s, const struct safetensor *t)
{
	const unsigned char *p = s->map.p + t->begin;
	struct safetensors_copy *c;

	if (t->dtype < 0 || (uintptr_t)p % dtype_size((enum dtype)t->dtype) == 0)
		return p;
	for (c = s->copies; c; c = c->next)
		if (c->of == t)
			return c->data;
	if (!(c = mem_new(1, sizeof(*c))) || !(c->data = mem_raw((size_t)(t->end - t->begin), 1))) {
		free(c);
		return NULL;
	}
	memcpy(c->data, p, (size_t)(t->end - t->begin));
	c->of = t;
	c->next = s->copies;
	s->copies = c;
	return c->data;
}

int
safetensors_metadata(const struct safetensors *s, cJSON **out)
{
	uint64_t n;
	char *text;
	cJSON *header = NULL;

	*out = NULL;
	memcpy(&n, s->map.p, sizeof(n));          /* (it has been checked) */
	if (!(text = mem_raw((size_t)n + 1, 1)))
		return -1;
	memcpy(text, s->map.p + 8, (size_t)n);
	text[n] = 0;
	if ((header = json_parse(text, (size_t)n)))
		*out = cJSON_DetachItemFromObjectCaseSensitive(header, "__metadata__");
	cJSON_Delete(header);
	free(text);
	return header ? 0 : -1;
}

const char *
safetensor_describe(const struct safetensor *t, char *to, size_t size)
{
	size_t n = (size_t)snprintf(to, size, "%s [", t->dtype_text);

	for (int i = 0; i < t->rank && n < size; i++)
		n += (size_t)snprintf(to + n, size - n, "%s%llu", i ? ", " : "", (unsigned long long)t->shape[i]);
	if (n < size)
		snprintf(to + n, size - n, "]");
	return to;
}
