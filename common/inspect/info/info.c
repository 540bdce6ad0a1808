#include "inspect/info/info.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/mem.h"
#include "inspect/info/info_gguf.h"

/* Does the tensor belong to one of the layers, or to none? */
static int
is_shown(const struct layers *l, const struct config *c, const char *name)
{
	int layer = weight_layer(c, name);

	return layer < 0 || (layer < c->num_layers && l->has[layer]);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Files that do not exist, each once.  *gone: there is one, also of layers that are not shown. */
static int
look_for_files(struct info *i, const struct model *m, int *gone)
{
	unsigned char *needed = mem_new(m->weights.nshards, 1);
	int r = 0;

	i->nfiles = m->weights.nshards;
	i->missing = mem_new(m->weights.nshards, sizeof(*i->missing));
	if (!needed || !i->missing) {
		free(needed);
		return -1;
	}
	for (struct table_slot *t = NULL; (t = table_next(&m->weights.files, t)); )
		needed[(const struct shard *)t->value - m->weights.shards] |=
		    (unsigned char)is_shown(&i->layers, &m->config, t->key);
	for (size_t k = 0; r == 0 && k < m->weights.nshards; k++) {
		const char *path = m->weights.shards[k].path, *last = strrchr(path, '/');

		if (access(path, R_OK) == 0)
			continue;
		*gone = 1;
		if (needed[k] && !(i->missing[i->nmissing++] = strdup(last ? last + 1 : path)))
			r = fail(FAIL_SYSTEM, "no memory for a name");
	}
	free(needed);
	qsort(i->missing, i->nmissing, sizeof(*i->missing), by_name);
	return r;
}

static int
look_for_index(struct info *i, const struct model *m)
{
	char path[4096];

	if (io_path(path, sizeof(path), m->weights.dir, CHECKPOINT_INDEX) < 0)
		return -1;
	i->stale = !m->weights.indexed && file_exists(path);
	return 0;
}

int
info_open(struct info *i, const char *dir, const char *layers)
{
	struct model m = {0};
	int r, gone = 0;

	memset(i, 0, sizeof(*i));
	i->dir = dir;
	if (model_open(&m, dir) < 0)
		return -1;
	memcpy(i->id, m.weights.id, sizeof(i->id));
	i->gguf = info_gguf(&m.weights);
	i->sizes.config = m.config;
	r = look_for_index(i, &m) < 0 || layers_parse(&i->layers, layers, m.config.num_layers) < 0 ||
	    look_for_files(i, &m, &gone) < 0 ? -1 : 0;
	model_close(&m);
	i->exact = !gone;
	return r < 0 ? -1 : sizes_open(&i->sizes, dir, gone);
}

void
info_close(struct info *i)
{
	for (size_t k = 0; k < i->nmissing; k++)
		free(i->missing[k]);
	free(i->missing);
	cJSON_Delete(i->gguf);
	sizes_close(&i->sizes);
}

/* --- manifests --- */

struct shown {
	struct layers layers;
	struct config config;
	int all;                        /* 1: also layers for multi-token prediction */
	FILE *to;
};

static int
wants_shown(void *arg, const struct tensor_entry *t)
{
	const struct shown *s = arg;

	return s->all || is_shown(&s->layers, &s->config, t->name);
}

static int
open_shown(struct shown *s, struct model *m, const char *dir, const char *layers)
{
	if (model_open(m, dir) < 0)
		return -1;
	s->config = m->config;
	s->all = !layers;
	return layers_parse(&s->layers, layers, s->config.num_layers);
}

int
info_manifest(struct buf *to, const char *dir, const char *layers, int full, struct pool *pool)
{
	struct manifest_sample sample = {.pieces = full ? 0 : MANIFEST_PIECES, .bytes = MANIFEST_PIECE};
	struct shown s = {0};
	struct model m = {0};
	int r = open_shown(&s, &m, dir, layers);

	if (r == 0)
		r = manifest_write(to, &m.weights, sample, wants_shown, &s, pool, NULL, NULL);
	model_close(&m);
	return r;
}

static void
print_name(void *arg, const char *name)
{
	const struct shown *s = arg;

	fprintf(s->to, "%s\n", name);
}

long
info_check(FILE *to, const char *dir, const char *layers, const char *manifest,
    struct pool *pool, long *n)
{
	struct manifest f = {0};
	struct shown s = {.to = to};
	struct model m = {0};
	long bad = manifest_open(&f, manifest) < 0 || open_shown(&s, &m, dir, layers) < 0 ? -1 :
	    manifest_compare(&f, &m.weights, wants_shown, &s, pool, print_name, n);

	manifest_close(&f);
	model_close(&m);
	return bad;
}
