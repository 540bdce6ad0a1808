#include "learn/assemble.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/commit.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "learn/param.h"
#include "learn/shards.h"
#include "weights/folder_file.h"
#include "weights/layout.h"

#define PATH_BYTES 4096

/* --- folders --- */

/* 1: it has no file; 0: it has, or cannot be read. */
static int
is_empty(const char *dir)
{
	const struct dirent *e;
	DIR *d = opendir(dir);
	int n = d ? 0 : 1;

	while (d && (e = readdir(d)))
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	if (d)
		closedir(d);
	return n == 0;
}

static int
is_mount(const char *dir, const struct stat *st)
{
	char parent[PATH_BYTES];
	struct stat up;

	return strlen(dir) < sizeof(parent) && stat(commit_parent(parent, dir), &up) == 0 &&
	    up.st_dev != st->st_dev;
}

/* A result has no folders: one that was put there would not go with its files. */
static int
check_files(const char *dir)
{
	char path[PATH_BYTES];
	const struct dirent *e;
	DIR *d = opendir(dir);
	struct stat st;
	int r = 0;

	while (d && r == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    (r = io_path(path, sizeof(path), dir, e->d_name)) == 0 &&
		    lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
			r = fail(FAIL_USAGE, "'%s': a folder in a result of learning, which is "
			    "replaced: move it", path);
	if (d)
		closedir(d);
	return r;
}

/* Whether a folder that exists may be replaced. */
static int
check_folder(const char *dir, const char *id)
{
	char path[PATH_BYTES];
	struct buf b = {0};
	struct stat st;
	int r = 0;

	if (stat(dir, &st) < 0)
		return fail(FAIL_SYSTEM, "cannot read '%s':", dir);
	if (is_mount(dir, &st))
		return fail(FAIL_USAGE, "'%s' is a mount point, which cannot be replaced: name a "
		    "folder in it", dir);
	if (S_ISDIR(st.st_mode) && is_empty(dir))
		return 0;
	if (!S_ISDIR(st.st_mode) || io_path(path, sizeof(path), dir, ASSEMBLE_MARK) < 0 ||
	    !file_exists(path))
		return fail(FAIL_USAGE, "'%s' exists and is no result of learning: name a folder "
		    "that does not exist", dir);
	if (file_read(path, &b, 1 << 16) < 0)
		r = -1;
	else if (b.n != strlen(id) + 1 || memcmp(b.p, id, strlen(id)) != 0)
		r = fail(FAIL_USAGE, "'%s' was learned from another model: name a folder that does "
		    "not exist", dir);
	buf_free(&b);
	return r < 0 ? -1 : check_files(dir);
}

/* The same folder by another name. */
static int
is_same(const char *a, const char *b)
{
	struct stat s, t;

	return stat(a, &s) == 0 && stat(b, &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

/* out without slashes at its end, or what a link stands for, and suffix. */
static int
name_folder(char to[PATH_BYTES], const char *out, const char *suffix)
{
	char real[PATH_MAX];
	const char *name = realpath(out, real) ? real : out;
	size_t n = strlen(name);

	while (n > 1 && name[n - 1] == '/')
		n--;
	if (n == 0 || n + strlen(suffix) >= PATH_BYTES)
		return fail(FAIL_USAGE, "'%.200s' is no name of a folder", out);
	memcpy(to, name, n);
	strcpy(to + n, suffix);
	return 0;
}

int
assemble_check(const struct model *m, const char *out)
{
	char part[PATH_BYTES], dir[PATH_BYTES];

	if (name_folder(part, out, ".part") < 0 || name_folder(dir, out, "") < 0)
		return -1;
	if (is_same(out, m->weights.dir))
		return fail(FAIL_USAGE, "'%s' is the model that is learned from: name another "
		    "folder", out);
	if (file_exists(dir) && check_folder(dir, m->weights.id) < 0)
		return -1;
	return file_exists(part) ? check_folder(part, m->weights.id) : 0;
}

/* --- what is in the shards --- */

struct assembly {
	struct model *m;
	struct shards shards;
	char part[PATH_BYTES], out[PATH_BYTES];
	size_t used;            /* tensors of the shards */
};

/* Whether the shards have all tensors of w. */
static int
check_weight(const struct assembly *a, const struct weight *w)
{
	struct layout stored;
	const void *data;

	if (layout_find(&stored, &a->m->weights, w->name, (size_t)w->rows, (size_t)w->cols) < 0)
		return -1;
	for (int i = 0; i < LAYOUT_PARTS && stored.part[i]; i++)
		if (!shards_find(&a->shards, stored.part[i]->name, &data))
			return fail(FAIL_DATA, "no file has tensor '%s'", stored.part[i]->name);
	return 0;
}

static int
check_weights(const struct assembly *a)
{
	const struct config *c = &a->m->config;

	for (int layer = -1; layer < c->num_layers; layer++)
		for (struct weight w = {0}; weight_next(&w, c, layer); )
			if (weight_learns(c, &w) && check_weight(a, &w) < 0)
				return -1;
	return 0;
}

/* The bytes of t, of the file `from`, in the shards; *data NULL: they are not there.  0, or -1 and
 * a message. */
static int
find_bytes(struct assembly *a, const struct tensor_entry *t, const struct shard *from,
    const void **data)
{
	const struct tensor_entry *s = shards_find(&a->shards, t->name, data);
	char is[200], must[200];

	/* (an index decides between two files that have a tensor) */
	if (!s || table_get(&a->m->weights.files, t->name, strlen(t->name)) != from) {
		*data = NULL;
		return 0;
	}
	a->used++;
	if (strcmp(s->dtype_text, t->dtype_text) == 0 && s->rank == t->rank &&
	    memcmp(s->shape, t->shape, sizeof(t->shape)) == 0)
		return 0;
	return fail(FAIL_DATA, "tensor '%s' of the shards is %s, must be %s", t->name,
	    tensor_entry_describe(s, is, sizeof(is)),
	    tensor_entry_describe(t, must, sizeof(must)));
}

/* --- a file of weights --- */

static int
write_bytes(struct assembly *a, int fd, const struct shard *from)
{
	const struct tensor_file *f = &from->file;
	uint64_t at = 0;
	const void *data;

	for (const struct tensor_entry *t = f->tensors; t < f->tensors + f->n; t++) {
		if (find_bytes(a, t, from, &data) < 0)
			return -1;
		if (!data || t->begin == t->end)
			continue;
		if (io_write(fd, f->map.p + at, (size_t)(t->begin - at)) < 0 ||
		    io_write(fd, data, (size_t)(t->end - t->begin)) < 0)
			return -1;
		at = t->end;
	}
	return io_write(fd, f->map.p + at, f->map.n - (size_t)at);
}

static int
write_weights(struct assembly *a, struct shard *from)
{
	char path[PATH_BYTES];
	int fd, r;

	if (shard_open(from) < 0 ||
	    io_path(path, sizeof(path), a->part, strrchr(from->path, '/') + 1) < 0)
		return -1;
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
		return fail(FAIL_SYSTEM, "cannot create '%s':", path);
	r = write_bytes(a, fd, from);
	if (close(fd) < 0 && r == 0)
		r = fail(FAIL_SYSTEM, "cannot write:");
	return r < 0 ? fail_in("'%s'", path) : 0;
}

/* --- the folder --- */

/* Whether another file of the source belongs to the new folder: an index of weights that are not
 * there does not. */
static int
is_other(const struct assembly *a, const char *name)
{
	return name[0] != '.' && !folder_file_is_weights(name) &&
	    (!folder_file_is_index(name) || (a->m->weights.indexed &&
	    strcmp(name, CHECKPOINT_INDEX) == 0));
}

static int
copy_others(const struct assembly *a)
{
	const char *from = a->m->weights.dir;
	const struct dirent *e;
	DIR *d = opendir(from);
	int r = 0;

	if (!d)
		return fail(FAIL_SYSTEM, "cannot read '%s':", from);
	while (r == 0 && (e = readdir(d)))
		if (is_other(a, e->d_name))
			r = folder_file_copy(from, a->part, e->d_name);
	closedir(d);
	return r;
}

static int
write_folder(struct assembly *a)
{
	char mark[32];
	struct checkpoint *w = &a->m->weights;

	/* the mark first: what is left after a kill is known by it */
	snprintf(mark, sizeof(mark), "%s\n", w->id);
	if (mkdir(a->part, 0777) < 0)
		return fail(FAIL_SYSTEM, "cannot create '%s':", a->part);
	if (folder_file_write(a->part, ASSEMBLE_MARK, mark, strlen(mark)) < 0)
		return -1;
	for (size_t i = 0; i < w->nshards; i++)
		if (write_weights(a, &w->shards[i]) < 0)
			return -1;
	if (a->used != a->shards.names.n)
		return fail(FAIL_DATA, "%zu tensors of the shards are not in '%.300s'",
		    a->shards.names.n - a->used, w->dir);
	return copy_others(a) < 0 ? -1 : commit_folder(a->part);
}

/* Give out.part its name; what had it is removed. */
static int
replace(const struct assembly *a)
{
	char parent[PATH_BYTES];

	if (file_exists(a->out) &&
	    renameat2(AT_FDCWD, a->part, AT_FDCWD, a->out, RENAME_EXCHANGE) == 0) {
		folder_remove(a->part);
	} else if (file_exists(a->out) && (errno == EINVAL || errno == ENOSYS)) {
		/* this file system exchanges no names */
		folder_remove(a->out);
		if (rename(a->part, a->out) < 0)
			return fail(FAIL_SYSTEM, "cannot rename '%s' to '%s':", a->part, a->out);
	} else if (rename(a->part, a->out) < 0) {
		return fail(FAIL_SYSTEM, "cannot rename '%s' to '%s':", a->part, a->out);
	}
	return commit_sync(commit_parent(parent, a->out));
}

static int
assemble(struct assembly *a)
{
	if (check_weights(a) < 0)
		return -1;
	folder_remove(a->part);
	if (write_folder(a) == 0 && replace(a) == 0)
		return 0;
	folder_remove(a->part);
	return -1;
}

int
learn_assemble(struct model *m, const char *shards, const char *out)
{
	struct assembly a = {.m = m};
	int r;

	if (assemble_check(m, out) < 0 || name_folder(a.part, out, ".part") < 0 ||
	    name_folder(a.out, out, "") < 0)
		return -1;
	r = shards_open(&a.shards, shards, m->weights.id, SAVE_WEIGHTS) < 0 ? -1 : assemble(&a);
	shards_close(&a.shards);
	return r;
}
