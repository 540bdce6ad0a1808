#include "arch/model.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "weights/form.h"

#define INDEX_MAX (256 << 20)
#define PATH_BYTES 4096
#define NAME_BYTES 512

static const char single[] = "model.safetensors";

static int
shard_init(struct shard *s, const char *dir, const char *file)
{
	char path[PATH_BYTES];

	if (io_path(path, sizeof(path), dir, file) < 0)
		return -1;
	s->path = strdup(path);
	return s->path ? 0 : fail(FAIL_SYSTEM, "no memory for a path");
}

int
model_shard(struct shard *s)
{
	return s->file.map.p ? 0 : safetensors_open(&s->file, s->path);
}

/* Every name is in m->files: the id. */
static int
hash_model(struct model *m)
{
	char path[PATH_BYTES];
	struct buf b = {0};
	struct table_slot *s;
	uint64_t sum = 0, hash;

	for (s = NULL; (s = table_next(&m->files, s)); )
		sum += hash_bytes(s->key, s->len, 0);
	if (io_path(path, sizeof(path), m->dir, "config.json") < 0 || file_read(path, &b, INDEX_MAX) < 0) {
		buf_free(&b);
		return -1;
	}
	hash = hash_bytes(b.p, b.n, hash_bytes(&sum, sizeof(sum), 0));
	snprintf(m->id, sizeof(m->id), "%016llx", (unsigned long long)hash);
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
		return fail(FAIL_DATA, "weight_map: '%.200s' is in '%.200s', which is not a plain file name", v->string, s);
	return 0;
}

/* The different files that map names, in *seen as 1, 2, ... and as m->shards. */
static int
list_shards(struct model *m, const cJSON *map, struct table *seen, size_t *bytes)
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
	if (!(m->shards = mem_new(seen->n, sizeof(*m->shards))))
		return -1;
	m->nshards = seen->n;
	for (struct table_slot *s = NULL; (s = table_next(seen, s)); )
		if (shard_init(&m->shards[(uintptr_t)s->value - 1], m->dir, s->key) < 0)
			return -1;
	return 0;
}

static int
read_map(struct model *m, const cJSON *map, struct table *seen)
{
	const cJSON *v;
	char *name;
	size_t bytes, count = 0;

	if (list_shards(m, map, seen, &bytes) < 0 || !(m->names = mem_raw(bytes, 1)) ||
	    table_reserve(&m->files, (size_t)cJSON_GetArraySize(map)) < 0)
		return -1;
	name = m->names;
	cJSON_ArrayForEach(v, map) {
		size_t n = strlen(v->string), i = (uintptr_t)table_get(seen, v->valuestring, strlen(v->valuestring));

		memcpy(name, v->string, n + 1);
		if (table_put(&m->files, name, n, &m->shards[i - 1]) < 0)
			return -1;
		if (m->files.n != ++count)
			return fail(FAIL_DATA, "weight_map: '%.200s' is there twice", name);
		name += n + 1;
	}
	return 0;
}

static int
read_index(struct model *m, const char *path)
{
	struct table seen = {0};
	const cJSON *map;
	cJSON *o = json_load(path, INDEX_MAX);
	int r;

	if (!o)
		return -1;
	m->indexed = 1;
	r = json_object(o, "weight_map", JSON_REQUIRED, &map) < 0 ? -1 : read_map(m, map, &seen);
	table_free(&seen);
	cJSON_Delete(o);
	malloc_trim(0);         /* a large index leaves 20 MB, in each of many processes */
	return r < 0 ? fail_in("'%s'", path) : 0;
}

/* A model in one file: its header is the index. */
static int
read_single(struct model *m)
{
	struct safetensors *f;

	if (!(m->shards = mem_new(1, sizeof(*m->shards))))
		return -1;
	m->nshards = 1;
	if (shard_init(m->shards, m->dir, single) < 0 || model_shard(m->shards) < 0)
		return -1;
	f = &m->shards->file;
	if (table_reserve(&m->files, f->n) < 0)
		return -1;
	for (size_t i = 0; i < f->n; i++)
		if (table_put(&m->files, f->tensors[i].name, strlen(f->tensors[i].name), m->shards) < 0)
			return -1;
	return 0;
}

static int
read_names(struct model *m)
{
	char index[PATH_BYTES], one[PATH_BYTES];

	if (io_path(index, sizeof(index), m->dir, MODEL_INDEX) < 0 ||
	    io_path(one, sizeof(one), m->dir, single) < 0)
		return -1;
	/* as transformers does it: an index beside a whole file is what an earlier save in shards left there */
	if (file_exists(one))
		return read_single(m);
	if (file_exists(index))
		return read_index(m, index);
	return fail(FAIL_DATA, "'%s' has no %s and no %s.index.json", m->dir, single, single);
}

static int
model_start(struct model *m, const char *dir)
{
	memset(m, 0, sizeof(*m));
	m->dir = strdup(dir);
	return m->dir ? 0 : fail(FAIL_SYSTEM, "no memory for a path");
}

int
model_open(struct model *m, const char *dir)
{
	if (model_start(m, dir) == 0 && config_load(&m->config, dir) == 0 && read_names(m) == 0 && hash_model(m) == 0)
		return 0;
	model_close(m);
	return -1;
}

void
model_close(struct model *m)
{
	for (size_t i = 0; i < m->nshards; i++) {
		safetensors_close(&m->shards[i].file);
		free(m->shards[i].path);
	}
	free(m->shards);
	table_free(&m->files);
	free(m->names);
	free(m->dir);
	memset(m, 0, sizeof(*m));
}

int
model_id(const char *dir, char id[17])
{
	struct model m;
	int r = model_start(&m, dir) == 0 && read_names(&m) == 0 && hash_model(&m) == 0 ? 0 : -1;

	if (r == 0)
		memcpy(id, m.id, sizeof(m.id));
	model_close(&m);
	return r;
}

int
model_has(const struct model *m, const char *name)
{
	return table_get(&m->files, name, strlen(name)) != NULL;
}

/* Where a tensor is: its shard, open. */
static struct safetensor *
find(struct model *m, const char *name, struct shard **s)
{
	struct safetensor *t;

	if (!(*s = table_get(&m->files, name, strlen(name)))) {
		fail(FAIL_DATA, "'%.400s' has no tensor '%s'", m->dir, name);
		return NULL;
	}
	if (model_shard(*s) < 0)
		return NULL;
	if (!(t = safetensors_find(&(*s)->file, name)))
		fail(FAIL_DATA, "'%.400s' has no tensor '%s', which the index says is there", (*s)->path, name);
	return t;
}

const struct safetensor *
model_tensor(struct model *m, const char *name, const void **data)
{
	struct shard *s;
	struct safetensor *t = find(m, name, &s);

	if (!t)
		return NULL;
	t->mapped = 1;
	*data = safetensors_data(&s->file, t);
	return *data ? t : NULL;
}

const struct safetensor *
model_entry(struct model *m, const char *name)
{
	struct shard *s;

	return find(m, name, &s);
}

static int
make_name(char name[NAME_BYTES], const char *fmt, va_list ap, const char *suffix)
{
	int n = vsnprintf(name, NAME_BYTES, fmt, ap);

	if (n < 0 || (size_t)n + strlen(suffix) >= NAME_BYTES)
		return fail(FAIL_DATA, "tensor name too long: '%.100s...'", name);
	strcpy(name + n, suffix);
	return 0;
}

/* The groups' scales and their factor, a power of two within its bounds, or 0, as in a file of holes. */
static int
take_groups(struct model *m, struct mat *w, const struct form *f)
{
	const void *groups, *factor;
	uint32_t bits;

	if (!model_tensor(m, f->scale->name, &groups) || !model_tensor(m, f->factor->name, &factor))
		return -1;
	w->groups = groups;
	memcpy(&w->factor, factor, sizeof(w->factor));
	memcpy(&bits, factor, sizeof(bits));
	if (bits != 0 && (bits << 9 || !(w->factor >= QUANT_FACTOR_MIN && w->factor <= QUANT_FACTOR_MAX)))
		return fail(FAIL_DATA, "tensor '%s' is %g, must be 0 or a power of two from %g to %g", f->factor->name,
		    (double)w->factor, (double)QUANT_FACTOR_MIN, (double)QUANT_FACTOR_MAX);
	return 0;
}

static int
open_mat(struct model *m, struct mat *w, int rows, int cols, const char *name)
{
	struct form f;
	const void *data, *scale;

	if (form_find(&f, m, name, (size_t)rows, (size_t)cols) < 0 || !model_tensor(m, name, &data))
		return -1;
	*w = (struct mat){.data = data, .rows = rows, .cols = cols, .dtype = f.dtype};
	if (f.factor)
		return take_groups(m, w, &f);
	if (!f.scale)
		return 0;
	if (!model_tensor(m, f.scale->name, &scale))
		return -1;
	w->scale = scale;
	w->scale_cols = (int)f.scale->shape[1];
	return 0;
}

int
model_mat(struct model *m, struct mat *w, int rows, int cols, const char *fmt, ...)
{
	char name[NAME_BYTES];
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = make_name(name, fmt, ap, ".weight");
	va_end(ap);
	return r < 0 ? -1 : open_mat(m, w, rows, cols, name);
}

float *
model_vec(struct model *m, int n, const char *fmt, ...)
{
	char name[NAME_BYTES];
	struct form f;
	struct mat row = {.rows = 1, .cols = n};
	float *out;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = make_name(name, fmt, ap, "");
	va_end(ap);
	if (r < 0 || form_find(&f, m, name, (size_t)n, 0) < 0 || !model_tensor(m, name, &row.data))
		return NULL;
	row.dtype = f.dtype;
	if ((out = mem_raw((size_t)n, sizeof(*out))))
		kernels_named("ref")->row(out, &row, 0);
	return out;
}

/* The family's tensor of a role: 0, or -1 and a message. */
static int
find_weight(const struct model *m, struct weight *w, enum role role, int layer, int expert)
{
	return weight_find(w, &m->config, role, layer, expert) ? 0 :
	    fail(FAIL_DATA, "'%.400s': a %s has no tensor of role %d in layer %d", m->dir,
	    m->config.arch->types[0], (int)role, layer);
}

int
model_weight(struct model *m, enum role role, int layer, int expert, struct mat *w)
{
	struct weight t;

	return find_weight(m, &t, role, layer, expert) < 0 ? -1 :
	    open_mat(m, w, t.rows, t.cols, t.name);
}

float *
model_vector(struct model *m, enum role role, int layer)
{
	struct weight t;

	return find_weight(m, &t, role, layer, -1) < 0 ? NULL : model_vec(m, t.rows, "%s", t.name);
}
