#include "attention/attention.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

#define PROBS ((size_t)4 << 20) /* bytes of probabilities that are computed at once */

static const struct attention_kind *const kinds[] = {
	[ATTENTION_MLA] = &attention_mla,
	[ATTENTION_GQA] = &attention_gqa,
	[ATTENTION_MLA_INDEXED] = &attention_mla_indexed,
};

const struct attention_kind *
attention_of(const struct config *c)
{
	return kinds[c->attention];
}

double
attention_held(const struct config *c, int layer, double held)
{
	int window = config_window(c, layer);

	return window > 0 && window < held ? window : held;
}

int
attention_runs(const struct config *c, int gpu)
{
	const char *only = attention_of(c)->cpu_only;

	return gpu && only ? fail(FAIL_USAGE, "%s of model_type %s runs on the CPU only", only,
	    c->type) : 0;
}

double
attention_read(const struct config *c, struct attention_where where, double held)
{
	const struct attention_kind *kind = attention_of(c);

	return kind->cache_read ? kind->cache_read(c, where, held) :
	    held * (double)kind->cache_row(c, where);
}

struct attention_where
attention_where(const struct device *d)
{
	return (struct attention_where){device_is_gpu(d), d->k->precision, d->cache_type};
}

static size_t
pitch(int n, struct attention_where where)
{
	return where.gpu ? gpu_kv_pitch(n, where.precision) : dtype_row(where.type, n);
}

struct cache_layout
attention_pages(const struct config *c, struct attention_where where)
{
	const struct attention_kind *kind = attention_of(c);
	const struct kv_shape kv = kind->kv(c);
	struct cache_layout l = {.heads = (size_t)kv.heads, .key = pitch(kv.key, where),
	    .value = kv.shared ? 0 : pitch(kv.value, where),
	    .dtype = where.gpu ? cache_type_default(where.precision) : where.type};

	l.rest = kind->cache_row(c, where) - l.heads * (l.key + l.value);
	return l;
}

int
attention_open(struct attention_layers *a, struct model *model, struct device *device,
    const unsigned char *has)
{
	const struct config *c = &model->config;
	struct attention_where where = attention_where(device);
	struct arena count = {0};

	memset(a, 0, sizeof(*a));
	a->kind = attention_of(c);
	a->model = model;
	a->device = device;
	a->scale = a->kind->scale(c);
	if (attention_runs(c, where.gpu) < 0)
		return -1;
	a->layers = mem_new((size_t)c->num_layers, sizeof(*a->layers));
	if (!a->layers || rope_open(&a->rope, &c->rope, a->kind->rotated(c)) < 0)
		return -1;
	for (int i = 0; i < c->num_layers; i++) {
		struct attention_layer *l = &a->layers[i];

		cache_init(&l->cache, device, a->kind->cache_row(c, where));
		if (has[i] && !(l->weights = a->kind->open(a, i)))
			return -1;
		device->position += has[i] ? l->cache.row : 0;
	}
	a->kind->layout(c, &count, ARENA_ROWS, NULL);
	device->expected += count.used + DEVICE_PAGES;
	return 0;
}

void
attention_close(struct attention_layers *a)
{
	struct device *d = a->device;

	for (int i = 0; a->layers && i < a->model->config.num_layers; i++) {
		struct attention_layer *l = &a->layers[i];

		cache_free(&l->cache);
		d->ops->mirror_free(d, &l->pages);
		if (l->weights)
			a->kind->close(a, l->weights);
	}
	free(a->layers);
	rope_close(&a->rope);
	if (!d)
		return;
	for (struct mirror *m[] = {&a->freq, &a->pos, &a->list}, **i = m; i < m + 3; i++)
		d->ops->mirror_free(d, *i);
	for (struct scratch *s[] = {&a->cosine, &a->sine, &a->rows, &a->probs},
	    **i = s; i < s + 4; i++)
		d->ops->release(d, *i);
	for (struct scratch *s[] = {&a->tables, &a->fetched, &a->parts, &a->back_pages,
	    &a->back_rows, &a->back_sums}, **i = s; i < s + 6; i++)
		scratch_free(*i);
}

/* --- rows that were appended --- */

/* The angles of all rows, for all layers. */
static int
angles_make(struct attention_layers *a, int n)
{
	struct device *d = a->device;
	size_t half = (size_t)a->rope.half, bytes = (size_t)n * half * sizeof(float);
	float *cosine = d->ops->reserve(d, &a->cosine, bytes), *sine = cosine ? d->ops->reserve(d,
	    &a->sine, bytes) : NULL;

	if (!sine || d->ops->mirror(d, &a->freq, a->rope.freq, half * sizeof(*a->rope.freq)) < 0)
		return -1;
	return d->ops->angles(d, cosine, sine, a->pos.p, n, a->freq.p, a->rope.half,
	    a->rope.factor);
}

/* List the pages of the rows' sequences: row t's begin at page[list[t]]. The pages that the
 * longest has. */
static int
list_pages(const struct cache_seq *const *seq, const uint32_t *pos, size_t n, void **page,
    int32_t *list)
{
	int32_t at = 0;
	int most = 0;

	for (size_t t = 0; t < n; t++) {
		int sees = (int)(pos[t] / CACHE_PAGE) + 1;

		most = sees > most ? sees : most;
		if (t > 0 && seq[t] == seq[t - 1]) {
			list[t] = list[t - 1];
			continue;
		}
		list[t] = at;
		for (size_t b = 0; b < seq[t]->npages; b++)
			page[at++] = cache_page(seq[t], b);
	}
	return most;
}

int
attention_set_rows(struct attention_layers *a, int layer, const struct cache_seq *const *seq,
    const uint32_t *pos, int n, struct kv_rows *rows)
{
	struct attention_layer *l = &a->layers[layer];
	struct device *d = a->device;
	size_t T = (size_t)n, pages = 0;
	int32_t *list;
	void **page;
	int moved;

	for (size_t t = 0; t < T; t++)
		if (t == 0 || seq[t] != seq[t - 1])
			pages += seq[t]->npages;
	if (pages > INT32_MAX)
		return fail(FAIL_SYSTEM, "%zu pages are more than a batch can have", pages);
	if (!(page = scratch_reserve(&a->tables, pages * sizeof(*page) + T * sizeof(*list), 1)))
		return -1;
	list = (int32_t *)(void *)(page + pages);
	*rows = (struct kv_rows){.n = n, .most = list_pages(seq, pos, T, page, list),
	    .dtype = d->cache_type};
	if (d->ops->mirror(d, &l->pages, page, pages * sizeof(*page)) < 0 ||
	    d->ops->mirror(d, &a->list, list, T * sizeof(*list)) < 0 ||
	    (moved = d->ops->mirror(d, &a->pos, pos, T * sizeof(*pos))) < 0)
		return -1;
	rows->pos = a->pos.p;
	rows->list = a->list.p;
	rows->pages = l->pages.p;
	a->appended = pos;
	return moved ? angles_make(a, n) : 0;
}

/* --- attention --- */

int
attention_layout(struct attention_layers *a, size_t n, void *rows)
{
	const struct config *c = &a->model->config;
	struct arena arena = {0};

	a->kind->layout(c, &arena, n, NULL);
	if (!(arena.base = a->device->ops->reserve(a->device, &a->rows, arena.used)))
		return -1;
	arena.used = 0;
	a->kind->layout(c, &arena, n, rows);
	return 0;
}

/* Rows of a block: with probabilities to be shown, as many as leave some memory for other
 * things. */
static int
block_rows(const struct attention_layers *a, const struct attention_taps *taps)
{
	size_t row = (size_t)a->model->config.num_heads * taps->positions * sizeof(float),
	    most = PROBS / (row + 1);
	int rows = a->device->ops->attend_rows;

	return !taps->to[ATTENTION_PROBS] || most > (size_t)rows ? rows : most > 0 ? (int)most : 1;
}

static void
taps_advance(const struct attention_layers *a, struct attention_taps *taps, size_t n)
{
	for (int i = 0; i < ATTENTION_TAPS; i++) {
		uint64_t shape[2] = {1, 1};

		if (!taps->to[i])
			continue;
		if (a->kind->tap(&a->model->config, i, taps->positions, shape) == 1)
			shape[1] = 1;
		taps->to[i] += n * shape[0] * shape[1];
	}
}

int
attention_add(struct attention_layers *a, int layer, float *h, const struct kv_rows *rows,
    struct attention_taps *taps)
{
	ptrdiff_t half = a->rope.half, D = a->model->config.hidden_size;
	int most = block_rows(a, taps);

	for (int t = 0; t < rows->n; t += most) {
		struct kv_rows block = *rows;

		block.pos += t;
		block.list += t;
		if (rows->n > most) {
			block.n = rows->n - t < most ? rows->n - t : most;
			block.most = 0;
			for (int i = t; i < t + block.n; i++)
				if ((int)(a->appended[i] / CACHE_PAGE) >= block.most)
					block.most = (int)(a->appended[i] / CACHE_PAGE) + 1;
		}
		if (a->kind->add(a, a->layers[layer].weights, h + t * D, &block,
		    (float *)a->cosine.p + t * half, (float *)a->sine.p + t * half, taps) < 0)
			return -1;
		taps_advance(a, taps, (size_t)block.n);
	}
	return 0;
}
