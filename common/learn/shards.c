#include "learn/shards.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "weights/safetensors.h"

#define PATH_BYTES 4096

/* Whether the metadata have the value under the key: 0, or -1 and a message. */
static int
check_value(const cJSON *meta, const char *key, const char *must)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(meta, key);

	if (!cJSON_IsString(v))
		return fail(FAIL_DATA, "its metadata have no %s: dspipe did not save it", key);
	return strcmp(v->valuestring, must) == 0 ? 0 : fail(FAIL_DATA, "%s is '%.100s', must be "
	    "'%s'", key, v->valuestring, must);
}

/* The first file says which step the others must have. */
static int
check_step(struct shards *s, const cJSON *meta)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(meta, SHARDS_STEP);
	uint64_t step;
	char end;

	if (!cJSON_IsString(v) || sscanf(v->valuestring, "%" SCNu64 "%c", &step, &end) != 1)
		return fail(FAIL_DATA, "its metadata have no %s: dspipe did not save it",
		    SHARDS_STEP);
	if (s->n == 1)
		s->step = step;
	return step == s->step ? 0 : fail(FAIL_DATA, "it is of step %" PRIu64 ", other files are "
	    "of step %" PRIu64, step, s->step);
}

static int
check_file(struct shards *s, const char *model, enum save what)
{
	const struct tensor_file *f = &s->files[s->n - 1];
	cJSON *meta;
	int r;

	if (f->gguf)
		return fail(FAIL_DATA, "a GGUF file, must be one of safetensors");
	if (safetensors_metadata(f, &meta) < 0)
		return -1;
	r = check_value(meta, SHARDS_MODEL, model) < 0 ||
	    check_value(meta, SHARDS_WHAT, save_name(what)) < 0 ||
	    (what == SAVE_STATE && check_step(s, meta) < 0) ? -1 : 0;
	cJSON_Delete(meta);
	return r;
}

static int
add_file(struct shards *s, const char *path, const char *model, enum save what)
{
	struct tensor_file *f;

	if (mem_grow(&s->files, &s->cap, s->n + 1, sizeof(*s->files)) < 0)
		return -1;
	f = &s->files[s->n];
	*f = (struct tensor_file){0};
	if (tensor_file_open_own(f, path) < 0)
		return -1;
	s->n++;
	return check_file(s, model, what) < 0 ? fail_in("'%s'", path) : 0;
}

static int
open_files(struct shards *s, const char *dir, const char *model, enum save what)
{
	static const char end[] = ".safetensors";
	char path[PATH_BYTES];
	const struct dirent *e;
	DIR *d = opendir(dir);
	int r = 0;

	if (!d)
		return fail(FAIL_DATA, "cannot read '%s':", dir);
	while (r == 0 && (e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (n >= sizeof(end) && strcmp(e->d_name + n - (sizeof(end) - 1), end) == 0)
			r = io_path(path, sizeof(path), dir, e->d_name) < 0 ? -1 :
			    add_file(s, path, model, what);
	}
	closedir(d);
	return r;
}

/* (after all files are open: they move while the array grows) */
static int
list_names(struct shards *s, const char *dir)
{
	for (struct tensor_file *f = s->files; f < s->files + s->n; f++)
		for (const struct tensor_entry *t = f->tensors; t < f->tensors + f->n; t++) {
			size_t n = strlen(t->name);

			if (table_get(&s->names, t->name, n))
				return fail(FAIL_DATA, "'%s': tensor '%s' is in two files", dir,
				    t->name);
			if (table_put(&s->names, t->name, n, f) < 0)
				return -1;
		}
	return 0;
}

int
shards_open(struct shards *s, const char *dir, const char *model, enum save what)
{
	*s = (struct shards){0};
	if (open_files(s, dir, model, what) < 0)
		return -1;
	if (s->n == 0)
		return fail(FAIL_DATA, "'%s' has no *.safetensors", dir);
	return list_names(s, dir);
}

void
shards_close(struct shards *s)
{
	while (s->n > 0)
		tensor_file_close(&s->files[--s->n]);
	free(s->files);
	table_free(&s->names);
	*s = (struct shards){0};
}

const struct tensor_entry *
shards_find(const struct shards *s, const char *name, const void **data)
{
	struct tensor_file *f = table_get(&s->names, name, strlen(name));
	const struct tensor_entry *t = f ? tensor_file_find(f, name) : NULL;

	*data = t ? f->map.p + t->begin : NULL;
	return t;
}
