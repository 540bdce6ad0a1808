#include "attention/backward.h"

#include <string.h>

#include "base/fail.h"

int
attention_learn(struct attention_layers *a, struct learn *l)
{
	const struct config *c = &a->model->config;

	if (!a->kind->back)
		return fail(FAIL_USAGE, "--learn: attention '%s' of model_type %s has no backward "
		    "pass", a->kind->name, c->type);
	for (int i = 0; i < c->num_layers; i++)
		if (a->layers[i].weights && a->kind->learn(a->layers[i].weights, l, i) < 0)
			return -1;
	a->learn = l;
	return 0;
}

/* --- rows --- */

/* Memory of rows: their pages, and what finds them; angles. */
struct layout {
	char *pages;            /* [pages] */
	size_t page;            /* bytes */
	void **page_list;       /* [pages] */
	int32_t *list;          /* [T] */
	float *cosine, *sine, *minus;   /* [T][half] */
};

static void
layout(struct layout *y, struct arena *arena, size_t T, size_t pages, size_t half)
{
	y->pages = arena_next(arena, pages * y->page);
	y->page_list = arena_next(arena, pages * sizeof(*y->page_list));
	y->list = arena_next(arena, T * sizeof(*y->list));
	y->cosine = arena_next(arena, T * half * sizeof(float));
	y->sine = arena_next(arena, T * half * sizeof(float));
	y->minus = arena_next(arena, T * half * sizeof(float));
}

/* The lists of pages: row t's begin at that of its sequence's position 0. */
static void
list_pages(const struct layout *y, const struct learn_pages *p, const uint32_t *pos)
{
	int32_t first = 0;

	for (int i = 0; i < p->n; i++) {
		if (pos[p->start[i]] == 0)
			first = i;
		y->page_list[i] = y->pages + (size_t)i * y->page;
		for (int t = p->start[i]; t < p->start[i + 1]; t++)
			y->list[t] = first;
	}
}

/* Pages of keys and values for all rows, and the angles of their positions. */
static int
set_rows(struct backward *b, const uint32_t *pos)
{
	struct attention_layers *a = b->a;
	struct device *d = a->device;
	const struct kv_shape kv = a->kind->kv(&a->model->config);
	size_t T = (size_t)learn_pages_rows(b->pages), n = (size_t)b->pages->n,
	    half = (size_t)a->rope.half;
	struct layout y = {.page = CACHE_PAGE * (size_t)kv.heads * (size_t)kv_numbers(&kv) *
	    sizeof(float)};
	struct arena arena = {0};

	layout(&y, &arena, T, n, half);
	if (!(arena.base = scratch_reserve(&a->back_pages, arena.used, 1)))
		return -1;
	arena.used = 0;
	layout(&y, &arena, T, n, half);
	list_pages(&y, b->pages, pos);
	b->rows = (struct kv_rows){.n = (int)T, .pos = pos, .list = y.list, .pages = y.page_list};
	b->cosine = y.cosine;
	b->sine = y.sine;
	b->minus = y.minus;
	if (d->ops->angles(d, y.cosine, y.sine, pos, (int)T, a->rope.freq, a->rope.half,
	    a->rope.factor) < 0)
		return -1;
	for (size_t i = 0; i < T * half; i++)
		y.minus[i] = -y.sine[i];
	return 0;
}

int
attention_back(struct attention_layers *a, int layer, const struct learn_pages *pages,
    const uint32_t *pos, const float *h, float *dh)
{
	struct backward b = {.a = a, .l = a->learn, .pages = pages, .h = h, .dh = dh};

	if (learn_pages_rows(pages) == 0)
		return 0;
	return set_rows(&b, pos) < 0 ? -1 : a->kind->back(&b, a->layers[layer].weights);
}

struct turn {
	const struct backward *b;
	float *x;
	ptrdiff_t ldx;
	int heads, width;
};

static void
turn_part(void *arg, size_t from, size_t to, int thread)
{
	const struct turn *c = arg;
	const struct attention_layers *a = c->b->a;
	const struct kernels *k = a->device->k;
	int half = a->rope.half;

	(void)thread;
	for (size_t t = from; t < to; t++)
		for (int h = 0; h < c->heads; h++) {
			float *x = c->x + (ptrdiff_t)t * c->ldx + (h + 1) * c->width - 2 * half;

			(a->model->config.rope_half ? k->rope_half : k->rope)(x,
			    c->b->cosine + t * (size_t)half, c->b->minus + t * (size_t)half, half);
		}
}

void
backward_turn(const struct backward *b, float *x, ptrdiff_t ldx, int heads, int width)
{
	struct turn c = {b, x, ldx, heads, width};

	pool_run(b->a->device->pool, (size_t)b->rows.n, 1, 4.0 * heads * b->a->rope.half, turn_part,
	    &c);
}
