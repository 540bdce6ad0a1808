#include "weights/tensor_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "kernels.h"
#include "weights/gguf_tensors.h"
#include "weights/safetensors.h"

#define HOLE 65536                      /* bytes at an end of the file that are checked for zeros */
#define PROBE 256                       /* zeros that stand for more of them */
#define EDGE 16                         /* zeros at the end of a row that may be numbers */
#define ONE_BY_ONE 256                  /* tensors; of more that begin with zeros some are probed */

struct tensor_copy {
	struct tensor_copy *next;
	const struct tensor_entry *of;
	void *data;
};

static int
by_place(const void *a, const void *b)
{
	const struct tensor_entry *s = a, *t = b;

	if (s->begin != t->begin)
		return s->begin < t->begin ? -1 : 1;
	return s->end < t->end ? -1 : s->end > t->end;
}

/* Most files have their tensors in order. */
static void
sort_places(struct tensor_file *s)
{
	for (size_t i = 1; i < s->n; i++)
		if (by_place(&s->tensors[i - 1], &s->tensors[i]) > 0) {
			qsort(s->tensors, s->n, sizeof(*s->tensors), by_place);
			return;
		}
}

/* The file's end first, because a truncated file is the likely fault. */
static int
check_places(struct tensor_file *s)
{
	const struct tensor_entry *last = NULL;
	uint64_t end = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->tensors[i].end > end)
			end = s->tensors[i].end;
	if (end > s->map.n)
		return fail(FAIL_DATA, "its header claims %llu bytes, the file has %zu",
		    (unsigned long long)end, s->map.n);
	for (struct tensor_entry *t = s->tensors; t < s->tensors + s->n; t++) {
		if (t->begin == t->end)
			continue;
		if (last && t->begin < last->end)
			return fail(FAIL_DATA, "tensors '%.200s' and '%.200s' overlap", last->name,
			    t->name);
		last = t;
	}
	return 0;
}

static int
bytes_zero(const unsigned char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* The first byte of the zeros at the end of t.  Its first byte is not 0, its last EDGE bytes are. */
static uint64_t
zeros_from(const unsigned char *p, const struct tensor_entry *t)
{
	uint64_t low = t->begin, high = t->end - EDGE;

	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2;
		uint64_t n = t->end - mid < PROBE ? t->end - mid : PROBE;

		*(bytes_zero(p + mid, (size_t)n) ? &high : &low) = mid;
	}
	return high;
}

static int
begins_zero(const unsigned char *p, const struct tensor_entry *t)
{
	uint64_t n = t->end - t->begin;

	return bytes_zero(p + t->begin, n < PROBE ? (size_t)n : PROBE);
}

/* Of the tensors before t the last, by bisection, that does not begin with zeros, or NULL.  In a
 * sparse file each probe costs a page fault. */
static const struct tensor_entry *
last_begun(const struct tensor_file *s, const struct tensor_entry *t)
{
	size_t low = 0, high = (size_t)(t - s->tensors);

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (begins_zero(s->map.p, s->tensors + mid))
			high = mid;
		else
			low = mid + 1;
	}
	return low > 0 ? s->tensors + low - 1 : NULL;
}

/*
 * An unfinished download whose file had its full size from the start ends in zeros.  Whole tensors
 * may be zeros, and so may the last rows of one (padding).  Zeros that begin within a row are an
 * error.
 */
static int
check_end(const struct tensor_file *s)
{
	const unsigned char *p = s->map.p;
	const struct tensor_entry *t = s->tensors + s->n;
	uint64_t end = 0, row, at;
	int seen = 0;

	while (t-- > s->tensors) {
		if (t->end == t->begin)
			continue;
		if (end == 0 && (t->end - s->tensors->begin < HOLE ||
		    !bytes_zero(p + t->end - HOLE, HOLE)))
			return 0;
		end = end ? end : t->end;
		if (!begins_zero(p, t))
			break;
		if (++seen == ONE_BY_ONE) {
			if (!(t = last_begun(s, t)))
				return 0;
			break;
		}
	}
	if (t < s->tensors || t->end - t->begin <= EDGE || !bytes_zero(p + t->end - EDGE, EDGE))
		return 0;
	at = zeros_from(p, t);
	row = t->rank > 1 ? (t->end - t->begin) / t->shape[0] : t->end - t->begin;
	if ((at - t->begin) % row == 0 || row - (at - t->begin) % row <= EDGE)
		return 0;
	return fail(FAIL_DATA, "zeros from byte %llu, within tensor '%.200s', to byte %llu, as after an "
	    "unfinished download", (unsigned long long)at, t->name, (unsigned long long)end);
}

static int
check_begin(const struct tensor_file *s)
{
	if (s->map.n < 8 || !bytes_zero(s->map.p, s->map.n < HOLE ? s->map.n : HOLE))
		return 0;
	return fail(FAIL_DATA, "begins with zeros, as after an unfinished download");
}

static int
list_names(struct tensor_file *s)
{
	if (table_reserve(&s->names, s->n) < 0)
		return -1;
	for (struct tensor_entry *t = s->tensors; t < s->tensors + s->n; t++) {
		if (table_put(&s->names, t->name, strlen(t->name), t) < 0)
			return -1;
		if (s->names.n == (size_t)(t - s->tensors) + 1)
			continue;
		if (s->gguf)
			return fail(FAIL_DATA, "two tensors are '%.200s'", t->name);
		fail(FAIL_DATA, "'%.200s' appears twice", t->name);
		return fail_in("header");
	}
	return 0;
}

static int
read_gguf(struct tensor_file *s, const struct gguf *first)
{
	if (!(s->gguf = mem_new(1, sizeof(*s->gguf))) || gguf_read(s->gguf, &s->map) < 0)
		return -1;
	return gguf_tensors(s, first ? first : s->gguf);
}

enum kind { ANY, GGUF, OWN };           /* OWN: written by dspipe */

static int
open_as(struct tensor_file *s, const char *path, enum kind kind, const struct gguf *first)
{
	if (file_map(&s->map, path) < 0)
		return -1;
	if (check_begin(s) == 0 &&
	    (kind == GGUF || gguf_begins(&s->map) ? read_gguf(s, first) :
	    safetensors_read(s)) == 0) {
		sort_places(s);
		if (list_names(s) == 0 && check_places(s) == 0 &&
		    (kind == OWN || check_end(s) == 0))
			return 0;
	}
	fail_in("'%s'", path);
	tensor_file_close(s);
	return -1;
}

int
tensor_file_open(struct tensor_file *s, const char *path)
{
	return open_as(s, path, ANY, NULL);
}

int
tensor_file_open_own(struct tensor_file *s, const char *path)
{
	return open_as(s, path, OWN, NULL);
}

int
tensor_file_open_gguf(struct tensor_file *s, const char *path, const struct gguf *first)
{
	return open_as(s, path, GGUF, first);
}

void
tensor_file_close(struct tensor_file *s)
{
	struct tensor_copy *c, *next;

	for (c = s->copies; c; c = next) {
		next = c->next;
		free(c->data);
		free(c);
	}
	if (s->gguf)
		gguf_close(s->gguf);
	free(s->gguf);
	file_unmap(&s->map);
	table_free(&s->names);
	free(s->tensors);
	free(s->text);
	memset(s, 0, sizeof(*s));
}

struct tensor_entry *
tensor_file_find(const struct tensor_file *s, const char *name)
{
	return table_get(&s->names, name, strlen(name));
}

const void *
tensor_file_data(struct tensor_file *s, const struct tensor_entry *t)
{
	const unsigned char *p = s->map.p + t->begin;
	size_t size = t->dtype < 0 ? 1 : dtype_size((enum dtype)t->dtype);
	struct tensor_copy *c;

	if (size < 2 || (uintptr_t)p % size == 0)
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

const char *
tensor_entry_describe(const struct tensor_entry *t, char *to, size_t size)
{
	size_t n = (size_t)snprintf(to, size, "%s [", t->dtype_text);

	for (int i = 0; i < t->rank && n < size; i++)
		n += (size_t)snprintf(to + n, size - n, "%s%llu", i ? ", " : "",
		    (unsigned long long)t->shape[i]);
	if (n < size)
		snprintf(to + n, size - n, "]");
	return to;
}
