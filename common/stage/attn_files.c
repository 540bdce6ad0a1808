/*
 * --cache-dir of the attention stage: `save` writes a sequence's rows of each layer to a file,
 * `load` reads them. What a stage cannot do it reports to ds-embed by setting n to 0.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fail.h"
#include "stage/attn.h"

/* One layer's file of the frame. */
struct layer_file {
	struct cache_file file;
	struct cache_layout layout;
	char path[PATH_MAX];
};

static void
file_of(const struct attn *a, const struct frame *f, int layer, struct layer_file *to)
{
	const struct stage *s = a->s;
	struct attention_where where = attention_where(s->device);

	(void)snprintf(to->path, sizeof(to->path), "%s/%s.l%d", a->dir, f->key, layer);
	to->layout = attention_pages(&s->model->config, where);
	to->file = (struct cache_file){to->path, s->model->weights.id, s->k->precision,
	    where.gpu ? F32 : where.type, layer, &to->layout, NULL, f->fork_n};
}

/* The files of the frame's key up to a layer, which other stages may not have. */
static void
files_remove(const struct attn *a, const struct frame *f, int layers)
{
	struct layer_file l;

	for (int i = 0; i < layers; i++)
		if (a->s->layers.has[i]) {
			file_of(a, f, i, &l);
			(void)unlink(l.path);
		}
}

/* What the sequence must be, so that the frame can be acted on: 0, or -1 and a message. */
static int
check_layer(const struct attn *a, const struct frame *f, int layer)
{
	const struct cache_seq *s = cache_find(&a->attention.layers[layer].cache, f->seq);
	uint32_t n = s ? s->n : 0;

	if (f->op == OP_LOAD && s)
		return fail(FAIL_DATA, "sequence %" PRIu64 ": load to it, but it exists", f->seq);
	if (f->op == OP_SAVE && n < f->fork_n)
		return fail(FAIL_DATA, "sequence %" PRIu64 ": save of %" PRIu32
		    " positions, cache holds %" PRIu32, f->seq, f->fork_n, n);
	return 0;
}

static int
layer_act(struct attn *a, const struct frame *f, int layer, const int32_t *ids)
{
	struct cache *c = &a->attention.layers[layer].cache;
	struct layer_file l;

	file_of(a, f, layer, &l);
	l.file.ids = ids;
	return f->op == OP_LOAD ? cache_file_load(&l.file, c, f->seq) :
	    cache_file_save(&l.file, c, cache_find(c, f->seq));
}

/* Layers 0 .. layers-1 were acted on, the next has failed with the message that fail() keeps. */
static void
undo(struct attn *a, struct frame *f, int layers)
{
	if (f->op == OP_SAVE) {
		a->full = 1;
		warn("%s: no more is saved", fail_text());
		files_remove(a, f, layers);
	} else {
		warn("%s: it is computed again", fail_text());
		for (int i = 0; i < layers; i++)
			cache_release(&a->attention.layers[i].cache, f->seq);
	}
	frame_set_n(f, 0);
}

static int
check(const struct attn *a, struct frame *f, const int32_t **ids)
{
	int max = a->s->model->config.max_position;
	struct tensor *t = frame_require(f, "ids", I32, f->fork_n, 0);

	if (!t)
		return -1;
	*ids = t->data;
	if (f->fork_n > (uint32_t)max)
		return fail(FAIL_DATA, "sequence %" PRIu64 ": %s of %" PRIu32
		    " positions, the model ends at %d", f->seq, op_name(f->op), f->fork_n, max - 1);
	for (int i = 0; i < a->s->model->config.num_layers; i++)
		if (a->s->layers.has[i] && check_layer(a, f, i) < 0)
			return fail_in("layer %d", i);
	return 0;
}

int
attn_files(struct attn *a, struct frame *f)
{
	int layers = a->s->model->config.num_layers;
	const int32_t *ids;

	if (f->fork_n == 0) {
		if (a->dir && f->op == OP_SAVE)
			files_remove(a, f, layers);
		return 0;
	}
	if (check(a, f, &ids) < 0)
		return -1;
	if (!a->dir && !a->full)
		warn("it has no --cache-dir: nothing is saved or loaded");
	a->full |= !a->dir;
	if (!a->dir || (a->full && f->op == OP_SAVE)) {
		frame_set_n(f, 0);
		return 0;
	}
	for (int i = 0; i < layers; i++)
		if (a->s->layers.has[i] && layer_act(a, f, i, ids) < 0) {
			undo(a, f, i);
			return 0;
		}
	a->saved += f->op == OP_SAVE;
	a->loaded += f->op == OP_LOAD;
	return 0;
}

void
attn_report(const struct attn *a)
{
	if (a->dir)
		warn("%" PRIu64 " sequences saved, %" PRIu64 " loaded", a->saved, a->loaded);
}
