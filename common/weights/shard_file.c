#include "weights/shard_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"

#define LINE 64         /* what SIMD likes tensors to begin at */

/* Another entry, its name with the suffix.  NULL and a message. */
static struct shard_entry *
add(struct shard_file *s, const char *name, const char *suffix)
{
	struct shard_entry *e;

	if (mem_grow(&s->list, &s->cap, s->n + 1, sizeof(*s->list)) < 0)
		return NULL;
	e = &s->list[s->n];
	*e = (struct shard_entry){0};
	if (asprintf(&e->name, "%s%s", name, suffix) < 0) {
		e->name = NULL;
		fail(FAIL_SYSTEM, "no memory for a name");
		return NULL;
	}
	s->n++;
	return e;
}

int
shard_file_add_copy(struct shard_file *s, const struct tensor_entry *t)
{
	struct shard_entry *e = add(s, t->name, "");

	if (!e)
		return -1;
	e->dtype = t->dtype_text;
	e->rank = t->rank;
	memcpy(e->shape, t->shape, sizeof(e->shape));
	e->bytes = t->end - t->begin;
	e->from = t;
	return 0;
}

int
shard_file_add_part(struct shard_file *s, const char *name, const struct layout_part *part)
{
	struct shard_entry *e = add(s, name, part->suffix);

	if (!e)
		return -1;
	e->dtype = part->dtype;
	e->rank = part->rank;
	memcpy(e->shape, part->shape, sizeof(part->shape));
	e->bytes = part->bytes;
	return 0;
}

/* Order of the entries: no padding is allowed between them, so the best aligned come first. */
static int
rank_of(const struct shard_entry *e)
{
	return e->bytes % LINE == 0 ? 0 : e->bytes % 4 == 0 ? 1 : e->bytes % 2 == 0 ? 2 : 3;
}

static cJSON *
numbers(const uint64_t *p, int n)
{
	cJSON *a = cJSON_CreateArray();

	for (int i = 0; i < n; i++)
		cJSON_AddItemToArray(a, cJSON_CreateNumber((double)p[i]));
	return a;
}

/* The header's text, padded with spaces so that the data is aligned; NULL and a message. */
static char *
header(struct shard_file *s, size_t *n)
{
	cJSON *o = cJSON_CreateObject(), *meta = cJSON_AddObjectToObject(o, "__metadata__");
	uint64_t at = 0;
	char *text, *full = NULL;

	cJSON_AddStringToObject(meta, "format", "pt");
	for (const char *const *m = s->metadata; m && *m; m += 2)
		cJSON_AddStringToObject(meta, m[0], m[1]);
	for (int rank = 0; rank < 4; rank++)
		for (struct shard_entry *e = s->list; e < s->list + s->n; e++) {
			cJSON *t;
			uint64_t offsets[2] = {at, at + e->bytes};

			if (rank_of(e) != rank)
				continue;
			e->at = at;
			at += e->bytes;
			t = cJSON_CreateObject();
			cJSON_AddStringToObject(t, "dtype", e->dtype);
			cJSON_AddItemToObject(t, "shape", numbers(e->shape, e->rank));
			cJSON_AddItemToObject(t, "data_offsets", numbers(offsets, 2));
			cJSON_AddItemToObject(o, e->name, t);
		}
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	if (text) {
		*n = (strlen(text) + 8 + LINE - 1) / LINE * LINE - 8;
		if ((full = mem_raw(*n, 1))) {
			memset(full, ' ', *n);
			memcpy(full, text, strlen(text));
		}
	}
	if (!full)
		fail(FAIL_SYSTEM, "no memory for a header");
	free(text);
	return full;
}

int
shard_file_write(struct shard_file *s, uint64_t at, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0) {
		ssize_t done = pwrite(s->fd, from, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EFAULT)        /* what p points to is mapped */
			return fail(FAIL_SYSTEM, "'%s': a file that it is made from was cut short "
			    "while it was in use", s->path);
		if (done <= 0)
			return fail(FAIL_SYSTEM, "'%s': cannot write:", s->path);
		from += done;
		at += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

int
shard_file_create(struct shard_file *s, const char *dir, const char *name)
{
	size_t n = 0;
	uint64_t length;
	char *text;
	int r;

	if (io_path(s->path, sizeof(s->path), dir, name) < 0)
		return -1;
	if ((s->fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
		return fail(FAIL_SYSTEM, "cannot create '%s':", s->path);
	if (!(text = header(s, &n)))
		return -1;
	for (struct shard_entry *e = s->list; e < s->list + s->n; e++)
		e->at += 8 + n;
	length = n;
	r = shard_file_write(s, 0, &length, 8) < 0 || shard_file_write(s, 8, text, n) < 0 ? -1 : 0;
	free(text);
	return r;
}

int
shard_file_close(struct shard_file *s)
{
	int r = s->fd >= 0 && close(s->fd) < 0 ?
	    fail(FAIL_SYSTEM, "'%s': cannot write:", s->path) : 0;

	for (size_t i = 0; i < s->n; i++)
		free(s->list[i].name);
	free(s->list);
	*s = (struct shard_file){.fd = -1};
	return r;
}
