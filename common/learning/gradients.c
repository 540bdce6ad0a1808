/*
 * One file of all gradients, from the shards that the processes wrote and the sums of the tensors
 * that several of them have.
 */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/commit.h"
#include "base/fail.h"
#include "learn/control.h"
#include "learn/norm.h"
#include "learn/shards.h"
#include "learning/learning_internal.h"
#include "weights/shard_file.h"

/* A tensor of the file. */
struct gradient {
	struct tensor_entry entry;      /* .begin is 0 */
	const float *data;
	float *own;                     /* data of a shared tensor */
};

struct gradients {
	struct gradient *list;
	size_t n, cap;
	char (*names)[WEIGHT_NAME_MAX]; /* of shared tensors */
};

static int
add_shard(struct gradients *g, const struct shards *s, const char *name)
{
	const void *data;
	const struct tensor_entry *t = shards_find(s, name, &data);

	if (mem_grow(&g->list, &g->cap, g->n + 1, sizeof(*g->list)) < 0)
		return -1;
	g->list[g->n] = (struct gradient){.entry = *t, .data = data};
	g->list[g->n].entry.begin = 0;
	g->list[g->n++].entry.end = t->end - t->begin;
	return 0;
}

/* A tensor by its sums [rows][cols]; name stays alive. */
static int
add_sums(struct gradients *g, const char *name, const int64_t *acc, uint64_t rows, uint64_t cols,
    double weight)
{
	size_t n = rows * (cols ? cols : 1);
	struct gradient *e;

	if (mem_grow(&g->list, &g->cap, g->n + 1, sizeof(*g->list)) < 0)
		return -1;
	e = &g->list[g->n];
	*e = (struct gradient){.entry = {.name = name, .dtype_text = "F32",
	    .rank = cols ? 2 : 1, .shape = {rows, cols}, .end = n * sizeof(float)}};
	if (!(e->data = e->own = mem_raw(n, sizeof(float))))
		return -1;
	g->n++;
	for (size_t i = 0; i < n; i++)
		e->own[i] = (float)((double)acc[i] * learn_unit(weight, 1));
	return 0;
}

static const char *
name_of(struct gradients *g, const struct config *c, enum role role, int layer)
{
	struct weight w;
	char *to = g->names[layer < 0 ? c->num_layers : layer];

	if (!weight_find(&w, c, role, layer, -1))
		return NULL;
	strcpy(to, w.name);
	return to;
}

/* The tensors whose sums the frame has. */
static int
add_shared(struct gradients *g, const struct run *r, struct frame *f, double weight)
{
	const struct config *c = &r->model.config;
	uint64_t L = (uint64_t)c->num_layers, D = (uint64_t)c->hidden_size;
	uint64_t V = (uint64_t)c->vocab_size;
	struct tensor *t = frame_tensor(f, GRAD_MLP_NORM);
	const char *name;

	if (!(g->names = mem_new(L + 1, sizeof(*g->names))))
		return -1;
	if (t && !(t = frame_require(f, GRAD_MLP_NORM, I64, L, D)))
		return -1;
	for (uint64_t l = 0; t && l < L; l++)
		if ((name = name_of(g, c, ROLE_MLP_NORM, (int)l)) &&
		    add_sums(g, name, (int64_t *)t->data + l * D, D, 0, weight) < 0)
			return -1;
	if (!frame_tensor(f, GRAD_EMBED))
		return 0;
	if (!(t = frame_require(f, GRAD_EMBED, I64, V, D)) ||
	    !(name = name_of(g, c, ROLE_EMBED, -1)))
		return -1;
	return add_sums(g, name, t->data, V, D, weight);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct gradient *)a)->entry.name,
	    ((const struct gradient *)b)->entry.name);
}

static int
write_all(const struct gradients *g, struct shard_file *s, const char *dir, const char *name)
{
	for (size_t i = 0; i < g->n; i++)
		if (shard_file_add_copy(s, &g->list[i].entry) < 0)
			return -1;
	if (shard_file_create(s, dir, name) < 0)
		return -1;
	for (size_t i = 0; i < g->n; i++)
		if (shard_file_write(s, s->list[i].at, g->list[i].data, s->list[i].bytes) < 0)
			return -1;
	return 0;
}

/* By another name first: the file is whole, or it is the old one. */
static int
write_file(struct gradients *g, const char *path)
{
	struct shard_file s = {.fd = -1};
	char part[PATH_MAX], dir[PATH_MAX], name[PATH_MAX];
	int e;

	if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part))
		return fail(FAIL_SYSTEM, "'%s': the path is too long", path);
	strcpy(dir, part);
	strcpy(name, part);
	qsort(g->list, g->n, sizeof(*g->list), by_name);
	(void)unlink(part);
	e = write_all(g, &s, dirname(dir), basename(name));
	if (shard_file_close(&s) < 0)
		e = -1;
	if (e == 0)
		e = commit_file(part, path);
	if (e < 0)
		(void)unlink(part);
	return e;
}

static int
collect(struct run *r, struct gradients *g, const char *folder, struct shards *s,
    struct frame *f, double weight)
{
	if (checkpoint_ask(r, SAVE_GRADIENTS, folder, weight) < 0 ||
	    shards_open(s, folder, r->model.weights.id, SAVE_GRADIENTS) < 0)
		return -1;
	for (struct table_slot *t = NULL; (t = table_next(&s->names, t)); )
		if (add_shard(g, s, t->key) < 0)
			return -1;
	return add_shared(g, r, f, weight);
}

int
gradients_write(struct run *r, const char *path, double weight, struct frame *f)
{
	struct gradients g = {0};
	struct shards s = {0};
	char folder[PATH_MAX];
	int e;

	if (checkpoint_shards(folder, path) < 0)
		return -1;
	e = shard_folder_make(folder) < 0 || collect(r, &g, folder, &s, f, weight) < 0 ||
	    write_file(&g, path) < 0 ? -1 : 0;
	for (size_t i = 0; i < g.n; i++)
		free(g.list[i].own);
	free(g.list);
	free(g.names);
	shards_close(&s);
	shard_folder_remove(folder);
	return e;
}
