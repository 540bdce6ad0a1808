#include "stage/linear.h"

struct job {
	const struct stage *s;
	float *out;
	const float *x;
	ptrdiff_t ldo, ldx;
	int T, n;
	const struct mat *w;
	const float *weight;
	float eps;
};

static void
product(void *arg, size_t from, size_t to, int thread)
{
	const struct job *j = arg;

	(void)thread;
	j->s->k->matmul(j->out, j->ldo, j->x, j->ldx, j->T, j->w, (int)from, (int)to);
}

void
linear(const struct stage *s, float *out, ptrdiff_t ldo, const float *x,
    ptrdiff_t ldx, int T, const struct mat *w)
{
	struct job j = {.s = s, .out = out, .ldo = ldo, .x = x, .ldx = ldx, .T = T, .w = w};

	pool_run(s->pool, (size_t)w->rows, LINEAR_GRAIN, (double)T * w->cols, product, &j);
}

static void
norm(void *arg, size_t from, size_t to, int thread)
{
	const struct job *j = arg;

	(void)thread;
	for (ptrdiff_t t = (ptrdiff_t)from; t < (ptrdiff_t)to; t++)
		j->s->k->rmsnorm(j->out + t * j->ldo, j->x + t * j->ldx, j->weight, j->n, j->eps);
}

void
linear_norm(const struct stage *s, float *out, ptrdiff_t ldo, const float *x,
    ptrdiff_t ldx, int T, int n, const float *weight, float eps)
{
	struct job j = {.s = s, .out = out, .ldo = ldo, .x = x, .ldx = ldx, .n = n,
	    .weight = weight, .eps = eps};

	pool_run(s->pool, (size_t)T, 1, n, norm, &j);
}
