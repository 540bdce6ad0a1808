/*
 * The embedding's gradient: each row of h.grad goes to its token.
 */
#include <stdatomic.h>

#include "base/fail.h"
#include "base/pool.h"
#include "learn/param.h"
#include "stage/embed_internal.h"

struct scatter {
	const struct kernels *k;
	int64_t *acc;                   /* [V][D] */
	const int32_t *ids;
	const float *grad;              /* [T][D] */
	uint32_t T;
	size_t D;
	atomic_int bad;
};

/* Columns from..to-1 of all rows: several rows may have one token. */
static void
scatter_columns(void *arg, size_t from, size_t to, int thread)
{
	struct scatter *s = arg;

	(void)thread;
	for (uint32_t t = 0; t < s->T; t++)
		if (s->k->grad_columns(s->acc + (size_t)s->ids[t] * s->D + from,
		    s->grad + t * s->D + from, (ptrdiff_t)s->D, NULL, 0, 1, (int)(to - from)) < 0)
			atomic_store(&s->bad, 1);
}

int
embed_back(struct embed *e, struct frame *f)
{
	size_t D = (size_t)e->table.cols;
	const struct tensor *ids = frame_require(f, "ids", I32, f->rows, 0);
	const struct tensor *grad = ids ? frame_require(f, "h.grad", F32, f->rows, D) : NULL;
	struct scatter s = {.k = e->stage->k, .acc = e->gradient->acc, .T = f->rows, .D = D};

	if (!grad)
		return fail_in("embed.back");
	s.ids = ids->data;
	s.grad = grad->data;
	for (uint32_t t = 0; t < f->rows; t++)
		if (s.ids[t] < 0 || s.ids[t] >= e->table.rows)
			return fail(FAIL_DATA, "embed.back: token id %d is not in the vocabulary "
			    "of %d", s.ids[t], e->table.rows);
	pool_run(e->stage->pool, D, 16, (double)f->rows, scatter_columns, &s);
	if (atomic_load(&s.bad))
		return fail(FAIL_DATA, "embed.back: the gradient of '%s' is not finite, or too "
		    "large", e->gradient->name);
	while (f->ntensors > 0)
		frame_drop(f, f->tensors[f->ntensors - 1].name);
	frame_set_back(f, e->stage->model->config.num_layers);
	return 0;
}
