#include "attention/backward.h"
#include "base/fail.h"
#include "frame/learn.h"
#include "stage/attn.h"
#include "stage/keep.h"

static const char *const kept_names[] = {"h", NULL};

int
attn_keep(const struct attn *a, struct frame *f)
{
	return keep_rows(a->s->keep, f, kept_names);
}

int
attn_release(const struct attn *a, const struct frame *f)
{
	struct frame_learn l;
	int learns = frame_learn(f, &l);

	for (int i = 0; i < f->nspans && learns > 0; i++)
		cache_release(&a->attention.layers[f->layer].cache, f->spans[i].seq);
	return learns < 0 ? -1 : 0;
}

/* The position of each row. NULL and a message. */
static uint32_t *
positions(struct attn *a, const struct frame *f)
{
	uint32_t *pos = scratch_reserve(&a->rows, (size_t)f->rows + 1, sizeof(*pos));
	size_t n = 0;

	for (int i = 0; pos && i < f->nspans; i++)
		for (uint32_t p = 0; p < f->spans[i].n; p++)
			pos[n++] = f->spans[i].pos + p;
	return pos;
}

/* kept: what the forward pass of f's rows had. */
static int
rows_back(struct attn *a, struct frame *f, struct frame *kept)
{
	uint64_t T = f->rows, D = (uint64_t)a->s->model->config.hidden_size;
	const struct tensor *dh = frame_require(f, "h.grad", F32, T, D),
	    *h = dh ? frame_require(kept, "h", F32, T, D) : NULL;
	const uint32_t *pos;

	if (!h || learn_pages_open(&a->pages, f) < 0 || !(pos = positions(a, f)))
		return -1;
	a->s->device->ops->wrote(f, "h.grad");
	return attention_back(&a->attention, f->layer, &a->pages, pos, h->data, dh->data);
}

int
attn_back(struct attn *a, struct frame *f)
{
	struct frame kept;
	int s;

	frame_init(&kept);
	s = keep_take(a->s->keep, f, AT_ATTN, &kept);
	if (s == 0)
		s = rows_back(a, f, &kept);
	frame_free(&kept);
	if (s < 0)
		return -1;
	frame_set_back(f, a->s->model->config.num_layers);
	return 0;
}
