#include "stage/attn_gpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "stage/attn_gpu_internal.h"

struct attn_gpu_slab {
	struct attn_gpu_slab *next;
	void *p;
};

/* Memory for pages of so many bytes. */
static int
slab_new(struct attn_gpu *g, size_t bytes)
{
	struct device *d = g->s->gpu;
	size_t n = bytes < ATTN_GPU_SLAB ? ATTN_GPU_SLAB / bytes * bytes : bytes;
	struct attn_gpu_slab *slab = mem_new(1, sizeof(*slab));
	char more[32], weights[32], working[32];

	if (!slab)
		return -1;
	if (d->lib->alloc(d->gpu, &slab->p, n) < 0) {
		free(slab);
		return fail(FAIL_SYSTEM, "%s: no %s more for the cache, beside %s of it and of working memory and weights of %s: %s", d->name,
		    mem_text((double)n, more), mem_text((double)d->working, working), mem_text((double)d->weights, weights), d->lib->error());
	}
	slab->next = g->slabs;
	g->slabs = slab;
	g->page = slab->p;
	g->left = n;
	d->working += n;
	return 0;
}

/* A page more.  The caches keep those that they let go, so none comes back. */
static void *
page_new(void *arg, size_t bytes)
{
	struct attn_gpu *g = arg;
	void *page;

	if (g->left < bytes && slab_new(g, bytes) < 0)
		return NULL;
	page = g->page;
	g->page += bytes;
	g->left -= bytes;
	return page;
}

static void
page_drop(void *arg, void *page)
{
	(void)arg, (void)page;
}

static int
page_copy(void *arg, void *to, const void *from, size_t bytes)
{
	const struct attn_gpu *g = arg;
	const struct device *d = g->s->gpu;

	return d->lib->copy(d->gpu, to, from, bytes) < 0 ? device_fail(d, "a page of the cache") : 0;
}

struct attn_gpu *
attn_gpu_new(const struct stage *s)
{
	struct attn_gpu *g = mem_new(1, sizeof(*g));

	if (!g)
		return NULL;
	g->s = s;
	g->memory = (struct cache_memory){page_new, page_drop, page_copy, g};
	g->pages = mem_new((size_t)s->model->config.num_layers, sizeof(*g->pages));
	if (!g->pages) {
		free(g);
		return NULL;
	}
	return g;
}

void
attn_gpu_free(struct attn_gpu *g)
{
	struct device *d = g ? g->s->gpu : NULL;
	struct attn_gpu_slab *slab;

	if (!g)
		return;
	if (d->lib)
		(void)d->lib->wait(d->gpu);     /* an error may have left work behind */
	while ((slab = g->slabs)) {
		g->slabs = slab->next;
		d->lib->free(d->gpu, slab->p);
		free(slab);
	}
	for (int i = 0; i < g->s->model->config.num_layers; i++)
		mirror_free(d, &g->pages[i]);
	free(g->pages);
	mirror_free(d, &g->freq);
	mirror_free(d, &g->pos);
	mirror_free(d, &g->list);
	device_release(d, &g->cosine);
	device_release(d, &g->sine);
	device_release(d, &g->work);
	device_release(d, &g->attend);
	device_release(d, &g->probs);
	scratch_free(&g->rows);
	scratch_free(&g->tables);
	scratch_free(&g->tapped);
	free(g);
}

const struct cache_memory *
attn_gpu_memory(struct attn_gpu *g)
{
	return &g->memory;
}

/* Room for what attn_take says of so many rows. */
static int
rows_place(struct attn_gpu *g, size_t most, struct mla_rows *r)
{
	char *p = scratch_reserve(&g->rows, most, sizeof(*r->seq) + sizeof(*r->kv) + sizeof(*r->pos));

	if (!p)
		return -1;
	r->most = (int)most;
	r->seq = (const struct cache_seq **)(void *)p;
	r->kv = (void **)(void *)(p + most * sizeof(*r->seq));
	r->pos = (uint32_t *)(void *)(p + most * (sizeof(*r->seq) + sizeof(*r->kv)));
	return 0;
}

/* The angles of all rows, for all layers. */
static int
angles_make(struct attn *a, int n)
{
	struct attn_gpu *g = a->gpu;
	struct device *d = g->s->gpu;
	const struct rope *rope = &a->math.rope;
	size_t bytes = (size_t)n * (size_t)rope->half * sizeof(float);
	float *cosine = device_reserve(d, &g->cosine, bytes), *sine = device_reserve(d, &g->sine, bytes);

	if (!cosine || !sine || mirror_set(d, &g->freq, rope->freq, (size_t)rope->half * sizeof(*rope->freq)) < 0)
		return -1;
	return d->lib->angles(d->gpu, cosine, sine, g->pos.p, n, g->freq.p, rope->half, rope->factor) < 0 ?
	    device_fail(d, "angles") : 0;
}

/* Positions, lists and pages of the rows, to where kernels read them. */
static int
tables_set(struct attn *a, int layer, const struct mla_rows *rows, struct gpu_rows *r)
{
	struct attn_gpu *g = a->gpu;
	struct device *d = g->s->gpu;
	size_t n = (size_t)rows->n, pages = 0, at = 0;
	int32_t *list;
	void **page;
	int moved;

	for (size_t t = 0; t < n; t++)
		if (t == 0 || rows->seq[t] != rows->seq[t - 1])
			pages += rows->seq[t]->npages;
	if (pages > INT32_MAX)
		return fail(FAIL_SYSTEM, "%zu pages are more than a batch can have", pages);
	if (!(page = scratch_reserve(&g->tables, pages * sizeof(*page) + n * sizeof(*list), 1)))
		return -1;
	list = (int32_t *)(void *)(page + pages);
	*r = (struct gpu_rows){.n = rows->n};
	for (size_t t = 0; t < n; t++) {
		const struct cache_seq *s = rows->seq[t];
		int sees = (int)(rows->pos[t] / CACHE_PAGE) + 1;

		r->most = sees > r->most ? sees : r->most;
		if (t > 0 && s == rows->seq[t - 1]) {
			list[t] = list[t - 1];
			continue;
		}
		list[t] = (int32_t)at;
		for (size_t b = 0; b < s->npages; b++)
			page[at++] = cache_rows(s, b);
	}
	if (mirror_set(d, &g->pages[layer], page, pages * sizeof(*page)) < 0 ||
	    mirror_set(d, &g->list, list, n * sizeof(*list)) < 0 || (moved = mirror_set(d, &g->pos, rows->pos, n * sizeof(*rows->pos))) < 0)
		return -1;
	r->pos = g->pos.p;
	r->list = g->list.p;
	r->pages = g->pages[layer].p;
	return moved ? angles_make(a, rows->n) : 0;
}

int
attn_gpu_take(struct attn *a, int layer, const struct frame *f, struct attn_place *at, struct gpu_rows *r)
{
	struct mla_rows rows;

	/* (one more than there are, so that spans without rows at the end are seen, too) */
	if (rows_place(a->gpu, (size_t)f->rows + 1, &rows) < 0 || attn_take(a, &a->layers[layer].cache, f, at, &rows) < 0)
		return -1;
	*r = (struct gpu_rows){0};
	return rows.n > 0 ? tables_set(a, layer, &rows, r) : 0;
}
