#include "weights/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/json.h"
#include "base/mem.h"
#include "kernels.h"

#define HEADER_MAX 100000000            /* what the format's own library allows */
#define WHOLE_MAX ((uint64_t)1 << 53)   /* the largest integer that JSON numbers keep exactly */

/* The size that dtype and shape ask for; -1 where it has no number. */
static int
tensor_size(const struct tensor_entry *t, uint64_t *bytes)
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
read_shape(struct tensor_entry *t, const cJSON *shape)
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

int
safetensors_entry(struct tensor_entry *t, const char *dtype, size_t len, uint64_t data)
{
	uint64_t want;

	if (t->begin > t->end)
		return fail(FAIL_DATA, "data_offsets are not a begin and an end");
	snprintf(t->dtype_text, sizeof(t->dtype_text), "%.*s", (int)len, dtype);
	t->dtype = dtype_parse(dtype, len);
	if (t->dtype >= 0 && (tensor_size(t, &want) < 0 || want != t->end - t->begin)) {
		char is[200];

		return fail(FAIL_DATA, "%s does not fill the %llu bytes of its data_offsets",
		    tensor_entry_describe(t, is, sizeof(is)), (unsigned long long)(t->end - t->begin));
	}
	t->begin += data;
	t->end += data;
	return 0;
}

/* One entry of the header; data is where the tensors begin in the file. */
static int
read_tensor(struct tensor_entry *t, const cJSON *o, uint64_t data)
{
	const cJSON *shape = NULL, *offsets = NULL;
	const char *dtype = NULL;

	if (json_string(o, "dtype", JSON_REQUIRED, &dtype) < 0 ||
	    json_array(o, "shape", JSON_REQUIRED, &shape) < 0 ||
	    json_array(o, "data_offsets", JSON_REQUIRED, &offsets) < 0 || read_shape(t, shape) < 0)
		return -1;
	if (cJSON_GetArraySize(offsets) != 2 || json_whole(offsets->child, WHOLE_MAX, &t->begin) < 0 ||
	    json_whole(offsets->child->next, WHOLE_MAX, &t->end) < 0)
		return fail(FAIL_DATA, "data_offsets are not a begin and an end");
	return safetensors_entry(t, dtype, strlen(dtype), data);
}

static int
read_tensors(struct tensor_file *s, const cJSON *header, uint64_t data)
{
	const cJSON *o;
	char *name = s->text;

	cJSON_ArrayForEach(o, header) {
		struct tensor_entry *t = &s->tensors[s->n];
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
	return 0;
}

int
safetensors_read(struct tensor_file *s)
{
	uint64_t n;
	cJSON *header;
	int r;

	if (s->map.n < sizeof(n))
		return fail(FAIL_DATA, "%zu bytes are too few for a safetensors file", s->map.n);
	memcpy(&n, s->map.p, sizeof(n));
	if (n > s->map.n - 8)
		return fail(FAIL_DATA, "its first bytes claim a header of %llu bytes, the file has %zu",
		    (unsigned long long)n, s->map.n);
	if (n > HEADER_MAX)
		return fail(FAIL_DATA, "its first bytes claim a header of %llu bytes, more than %d",
		    (unsigned long long)n, HEADER_MAX);
	/* first the text of the header, later its names, which are shorter than it */
	if (!(s->text = mem_raw((size_t)n + 1, 1)))
		return -1;
	if ((r = safetensors_skim(s, (const char *)s->map.p + 8, (size_t)n)) != 0)
		return r < 0 ? -1 : 0;
	memcpy(s->text, s->map.p + 8, (size_t)n);
	s->text[n] = 0;
	if (!(header = json_parse(s->text, (size_t)n)))
		return fail_in("header");
	r = -1;
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
safetensors_metadata(const struct tensor_file *s, cJSON **out)
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
