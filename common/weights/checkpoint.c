#include "weights/checkpoint.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "weights/checkpoint_internal.h"

#define INDEX_MAX (256 << 20)
#define PATH_BYTES 4096

static const char single[] = "model.safetensors";

static int
shard_init(struct shard *s, const char *dir, const char *file)
{
	char path[PATH_BYTES];

	return io_path(path, sizeof(path), dir, file) < 0 ? -1 : shard_set_path(s, path);
}

int
shard_set_path(struct shard *s, const char *path)
{
	s->path = strdup(path);
	return s->path ? 0 : fail(FAIL_SYSTEM, "no memory for a path");
}

int
shard_open(struct shard *s)
{
	return s->file.map.p ? 0 : tensor_file_open(&s->file, s->path);
}

/* Every name is in w->files: the id. */
static int
hash_names(struct checkpoint *w)
{
	char path[PATH_BYTES];
	struct buf b = {0};
	struct table_slot *s;
	uint64_t sum = 0, hash;

	for (s = NULL; (s = table_next(&w->files, s)); )
		sum += hash_bytes(s->key, s->len, 0);
	if (io_path(path, sizeof(path), w->dir, "config.json") < 0 ||
	    file_read(path, &b, INDEX_MAX) < 0) {
		buf_free(&b);
		return -1;
	}
	hash = hash_bytes(b.p, b.n, hash_bytes(&sum, sizeof(sum), 0));
	snprintf(w->id, sizeof(w->id), "%016llx", (unsigned long long)hash);
	buf_free(&b);
	return 0;
}

static int
check_file_name(const cJSON *v)
{
	const char *s = v->valuestring;

	if (!cJSON_IsString(v))
		return fail(FAIL_DATA, "weight_map: '%.200s' has no file name", v->string);
	if (s[0] == 0 || s[0] == '.' || strchr(s, '/'))
		return fail(FAIL_DATA, "weight_map: '%.200s' is in '%.200s', which is not a plain "
		    "file name", v->string, s);
	return 0;
}

/* The different files that map names, in *seen as 1, 2, ... and as w->shards. */
static int
list_shards(struct checkpoint *w, const cJSON *map, struct table *seen, size_t *bytes)
{
	const cJSON *v;

	*bytes = 0;
	cJSON_ArrayForEach(v, map) {
		size_t n;

		if (check_file_name(v) < 0)
			return -1;
		*bytes += strlen(v->string) + 1;
		n = strlen(v->valuestring);
		if (!table_get(seen, v->valuestring, n) &&
		    table_put(seen, v->valuestring, n, (void *)(uintptr_t)(seen->n + 1)) < 0)
			return -1;
	}
	if (!(w->shards = mem_new(seen->n, sizeof(*w->shards))))
		return -1;
	w->nshards = seen->n;
	for (struct table_slot *s = NULL; (s = table_next(seen, s)); )
		if (shard_init(&w->shards[(uintptr_t)s->value - 1], w->dir, s->key) < 0)
			return -1;
	return 0;
}

static int
read_map(struct checkpoint *w, const cJSON *map, struct table *seen)
{
	const cJSON *v;
	char *name;
	size_t bytes, count = 0;

	if (list_shards(w, map, seen, &bytes) < 0 || !(w->names = mem_raw(bytes, 1)) ||
	    table_reserve(&w->files, (size_t)cJSON_GetArraySize(map)) < 0)
		return -1;
	name = w->names;
	cJSON_ArrayForEach(v, map) {
		size_t n = strlen(v->string), len = strlen(v->valuestring);
		size_t i = (uintptr_t)table_get(seen, v->valuestring, len);

		memcpy(name, v->string, n + 1);
		if (table_put(&w->files, name, n, &w->shards[i - 1]) < 0)
			return -1;
		if (w->files.n != ++count)
			return fail(FAIL_DATA, "weight_map: '%.200s' appears twice", name);
		name += n + 1;
	}
	return 0;
}

static int
read_index(struct checkpoint *w, const char *path)
{
	struct table seen = {0};
	const cJSON *map;
	cJSON *o = json_load(path, INDEX_MAX);
	int r;

	if (!o)
		return -1;
	w->indexed = 1;
	r = json_object(o, "weight_map", JSON_REQUIRED, &map) < 0 ? -1 : read_map(w, map, &seen);
	table_free(&seen);
	cJSON_Delete(o);
	malloc_trim(0);         /* a large index leaves 20 MB, in each of many processes */
	return r < 0 ? fail_in("'%s'", path) : 0;
}

int
shard_list(struct checkpoint *w, struct shard *s)
{
	const struct tensor_file *f = &s->file;
	size_t n = w->files.n;

	if (table_reserve(&w->files, n + f->n) < 0)
		return -1;
	for (struct tensor_entry *t = f->tensors; t < f->tensors + f->n; t++)
		if (table_put(&w->files, t->name, strlen(t->name), s) < 0)
			return -1;
		else if (w->files.n != ++n)
			return fail(FAIL_DATA, "'%s': tensor '%.200s' is in another part, too",
			    s->path, t->name);
	return 0;
}

/* A model in one file: its header is the index. */
static int
read_single(struct checkpoint *w)
{
	if (!(w->shards = mem_new(1, sizeof(*w->shards))))
		return -1;
	w->nshards = 1;
	return shard_init(w->shards, w->dir, single) < 0 || shard_open(w->shards) < 0 ||
	    shard_list(w, w->shards) < 0 ? -1 : 0;
}

static int
read_names(struct checkpoint *w)
{
	char index[PATH_BYTES], one[PATH_BYTES];

	if (io_path(index, sizeof(index), w->dir, CHECKPOINT_INDEX) < 0 ||
	    io_path(one, sizeof(one), w->dir, single) < 0)
		return -1;
	/* as in transformers: an index beside a whole file is left from an earlier save in shards */
	if (file_exists(one))
		return read_single(w);
	if (file_exists(index))
		return read_index(w, index);
	if (checkpoint_hint(w->dir, single))
		return -1;
	return fail(FAIL_DATA, "'%s' has no %s and no %s.index.json", w->dir, single, single);
}

int
checkpoint_open(struct checkpoint *w, const char *dir)
{
	*w = (struct checkpoint){.dir = strdup(dir)};
	if (!w->dir)
		return fail(FAIL_SYSTEM, "no memory for a path");
	if (gguf_is(dir) ? checkpoint_open_gguf(w) == 0 :
	    read_names(w) == 0 && hash_names(w) == 0)
		return 0;
	checkpoint_close(w);
	return -1;
}

void
checkpoint_close(struct checkpoint *w)
{
	for (size_t i = 0; i < w->nshards; i++) {
		tensor_file_close(&w->shards[i].file);
		free(w->shards[i].path);
	}
	free(w->shards);
	table_free(&w->files);
	free(w->names);
	free(w->dir);
	for (struct table_slot *s = NULL; (s = table_next(&w->floats, s)); ) {
		free((void *)(uintptr_t)s->key);
		free(s->value);
	}
	table_free(&w->floats);
	memset(w, 0, sizeof(*w));
}

int
checkpoint_id(const char *dir, char id[17])
{
	struct checkpoint w;

	if (checkpoint_open(&w, dir) < 0)
		return -1;
	memcpy(id, w.id, sizeof(w.id));
	checkpoint_close(&w);
	return 0;
}

int
checkpoint_private(struct checkpoint *w)
{
	w->private = 1;
	for (size_t i = 0; i < w->nshards; i++)
		if (w->shards[i].file.map.p && file_map_private(&w->shards[i].file.map) < 0)
			return -1;
	return 0;
}

void
checkpoint_drop(const struct checkpoint *w)
{
	for (size_t i = 0; i < w->nshards && !w->private; i++)
		file_map_drop(&w->shards[i].file.map);
}

int
checkpoint_has(const struct checkpoint *w, const char *name)
{
	return table_get(&w->files, name, strlen(name)) != NULL;
}

/* Where a tensor is: its shard, open. */
static struct tensor_entry *
find(struct checkpoint *w, const char *name, struct shard **s)
{
	struct tensor_entry *t;

	if (!(*s = table_get(&w->files, name, strlen(name)))) {
		fail(FAIL_DATA, "'%.400s' has no tensor '%s'", w->dir, name);
		return NULL;
	}
	if (!(*s)->file.map.p &&
	    (shard_open(*s) < 0 || (w->private && file_map_private(&(*s)->file.map) < 0)))
		return NULL;
	if (!(t = tensor_file_find(&(*s)->file, name)))
		fail(FAIL_DATA, "'%.400s' has no tensor '%s', which the index says is there",
		    (*s)->path, name);
	return t;
}

const struct tensor_entry *
checkpoint_data(struct checkpoint *w, const char *name, const void **data)
{
	struct shard *s;
	struct tensor_entry *t = find(w, name, &s);

	if (!t)
		return NULL;
	t->mapped = 1;
	*data = tensor_file_data(&s->file, t);
	return *data ? t : NULL;
}

const struct tensor_entry *
checkpoint_entry(struct checkpoint *w, const char *name)
{
	struct shard *s;

	return find(w, name, &s);
}
