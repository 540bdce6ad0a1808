/*
 * A checkpoint in a GGUF file, or in several as llama-gguf-split writes them.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "weights/checkpoint_internal.h"

#define PARTS_MAX 65535
#define SUFFIX "-%05d-of-%05d.gguf"
#define SUFFIX_BYTES 40
#define FIRST (sizeof("-00001-of-00001.gguf") - 1)

static const char end[] = ".gguf";

const struct gguf *
checkpoint_gguf(const struct checkpoint *w)
{
	return w->nshards > 0 ? w->shards[0].file.gguf : NULL;
}

int
checkpoint_hint(const char *dir, const char *missing)
{
	const size_t n = sizeof(end) - 1;
	char found[256] = "";
	DIR *d = opendir(dir);

	if (!d && errno == ENOENT) {
		fail(FAIL_DATA, "cannot open '%s':", dir);
		return 1;
	}
	for (struct dirent *e; d && (e = readdir(d)); ) {
		size_t len = strlen(e->d_name);

		/* of several the first in the alphabet, which is also the first part */
		if (len > n && strcmp(e->d_name + len - n, end) == 0 &&
		    (!found[0] || strcmp(e->d_name, found) < 0))
			snprintf(found, sizeof(found), "%s", e->d_name);
	}
	if (d)
		closedir(d);
	if (found[0])
		fail(FAIL_DATA, "'%s' is a folder without %s: give the GGUF file, '%s/%s'", dir,
		    missing, dir, found);
	return found[0] != 0;
}

/* --- parts --- */

static int
read_split(const struct gguf *g, int64_t *no, int64_t *count, int64_t *tensors)
{
	*no = *tensors = 0;
	*count = 1;
	return gguf_int(g, "split.count", JSON_OPTIONAL, 0, PARTS_MAX, count) < 0 ||
	    gguf_int(g, "split.no", *count > 1, 0, PARTS_MAX, no) < 0 ||
	    gguf_int(g, "split.tensors.count", *count > 1, 0, INT32_MAX, tensors) < 0 ? -1 : 0;
}

/* Part i from 0 on, whose path is that of the first but for its number. */
static int
add_part(struct checkpoint *w, int i, int count)
{
	struct buf path = {0};
	int64_t no, n, tensors;
	struct shard *s = &w->shards[i];
	int r = buf_add(&path, w->dir, strlen(w->dir) - FIRST) < 0 ||
	    buf_addf(&path, SUFFIX, i + 1, count) < 0 || buf_addc(&path, 0) < 0 ||
	    shard_set_path(s, (char *)path.p) < 0 ? -1 : 0;

	buf_free(&path);
	if (r < 0)
		return -1;
	w->nshards = (size_t)i + 1;
	if (tensor_file_open_gguf(&s->file, s->path, checkpoint_gguf(w)) < 0)
		return fail_in("part %d of %d", i + 1, count);
	if (read_split(s->file.gguf, &no, &n, &tensors) < 0)
		return fail_in("'%s'", s->path);
	if (no != i || n != count)
		return fail(FAIL_DATA, "'%s': split.no is %lld and split.count %lld, must be %d "
		    "and %d", s->path, (long long)no, (long long)n, i, count);
	return shard_list(w, s);
}

/* The path that the first part of so many must have. */
static int
check_path(const struct checkpoint *w, int64_t no, int count)
{
	char suffix[SUFFIX_BYTES];
	size_t n = strlen(w->dir);

	snprintf(suffix, sizeof(suffix), SUFFIX, 1, count);
	if (no == 0 && n > FIRST && strcmp(w->dir + n - FIRST, suffix) == 0)
		return 0;
	return fail(FAIL_DATA, "'%s' is part %lld of %d: give the first, whose name must end in "
	    "'%s'", w->dir, (long long)no + 1, count, suffix);
}

static int
add_parts(struct checkpoint *w, int count, int64_t tensors)
{
	struct shard *all = mem_new((size_t)count, sizeof(*all));
	size_t n = 0;

	if (!all)
		return -1;
	/* w->files points to shards, so it is filled once they stay where they are */
	all[0] = w->shards[0];
	free(w->shards);
	w->shards = all;
	if (shard_list(w, all) < 0)
		return -1;
	for (int i = 1; i < count; i++)
		if (add_part(w, i, count) < 0)
			return -1;
	for (int i = 0; i < count; i++)
		n += all[i].file.gguf->ntensors;
	if (count == 1 || (int64_t)n == tensors)
		return 0;
	return fail(FAIL_DATA, "'%s': split.tensors.count is %lld, but the %d parts have %zu "
	    "tensors", w->dir, (long long)tensors, count, n);
}

/* --- the id --- */

/* Keys that do not count: tokens, which do not change a tensor, and those of parts. */
static int
is_left_out(const char *key)
{
	return strncmp(key, "tokenizer.", 10) == 0 || strncmp(key, "split.", 6) == 0;
}

/* Of its name; and of the factors of rope, which a folder has in config.json. */
static uint64_t
hash_tensor(const struct tensor_file *f, const struct gguf_tensor *t)
{
	uint64_t hash = hash_bytes(t->name, strlen(t->name), 0);

	return strcmp(t->name, "rope_freqs.weight") != 0 ? hash :
	    hash_bytes(f->map.p + t->begin, (size_t)(t->end - t->begin), hash);
}

static void
make_id(struct checkpoint *w)
{
	const struct gguf *g = checkpoint_gguf(w);
	uint64_t sum = 0, hash;

	for (size_t i = 0; i < w->nshards; i++) {
		const struct tensor_file *f = &w->shards[i].file;

		for (size_t k = 0; k < f->gguf->ntensors; k++)
			sum += hash_tensor(f, &f->gguf->tensors[k]);
	}
	hash = hash_bytes(&sum, sizeof(sum), 0);
	for (size_t i = 0; i < g->nvalues; i++)
		if (!is_left_out(g->values[i].key))
			hash = hash_bytes(g->values[i].begin,
			    (size_t)(g->values[i].end - g->values[i].begin), hash);
	snprintf(w->id, sizeof(w->id), "%016llx", (unsigned long long)hash);
}

int
checkpoint_open_gguf(struct checkpoint *w)
{
	int64_t no, count, tensors;

	if (!(w->shards = mem_new(1, sizeof(*w->shards))) ||
	    shard_set_path(w->shards, w->dir) < 0)
		return -1;
	w->nshards = 1;
	if (tensor_file_open_gguf(&w->shards->file, w->dir, NULL) < 0)
		return -1;
	if (read_split(checkpoint_gguf(w), &no, &count, &tensors) < 0)
		return fail_in("'%s'", w->dir);
	count = count < 1 ? 1 : count;
	if ((count > 1 && check_path(w, no, (int)count) < 0) ||
	    add_parts(w, (int)count, tensors) < 0)
		return -1;
	make_id(w);
	return 0;
}
