#include "learn/save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/commit.h"
#include "base/fail.h"
#include "base/io.h"
#include "base/mem.h"
#include "learn/adamw.h"
#include "weights/round.h"
#include "weights/shard_file.h"

#define AT_ONCE ((size_t)1 << 18)       /* numbers that are converted at a time */
#define STATES 3

/* A file that is made. */
struct saving {
	struct learn *l;
	enum save what;
	double weight;
	struct shard_file file;
	size_t next;            /* the entry that is written next */
};

static int
is_saved(const struct saving *s, const struct param *p)
{
	return p->owner && (s->what != SAVE_GRADIENTS ||
	    (p->shared == SHARED_NONE && p->role != ROLE_ROUTER_BIAS));
}

/* How many of the states p has. */
static int
states(const struct param *p)
{
	return p->role == ROLE_ROUTER_BIAS ? 1 : STATES;
}

/* --- the list of tensors --- */

/* F32, with the shape of p. */
static int
add_floats(struct saving *s, const struct param *p, const char *suffix)
{
	struct layout_part part[LAYOUT_PARTS];

	layout_parts(part, F32, (uint64_t)p->rows, (uint64_t)p->cols);
	part->suffix = suffix;
	return shard_file_add_part(&s->file, p->name, part);
}

static int
add_weights(struct saving *s, const struct param *p)
{
	struct layout stored;

	if (layout_find(&stored, &s->l->model->weights, p->name, (size_t)p->rows,
	    (size_t)p->cols) < 0)
		return -1;
	for (int i = 0; i < LAYOUT_PARTS && stored.part[i]; i++)
		if (shard_file_add_copy(&s->file, stored.part[i]) < 0)
			return -1;
	return 0;
}

static int
add_param(struct saving *s, const struct param *p)
{
	static const char *const suffixes[STATES] = {".master", ".m", ".v"};

	if (s->what != SAVE_STATE)
		return s->what == SAVE_WEIGHTS ? add_weights(s, p) : add_floats(s, p, "");
	for (int i = 0; i < states(p); i++)
		if (add_floats(s, p, suffixes[i]) < 0)
			return -1;
	return 0;
}

/* --- their bytes --- */

static int
put(struct saving *s, const void *p, size_t n)
{
	return shard_file_write(&s->file, s->file.list[s->next++].at, p, n);
}

/* The scales of F8_E4M3; in BF16 they are exact. */
static int
put_scales(struct saving *s, const struct param *p)
{
	size_t n = fp8_blocks((size_t)p->rows) * (size_t)p->mat.scale_cols;
	unsigned char *h;
	int r;

	if (p->scale_dtype == F32)
		return put(s, p->mat.scale, n * sizeof(float));
	if (!(h = mem_raw(n, dtype_size(BF16))))
		return -1;
	round_row(h, p->mat.scale, (int)n, BF16, NULL);
	r = put(s, h, n * dtype_size(BF16));
	free(h);
	return r;
}

static int
put_weights(struct saving *s, const struct param *p)
{
	const struct mat *w = &p->mat;

	if (put(s, w->data, (size_t)w->rows * dtype_row(w->dtype, w->cols)) < 0)
		return -1;
	return w->dtype == F8_E4M3 ? put_scales(s, p) : 0;
}

static int
put_gradient(struct saving *s, const struct param *p)
{
	float *g = mem_raw(p->n < AT_ONCE ? p->n : AT_ONCE, sizeof(*g));
	uint64_t at = s->file.list[s->next++].at;
	double unit = learn_unit(s->weight, 1);
	int r = g ? 0 : -1;

	for (size_t i = 0; r == 0 && i < p->n; i += AT_ONCE) {
		size_t n = p->n - i < AT_ONCE ? p->n - i : AT_ONCE;

		for (size_t j = 0; j < n; j++)
			g[j] = (float)((double)p->acc[i + j] * unit);
		r = shard_file_write(&s->file, at + i * sizeof(*g), g, n * sizeof(*g));
	}
	free(g);
	return r;
}

static int
put_param(struct saving *s, const struct param *p)
{
	const float *const state[STATES] = {p->master, p->m, p->v};

	if (s->what != SAVE_STATE)
		return s->what == SAVE_WEIGHTS ? put_weights(s, p) : put_gradient(s, p);
	for (int i = 0; i < states(p); i++)
		if (put(s, state[i], p->n * sizeof(float)) < 0)
			return -1;
	return 0;
}

/* --- the file --- */

/* Call fn for each tensor that is saved. */
static int
each(struct saving *s, int (*fn)(struct saving *s, const struct param *p))
{
	for (size_t i = 0; i < s->l->nparams; i++)
		if (is_saved(s, s->l->params[i]) && fn(s, s->l->params[i]) < 0)
			return -1;
	return 0;
}

static int
write_part(struct saving *s, const char *folder, const char *part)
{
	s->file.fd = -1;
	if (each(s, add_param) < 0 || shard_file_create(&s->file, folder, part) < 0 ||
	    each(s, put_param) < 0) {
		shard_file_close(&s->file);     /* its message would hide the cause */
		return -1;
	}
	return shard_file_close(&s->file);
}

int
learn_save(struct learn *l, enum save what, const char *folder, double weight)
{
	char step[24];
	const char *const metadata[] = {SHARDS_MODEL, l->model->weights.id, SHARDS_WHAT,
	    save_name(what), what == SAVE_STATE ? SHARDS_STEP : NULL, step, NULL};
	struct saving s = {.l = l, .what = what, .weight = weight, .file.metadata = metadata};
	char part[sizeof(l->who) + 20], from[4096], to[4096];

	snprintf(step, sizeof(step), "%llu", (unsigned long long)l->step);
	snprintf(part, sizeof(part), "%s.safetensors.part", l->who);
	if (io_path(from, sizeof(from), folder, part) < 0)
		return -1;
	memcpy(to, from, sizeof(to));
	to[strlen(to) - strlen(".part")] = 0;
	if (what == SAVE_GRADIENTS && !(weight > 0))
		return fail(FAIL_DATA, "'weight' is %g, must be above 0", weight);
	if (what == SAVE_STATE && learn_begin(l) < 0)
		return -1;
	(void)unlink(from);                     /* of a process that was killed */
	if (write_part(&s, folder, part) == 0 && commit_file(from, to) == 0)
		return 0;
	(void)unlink(from);
	return -1;
}
