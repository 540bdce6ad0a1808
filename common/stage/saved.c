#include "stage/saved.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attention/cache_file.h"
#include "base/fail.h"
#include "base/table.h"
#include "frame/frame_file.h"

#define SUFFIX ".ids"

/* The name of a prefix of caches that hold this type. */
static void
make_key(const struct saved *s, enum dtype held, const int32_t *ids, uint32_t n, char key[17])
{
	const char *p = precision_name(s->precision), *cache = cache_type_name(held);
	uint64_t h = hash_bytes(s->model, strlen(s->model), 0);

	h = hash_bytes(p, strlen(p), h);
	if (held != cache_type_default(s->precision))
		h = hash_bytes(cache, strlen(cache), h);
	(void)snprintf(key, 17, "%016llx",
	    (unsigned long long)hash_bytes(ids, n * sizeof(*ids), h));
}

void
saved_key(const struct saved *s, const int32_t *ids, uint32_t n, char key[17])
{
	make_key(s, s->held, ids, n, key);
}

static void
path_of(const struct saved *s, const char *key, char path[PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s/%s" SUFFIX, s->dir, key);
}

static uint32_t
common_of(const struct saved_prefix *p, const int32_t *ids, uint32_t n)
{
	uint32_t i = 0;

	while (i < n && i < p->n && p->ids[i] == ids[i])
		i++;
	return i;
}

const struct saved_prefix *
saved_find(const struct saved *s, const int32_t *ids, uint32_t n, uint32_t *common)
{
	const struct saved_prefix *best = NULL;

	for (size_t i = 0; i < s->n; i++) {
		uint32_t have = common_of(&s->p[i], ids, n);

		if (have > *common) {
			*common = have;
			best = &s->p[i];
		}
	}
	return best;
}

/* --- the list --- */

/* Add it; ids are copied. */
static int
list_add(struct saved *s, const int32_t *ids, uint32_t n)
{
	struct saved_prefix *p;

	if (mem_grow(&s->p, &s->cap, s->n + 1, sizeof(*s->p)) < 0)
		return -1;
	p = &s->p[s->n];
	if (!(p->ids = mem_raw(n, sizeof(*ids))))
		return -1;
	memcpy(p->ids, ids, n * sizeof(*ids));
	p->n = n;
	saved_key(s, ids, n, p->key);
	s->n++;
	return 0;
}

void
saved_forget(struct saved *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->p[i].key, key) == 0) {
			free(s->p[i].ids);
			s->p[i] = s->p[--s->n];
			return;
		}
}

void
saved_remove(struct saved *s, const char *key)
{
	char path[PATH_MAX];

	saved_forget(s, key);
	path_of(s, key, path);
	(void)unlink(path);
}

void
saved_close(struct saved *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->p[i].ids);
	free(s->p);
	s->p = NULL;
	s->n = s->cap = 0;
}

/* --- files --- */

/* 1 it was added, 0 it belongs to another model, precision or type, -1 and a message. */
static int
add_frame(struct saved *s, struct frame *f, const char *key)
{
	struct tensor *ids;
	char own[17], other[17];

	if (f->op != OP_NONE || f->at != AT_EMBED || f->nspans != 1 || f->spans[0].pos != 0 ||
	    f->spans[0].n == 0)
		return fail(FAIL_DATA, "it is not the index of one prefix");
	if (strcmp(f->model, s->model) != 0 || f->precision != s->precision ||
	    f->cache_type != s->cache_type)
		return 0;
	if (!(ids = frame_require(f, "ids", I32, f->spans[0].n, 0)))
		return -1;
	saved_key(s, ids->data, f->spans[0].n, own);
	make_key(s, s->held == F32 ? BF16 : F32, ids->data, f->spans[0].n, other);
	if (strcmp(other, key) == 0)
		return 0;
	if (strcmp(own, key) != 0)
		return fail(FAIL_DATA, "its name is that of other tokens");
	return list_add(s, ids->data, f->spans[0].n) < 0 ? -1 : 1;
}

/* A file that was removed meanwhile is no fault. */
static void
read_file(struct saved *s, const char *key)
{
	struct frame_file file;
	struct frame f;
	char path[PATH_MAX];
	int r;

	path_of(s, key, path);
	if (frame_file_open(&file, path) < 0) {
		if (errno != ENOENT)
			warn("%s: it is left out", fail_text());
		return;
	}
	frame_init(&f);
	if ((r = frame_file_read(&file, &f)) >= 0 && add_frame(s, &f, key) < 0)
		r = fail_in("'%s'", path);
	if (r < 0)
		warn("%s: it is left out", fail_text());
	frame_free(&f);
	frame_file_close(&file);
}

static int
is_index(const char *name)
{
	return strlen(name) == 16 + strlen(SUFFIX) && strspn(name, "0123456789abcdef") == 16 &&
	    strcmp(name + 16, SUFFIX) == 0;
}

int
saved_open(struct saved *s, const char *dir, const struct frame *f, enum dtype held)
{
	struct dirent *e;
	DIR *d;

	*s = (struct saved){.dir = dir, .precision = f->precision, .cache_type = f->cache_type,
	    .held = held};
	memcpy(s->model, f->model, sizeof(s->model));
	if (cache_folder_open(dir) < 0)
		return -1;
	if (!(d = opendir(dir)))
		return fail(FAIL_SYSTEM, "--cache-dir '%s': cannot read it:", dir);
	while ((e = readdir(d)))
		if (is_index(e->d_name)) {
			char key[17];

			(void)snprintf(key, sizeof(key), "%.16s", e->d_name);
			read_file(s, key);
		}
	(void)closedir(d);
	return 0;
}

static int
make_frame(const struct saved *s, const int32_t *ids, uint32_t n, struct frame *f)
{
	const struct span span = {0, 0, n, 0};
	uint64_t rows = n;
	struct tensor *t;

	frame_set_at(f, AT_EMBED, -1);
	memcpy(f->model, s->model, sizeof(f->model));
	f->precision = s->precision;
	f->cache_type = s->cache_type;
	if (frame_set_spans(f, &span, 1) < 0 || !(t = frame_add(f, "ids", I32, 1, &rows)))
		return -1;
	memcpy(t->data, ids, t->bytes);
	return 0;
}

int
saved_add(struct saved *s, const int32_t *ids, uint32_t n)
{
	struct frame_file file;
	struct frame f;
	char key[17], path[PATH_MAX];
	int r;

	saved_key(s, ids, n, key);
	path_of(s, key, path);
	if (frame_file_create(&file, path) < 0)
		return -1;
	frame_init(&f);
	r = make_frame(s, ids, n, &f);
	if (r == 0)
		r = frame_file_write(&file, &f);
	frame_free(&f);
	r = frame_file_finish(&file, r);
	return r < 0 ? -1 : list_add(s, ids, n);
}
