#include "stage/head_back.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "device/ops.h"
#include "learn/back.h"
#include "stage/frame_rows.h"
#include "stage/keep.h"

const char *const head_kept[] = {"h", NULL};

struct head_learn {
	struct param *norm, *weight;
	struct learn_pages pages, sub;  /* of a frame, and of its rows with logits */
	struct scratch rows;
};

int
head_learn(struct head *h)
{
	struct head_learn *l = h->learn = mem_new(1, sizeof(*l));

	return l && (l->norm = learn_vector(h->s->learn, ROLE_FINAL_NORM, -1, h->norm)) &&
	    (l->weight = learn_matrix(h->s->learn, ROLE_HEAD, -1, -1)) ? 0 : -1;
}

void
head_forget(struct head *h)
{
	if (!h->learn)
		return;
	learn_pages_free(&h->learn->pages);
	learn_pages_free(&h->learn->sub);
	scratch_free(&h->learn->rows);
	free(h->learn);
}

/* From the gradient of the logits to that of the rows of h that have them: x, y, dy [W][D] are
 * these rows, the same normed, and its gradient; x becomes the result. */
static int
rows_back(struct head *h, const struct logit_rows *r, float *x, float *y, float *dy)
{
	const struct config *c = &h->s->model->config;
	struct learn *l = h->s->learn;
	struct device *d = h->s->device;
	int D = c->hidden_size, V = c->vocab_size;

	if (d->ops->norm(d, y, D, x, D, r->n, D, h->norm, c->rms_norm_eps) < 0 ||
	    back_weight(l, h->learn->weight, 0, r->x, V, V, y, D, &h->learn->sub) < 0 ||
	    back_input(l, dy, D, r->x, V, r->n, &h->weight, 0) < 0)
		return -1;
	return back_norm(l, h->learn->norm, x, D, x, D, dy, D, D, h->norm, c->rms_norm_eps,
	    &h->learn->sub, 0);
}

/* h.grad of f, from the rows of h that have logits. */
static int
grad_add(struct head *h, struct frame *f, const struct logit_rows *r, const float *kept)
{
	size_t D = (size_t)h->s->model->config.hidden_size, n = (size_t)r->n * D;
	struct device *d = h->s->device;
	float *x = scratch_reserve(&h->learn->rows, 3 * n + 1, sizeof(*x));
	struct tensor *t = frame_add(f, "h.grad", F32, 2, (uint64_t[]){f->rows, D});

	if (!x || !t)
		return -1;
	memset(t->data, 0, t->bytes);
	if (r->n == 0)
		return 0;
	if (d->ops->gather(d, x, kept, r->row, r->n, (int)D) < 0 ||
	    rows_back(h, r, x, x + n, x + 2 * n) < 0)
		return -1;
	for (size_t i = 0; i < (size_t)r->n; i++)
		memcpy((float *)t->data + (size_t)r->row[i] * D, x + i * D, D * sizeof(*x));
	return 0;
}

int
head_back(struct head *h, struct frame *f)
{
	const struct config *c = &h->s->model->config;
	struct head_learn *l = h->learn;
	struct logit_rows rows;
	const struct tensor *x;
	struct frame kept;
	int r;

	frame_init(&kept);
	r = keep_take(h->s->keep, f, AT_HEAD, &kept);
	if (r == 0 && (!(x = frame_require(&kept, "h", F32, f->rows, (uint64_t)c->hidden_size)) ||
	    logit_rows_read(&rows, f, "logits.grad", c->vocab_size) < 0 ||
	    learn_pages_open(&l->pages, f) < 0 ||
	    learn_pages_select(&l->sub, &l->pages, rows.row, rows.n) < 0 ||
	    grad_add(h, f, &rows, x->data) < 0))
		r = -1;
	frame_free(&kept);
	if (r < 0)
		return -1;
	frame_drop(f, "logits.grad");
	frame_drop(f, "row");
	frame_set_back(f, c->num_layers);
	return 0;
}
