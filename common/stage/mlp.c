#include "stage/mlp.h"

#include <stdatomic.h>
#include <string.h>

#include "stage/linear.h"

int
mlp_open(struct mlp *m, struct model *model, int width, const char *name)
{
	int D = model->config.hidden_size;

	if (model_mat(model, &m->gate, width, D, "%s.gate_proj", name) < 0 ||
	    model_mat(model, &m->up, width, D, "%s.up_proj", name) < 0)
		return -1;
	return model_mat(model, &m->down, D, width, "%s.down_proj", name);
}

struct job {
	const struct kernels *k;
	const struct mlp *m;
	float *x, *gate, *up, *y;       /* [n][D], [n][width] twice, [n][D] */
	int64_t *acc;
	const int32_t *row;
	const float *w;
	int n;
	atomic_int bad;                 /* least i that was refused; n: none */
};

/* The inner units from..to-1 of all rows. */
static void
inner(void *arg, size_t from, size_t to, int thread)
{
	const struct job *j = arg;
	ptrdiff_t D = j->m->down.rows, width = j->m->gate.rows;

	(void)thread;
	j->k->matmul(j->gate, width, j->x, D, j->n, &j->m->gate, (int)from, (int)to);
	j->k->matmul(j->up, width, j->x, D, j->n, &j->m->up, (int)from, (int)to);
	for (ptrdiff_t i = 0; i < j->n; i++)
		j->k->silu_mul(j->gate + i * width + from, j->up + i * width + from, (int)(to - from));
}

/* The outputs from..to-1 of all rows, added to the sums. */
static void
outer(void *arg, size_t from, size_t to, int thread)
{
	struct job *j = arg;
	ptrdiff_t D = j->m->down.rows, width = j->m->gate.rows;

	(void)thread;
	j->k->matmul(j->y, D, j->gate, width, j->n, &j->m->down, (int)from, (int)to);
	for (int i = 0; i < j->n; i++) {
		int seen = atomic_load(&j->bad);

		if (j->k->fixed_add(j->acc + j->row[i] * D + (ptrdiff_t)from, j->y + i * D + (ptrdiff_t)from,
		    j->w[i], (int)(to - from)) < 0)
			while (i < seen && !atomic_compare_exchange_weak(&j->bad, &seen, i))
				;
	}
}

static int
mlp_block(const struct stage *s, struct job *j, const float *x)
{
	ptrdiff_t D = j->m->down.rows, width = j->m->gate.rows;

	for (ptrdiff_t i = 0; i < j->n; i++)
		memcpy(j->x + i * D, x + j->row[i] * D, (size_t)D * sizeof(*x));
	atomic_store(&j->bad, j->n);
	pool_run(s->pool, (size_t)width, LINEAR_GRAIN, 2.0 * j->n * (double)D, inner, j);
	pool_run(s->pool, (size_t)D, LINEAR_GRAIN, (double)j->n * (double)width, outer, j);
	return atomic_load(&j->bad) < j->n ? atomic_load(&j->bad) : -1;
}

/* Copy what a block has added. */
static void
mlp_tap(const struct job *j, float *to, const int32_t *slot)
{
	ptrdiff_t D = j->m->down.rows;

	for (ptrdiff_t i = 0; i < j->n; i++) {
		memcpy(to + slot[i] * D, j->y + i * D, (size_t)D * sizeof(*to));
		j->k->scale(to + slot[i] * D, j->w[i], (int)D);
	}
}

int
mlp_add(const struct stage *s, const struct mlp *m, struct scratch *memory, int64_t *acc,
    const float *x, const struct mlp_rows *r)
{
	size_t D = (size_t)m->down.rows, width = (size_t)m->gate.rows, most = r->n < MLP_ROWS ? (size_t)r->n : MLP_ROWS;
	float *p = scratch_need(memory, most * 2 * (D + width), sizeof(*p));
	struct job j = {.k = s->k, .m = m, .acc = acc, .x = p};

	if (!p)
		return -2;
	j.y = j.x + most * D;
	j.gate = j.y + most * D;
	j.up = j.gate + most * width;
	for (int i = 0; i < r->n; i += MLP_ROWS) {
		int bad;

		j.row = r->row + i;
		j.w = r->w + i;
		j.n = r->n - i < MLP_ROWS ? r->n - i : MLP_ROWS;
		bad = mlp_block(s, &j, x);
		if (bad >= 0)
			return i + bad;
		if (r->tap)
			mlp_tap(&j, r->tap, r->slot + i);
	}
	return -1;
}
