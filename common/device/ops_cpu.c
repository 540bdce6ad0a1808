/*
 * The CPU as a device: kernels over the rows of a batch, divided among the pool's threads by
 * outputs, so that the bits do not depend on how many threads there are.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "device/cpu.h"

/* --- memory --- */

static void *
reserve(struct device *d, struct scratch *s, size_t bytes)
{
	(void)d;
	return scratch_reserve(s, bytes ? bytes : 1, 1);
}

static void
release(struct device *d, struct scratch *s)
{
	(void)d;
	scratch_free(s);
}

static int
mirror(struct device *d, struct mirror *m, const void *data, size_t n)
{
	struct scratch s = {m->p, m->cap};
	int same = m->p && n == m->n && memcmp(m->p, data, n) == 0;

	(void)d;
	if (same)
		return 0;
	if (!scratch_reserve(&s, n ? n : 1, 1)) {
		*m = (struct mirror){0};
		return -1;
	}
	memcpy(s.p, data, n);
	*m = (struct mirror){.p = s.p, .n = n, .cap = s.bytes};
	return 1;
}

static void
mirror_release(struct device *d, struct mirror *m)
{
	(void)d;
	free(m->p);
	*m = (struct mirror){0};
}

static void *
page(struct device *d, size_t bytes)
{
	(void)d;
	return mem_raw(1, bytes);
}

static void
page_free(struct device *d, void *p)
{
	(void)d;
	free(p);
}

static int
copy(struct device *d, void *to, const void *from, size_t bytes)
{
	(void)d;
	if (bytes > 0)
		memcpy(to, from, bytes);
	return 0;
}

static int
clear(struct device *d, void *p, size_t bytes)
{
	(void)d;
	if (bytes > 0)
		memset(p, 0, bytes);
	return 0;
}

static int
wait(struct device *d)
{
	(void)d;
	return 0;
}

/* --- tensors of frames --- */

static void *
tensor(struct device *d, struct frame *f, const char *name, enum dtype t, uint64_t rows,
    uint64_t cols)
{
	struct tensor *x = frame_require(f, name, t, rows, cols);

	(void)d;
	return x ? x->data : NULL;
}

static void
wrote(struct frame *f, const char *name)
{
	(void)name;
	f->changed = 1;
}

static void *
tensor_add(struct device *d, struct frame *f, const char *name, enum dtype t, int rank,
    const uint64_t *shape)
{
	struct tensor *x = frame_add(f, name, t, rank, shape);

	(void)d;
	return x ? x->data : NULL;
}

/* --- products and rows --- */

struct call {
	const struct kernels *k;
	float *out;
	const float *x;
	ptrdiff_t ldo, ldx, out_step, x_step;
	int T, n;
	const struct mat *w;
	int first, step, rows;
	const float *weight;
	float eps;
};

static void
product_part(void *arg, size_t from, size_t to, int thread)
{
	const struct call *c = arg;

	(void)thread;
	c->k->matmul(c->out, c->ldo, c->x, c->ldx, c->T, c->w, (int)from, (int)to);
}

static int
product(struct device *d, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, enum precision p)
{
	const struct kernels *k = p == d->k->precision ? d->k : kernels_precision(d->k, p);
	struct call c = {.k = k, .out = out, .ldo = ldo, .x = x, .ldx = ldx, .T = T, .w = w};
	int grain = T < CPU_MANY ? CPU_GRAIN :
	    cpu_grain((size_t)w->rows, (size_t)pool_threads(d->pool), T);

	pool_run(d->pool, (size_t)w->rows, (size_t)grain, (double)T * w->cols, product_part, &c);
	return 0;
}

static void
heads_part(void *arg, size_t from, size_t to, int thread)
{
	const struct call *c = arg;

	(void)thread;
	for (int h = (int)from; h < (int)to; h++) {
		struct mat w = mat_rows(c->w, c->first + h * c->step, c->rows);

		c->k->matmul(c->out + h * c->out_step, c->ldo, c->x + h * c->x_step, c->ldx, c->T,
		    &w, 0, c->rows);
	}
}

static int
heads(struct device *d, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x,
    ptrdiff_t ldx, ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows,
    int H)
{
	struct call c = {.k = d->k, .out = out, .ldo = ldo, .out_step = out_step, .x = x,
	    .ldx = ldx, .x_step = x_step, .T = T, .w = w, .first = first, .step = step,
	    .rows = rows};

	pool_run(d->pool, (size_t)H, 1, (double)T * rows * w->cols, heads_part, &c);
	return 0;
}

static void
heads_t_part(void *arg, size_t from, size_t to, int thread)
{
	const struct call *c = arg;

	(void)thread;
	for (int h = (int)from; h < (int)to; h++) {
		struct mat w = mat_rows(c->w, c->first + h * c->step, c->rows);

		if (h + 1 < (int)to) {
			w.prefetch = mat_rows(c->w, c->first + (h + 1) * c->step, c->rows).data;
			w.prefetch_bytes = (size_t)w.rows * dtype_row(w.dtype, w.cols);
		}
		c->k->matmul_t(c->out + h * c->out_step, c->ldo, c->x + h * c->x_step, c->ldx, c->T,
		    &w, 0, w.cols);
	}
}

static int
heads_t(struct device *d, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x,
    ptrdiff_t ldx, ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows,
    int H)
{
	struct call c = {.k = d->k, .out = out, .ldo = ldo, .out_step = out_step, .x = x,
	    .ldx = ldx, .x_step = x_step, .T = T, .w = w, .first = first, .step = step,
	    .rows = rows};

	pool_run(d->pool, (size_t)H, 1, (double)T * rows * w->cols, heads_t_part, &c);
	return 0;
}

static void
norm_part(void *arg, size_t from, size_t to, int thread)
{
	const struct call *c = arg;

	(void)thread;
	for (ptrdiff_t t = (ptrdiff_t)from; t < (ptrdiff_t)to; t++)
		c->k->rmsnorm(c->out + t * c->ldo, c->x + t * c->ldx, c->weight, c->n, c->eps);
}

static int
norm(struct device *d, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, int n,
    const float *weight, float eps)
{
	struct call c = {.k = d->k, .out = out, .ldo = ldo, .x = x, .ldx = ldx, .n = n,
	    .weight = weight, .eps = eps};

	pool_run(d->pool, (size_t)T, 1, n, norm_part, &c);
	return 0;
}

#define RUN 65536       /* numbers of a call: a kernel counts in int */

static int
add(struct device *d, float *x, const float *y, size_t n)
{
	for (size_t i = 0; i < n; i += RUN)
		d->k->add(x + i, y + i, n - i < RUN ? (int)(n - i) : RUN);
	return 0;
}

static int
bias(struct device *d, float *x, const float *b, int T, int n)
{
	for (ptrdiff_t t = 0; t < T; t++)
		d->k->add(x + t * n, b, n);
	return 0;
}

static int
gather(struct device *d, float *out, const float *x, const int32_t *row, int T, int n)
{
	(void)d;
	for (ptrdiff_t t = 0; t < T; t++)
		memcpy(out + t * n, x + (ptrdiff_t)row[t] * n, (size_t)n * sizeof(*x));
	return 0;
}

static int
finish(struct device *d, float *h, const int64_t *acc, size_t n)
{
	for (size_t i = 0; i < n; i += RUN)
		d->k->fixed_finish(h + i, acc + i, n - i < RUN ? (int)(n - i) : RUN);
	return 0;
}

/* --- experts --- */

static int
bad_clear(struct device *d, int32_t *bad, int n)
{
	(void)d;
	for (int i = 0; i < n; i++)
		bad[i] = BAD_NONE;
	return 0;
}

static size_t
experts_bytes(const struct device *d, int D, int width, int pairs)
{
	(void)d, (void)D, (void)width, (void)pairs;
	return 0;
}

const struct ops ops_cpu = {
	.attend_rows = 64,
	.reserve = reserve, .release = release, .mirror = mirror, .mirror_free = mirror_release,
	.page = page, .page_free = page_free, .copy = copy, .clear = clear, .send = copy,
	    .fetch = copy, .wait = wait,
	.tensor = tensor, .wrote = wrote, .tensor_add = tensor_add,
	.product = product, .heads = heads, .heads_t = heads_t,
	.norm = norm, .add = add, .bias = bias, .gather = gather, .finish = finish,
	.angles = cpu_angles, .kv_append = cpu_kv_append, .index = cpu_index,
	    .attend = cpu_attend, .probs = cpu_probs,
	.route = cpu_route, .sort = cpu_sort, .all_rows = cpu_all_rows, .bad_clear = bad_clear,
	    .experts = cpu_experts,
	.experts_bytes = experts_bytes,
};
