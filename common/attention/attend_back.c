#include "attention/attend_back.h"

#include <stdatomic.h>
#include <string.h>

#include "base/fail.h"
#include "device/cpu_pages.h"

/* What all tasks share. A task is a page of queries and one query head. */
struct call {
	const struct kernels *k;
	const struct attend_back *b;
	int64_t *acc;           /* [threads][sums]: of keys and values [T][heads][kv_numbers] */
	/* [pages][heads][kv_numbers][CACHE_PAGE]: the pages, their keys and values turned; so a
	 * product with them has a chain for each position, and no lanes to add up */
	float *turned;
	float *memory;          /* [threads][each]: p and dp [CACHE_PAGE][wide], then part */
	size_t threads, sums, each;
	ptrdiff_t wide;         /* positions of the longest sequence, in whole pages */
	atomic_int bad;         /* a gradient of keys or values was refused */
};

struct task {
	const struct call *c;
	int first;              /* the page of the sequence's position 0, among all pages */
	int t, rows;            /* rows t .. are the queries */
	int from, to;           /* pages of the sequence that one of them sees */
	int h, g;
	float *p, *dp;          /* [rows][wide]: position 64 from + i is column i */
	float *part;            /* [rows][key or value] */
	int64_t *acc;           /* of position 64 from, key head g */
};

/* --- pages --- */

/* Positions of a page that a row of the task sees. */
static int
page_rows(const struct task *k, int page)
{
	return page + 1 < k->to ? CACHE_PAGE : k->rows;
}

static struct mat
page_of(const struct task *k, int page, int values)
{
	const struct kv_rows *r = k->c->b->rows;

	return cpu_page(r, &k->c->b->kv, r->pages[r->list[k->t] + page], k->g, values,
	    page_rows(k, page));
}

static struct mat
turned_page(const struct task *k, int page, int values)
{
	const struct kv_shape *kv = &k->c->b->kv;
	ptrdiff_t head = (ptrdiff_t)(k->first + page) * kv->heads + k->g,
	    row = head * kv_numbers(kv) + (values && !kv->shared ? kv->key : 0);

	return (struct mat){.data = k->c->turned + row * CACHE_PAGE,
	    .rows = values ? kv->value : kv->key, .cols = CACHE_PAGE, .dtype = F32};
}

/* out [rows][..] = the products of x [rows][..] with the keys, or the values, of all pages. */
static void
with_pages(const struct task *k, float *out, const float *x, ptrdiff_t ldx, int values)
{
	for (int page = k->from; page < k->to; page++) {
		struct mat m = turned_page(k, page, values);

		k->c->k->matmul_t(out + (page - k->from) * CACHE_PAGE, k->c->wide, x, ldx, k->rows,
		    &m, 0, page_rows(k, page));
	}
}

/* x [rows][n] turned: to [n][CACHE_PAGE]. */
static void
turn(float *to, const float *x, int rows, int n)
{
	for (int i = 0; i < n; i++)
		for (int r = 0; r < rows; r++)
			to[i * CACHE_PAGE + r] = x[r * n + i];
}

/* Heads of pages, one after another: from .. to - 1. */
static void
pages_turn(void *arg, size_t from, size_t to, int thread)
{
	const struct call *c = arg;
	const struct attend_back *b = c->b;
	const struct kv_shape *kv = &b->kv;

	(void)thread;
	for (size_t i = from; i < to; i++) {
		size_t page = i / (size_t)kv->heads;
		int g = (int)(i % (size_t)kv->heads), t = b->pages->start[page],
		    rows = b->pages->start[page + 1] - t;
		const float *x = (const float *)b->rows->pages[b->rows->list[t] +
		    (int)(b->rows->pos[t] / CACHE_PAGE)] + g * CACHE_PAGE * kv_numbers(kv);
		float *turned = c->turned + i * (size_t)kv_numbers(kv) * CACHE_PAGE;

		turn(turned, x, rows, kv->key);
		if (!kv->shared)
			turn(turned + kv->key * CACHE_PAGE, x + CACHE_PAGE * kv->key, rows,
			    kv->value);
	}
}

/* out [rows][n] of stride ldo = the sums of keys, or values, by the weights w [rows][wide]: a chain
 * in each page, then the pages one after another. */
static void
of_pages(const struct task *k, float *out, ptrdiff_t ldo, int n, const float *w, int values)
{
	const struct kernels *kern = k->c->k;

	for (int page = k->from; page < k->to; page++) {
		struct mat m = page_of(k, page, values);
		const float *x = w + (page - k->from) * CACHE_PAGE;

		if (page == k->from) {
			kern->matmul_t(out, ldo, x, k->c->wide, k->rows, &m, 0, n);
			continue;
		}
		kern->matmul_t(k->part, n, x, k->c->wide, k->rows, &m, 0, n);
		for (ptrdiff_t i = 0; i < k->rows; i++)
			kern->add(out + i * ldo, k->part + i * n, n);
	}
}

/* --- rows --- */

/* The columns of row i that it sees: *from and how many. */
static int
seen(const struct task *k, int i, int *from)
{
	const struct kv_rows *r = k->c->b->rows;
	int pos = (int)r->pos[k->t + i];

	*from = (r->window > 0 && pos >= r->window ? pos + 1 - r->window : 0) -
	    k->from * CACHE_PAGE;
	return pos + 1 - k->from * CACHE_PAGE - *from;
}

/* 0 in the columns of a row that it does not see. */
static void
hide(const struct task *k, float *row, int from, int n)
{
	int all = (k->to - k->from - 1) * CACHE_PAGE + k->rows;

	memset(row, 0, (size_t)from * sizeof(*row));
	memset(row + from + n, 0, (size_t)(all - from - n) * sizeof(*row));
}

static void
softmax_rows(const struct task *k)
{
	const struct kernels *kern = k->c->k;

	for (int i = 0, from; i < k->rows; i++) {
		float *p = k->p + i * k->c->wide, max, sum;
		int n = seen(k, i, &from);

		kern->softmax_block(p + from, n, k->c->b->scale, &max, &sum);
		kern->scale(p + from, 1.0f / sum, n);
		hide(k, p, from, n);
	}
}

static void
softmax_rows_back(const struct task *k)
{
	for (int i = 0, from; i < k->rows; i++) {
		float *dp = k->dp + i * k->c->wide;
		int n = seen(k, i, &from);

		k->c->k->softmax_back(dp + from, k->p + i * k->c->wide + from, n,
		    k->c->b->scale);
		hide(k, dp, from, n);
	}
}

/* --- tasks --- */

/* Gradients of keys and values at the positions of all pages. */
static int
keys_back(const struct task *k, const float *q, const float *dout, ptrdiff_t ldo)
{
	const struct attend_back *b = k->c->b;
	const struct kv_shape *kv = &b->kv;
	ptrdiff_t lda = (ptrdiff_t)kv->heads * kv_numbers(kv);
	int bad = 0;

	for (int page = k->from; page < k->to; page++) {
		ptrdiff_t at = (ptrdiff_t)(page - k->from) * CACHE_PAGE;
		int64_t *acc = k->acc + at * lda;
		int n = page_rows(k, page);

		bad |= k->c->k->grad_outer(acc, lda, k->dp + at, k->c->wide, n, q,
		    (ptrdiff_t)b->H * kv->key, kv->key, k->rows);
		bad |= k->c->k->grad_outer(acc + (kv->shared ? 0 : kv->key), lda, k->p + at,
		    k->c->wide, n, dout, ldo, kv->value, k->rows);
	}
	return bad;
}

static int
task_run(const struct task *k)
{
	const struct attend_back *b = k->c->b;
	const struct kv_shape *kv = &b->kv;
	ptrdiff_t at = (ptrdiff_t)k->t * b->H + k->h, ldq = (ptrdiff_t)b->H * kv->key,
	    ldo = (ptrdiff_t)b->H * kv->value;
	const float *q = b->query + at * kv->key, *dout = b->dout + at * kv->value;

	with_pages(k, k->p, q, ldq, 0);
	softmax_rows(k);
	with_pages(k, k->dp, dout, ldo, 1);
	softmax_rows_back(k);
	of_pages(k, b->out + at * kv->value, ldo, kv->value, k->p, 1);
	of_pages(k, b->dquery + at * kv->key, ldq, kv->key, k->dp, 0);
	return keys_back(k, q, dout, ldo);
}

static void
tasks_run(void *arg, size_t from, size_t to, int thread)
{
	struct call *c = arg;
	const struct attend_back *b = c->b;
	float *mine = c->memory + (size_t)thread * c->each;
	int64_t *acc = c->acc + (size_t)thread * c->sums;

	for (size_t i = from; i < to; i++) {
		size_t page = i / (size_t)b->H;
		int h = (int)(i % (size_t)b->H), t = b->pages->start[page],
		    pos = (int)b->rows->pos[t];
		struct task k = {.c = c, .first = (int)page - pos / CACHE_PAGE, .t = t,
		    .rows = b->pages->start[page + 1] - t,
		    .from = cpu_first_page(b->rows, t), .to = pos / CACHE_PAGE + 1, .h = h,
		    .g = h / (b->H / b->kv.heads), .p = mine, .dp = mine + CACHE_PAGE * c->wide,
		    .part = mine + 2 * CACHE_PAGE * c->wide};

		k.acc = acc + (((ptrdiff_t)t - pos + k.from * CACHE_PAGE) * b->kv.heads + k.g) *
		    kv_numbers(&b->kv);
		if (task_run(&k) < 0)
			atomic_store(&c->bad, 1);
	}
}

/* Where ds-arithmetic(7) refuses a sum, however many threads share it. */
#define SUM_END (INT64_C(1) << 62)

/* The sums of all threads become the gradients of rows from .. to - 1. */
static void
sums_finish(void *arg, size_t from, size_t to, int thread)
{
	struct call *c = arg;
	const struct attend_back *b = c->b;
	size_t K = (size_t)b->kv.key, V = (size_t)b->kv.value, n = (size_t)kv_numbers(&b->kv),
	    heads = (size_t)b->kv.heads;

	(void)thread;
	for (size_t i = from * heads; i < to * heads; i++) {
		int64_t *acc = c->acc + i * n;
		int bad = 0;

		for (size_t t = 1; t < c->threads; t++)
			for (size_t j = 0; j < n; j++)
				bad |= __builtin_add_overflow(acc[j], acc[t * c->sums + j],
				    &acc[j]) || acc[j] >= SUM_END || acc[j] < -SUM_END;
		if (bad)
			atomic_store(&c->bad, 1);
		memset(b->dk + i * K, 0, K * sizeof(float));
		c->k->fixed_finish(b->dk + i * K, acc, (int)K);
		if (b->kv.shared)
			continue;
		memset(b->dv + i * V, 0, V * sizeof(float));
		c->k->fixed_finish(b->dv + i * V, acc + K, (int)V);
	}
}

/* Multiply-adds of a task, on average. */
static double
cost(const struct attend_back *b)
{
	double pages = 0;

	for (int i = 0; i < b->pages->n; i++)
		pages += (double)(b->pages->start[i + 1] - b->pages->start[i]) *
		    (b->rows->pos[b->pages->start[i]] / CACHE_PAGE + 1);
	return pages / b->pages->n * CACHE_PAGE * 3 * ((double)b->kv.key + b->kv.value);
}

static int
memory(struct call *c, struct scratch *work, int threads)
{
	const struct attend_back *b = c->b;
	const struct kv_shape *kv = &b->kv;
	uint32_t longest = 0;
	size_t sums, turned = (size_t)b->pages->n * (size_t)(kv->heads * kv_numbers(kv)) *
	    CACHE_PAGE;

	for (int t = 0; t < b->rows->n; t++)
		longest = b->rows->pos[t] > longest ? b->rows->pos[t] : longest;
	c->threads = (size_t)threads;
	c->wide = (ptrdiff_t)(longest / CACHE_PAGE + 1) * CACHE_PAGE;
	c->sums = (size_t)b->rows->n * (size_t)(kv->heads * kv_numbers(kv));
	c->each = CACHE_PAGE * (2 * (size_t)c->wide + (size_t)(kv->key > kv->value ? kv->key :
	    kv->value));
	sums = c->threads * c->sums * sizeof(*c->acc);
	if (!(c->acc = scratch_reserve(work, sums + (turned + c->threads * c->each) * sizeof(float),
	    1)))
		return -1;
	c->turned = (float *)(void *)((char *)c->acc + sums);
	c->memory = c->turned + turned;
	memset(c->acc, 0, sums);
	return 0;
}

int
attend_back(struct device *d, struct scratch *work, const struct attend_back *b)
{
	struct call c = {.k = d->k, .b = b};

	if (memory(&c, work, pool_threads(d->pool)) < 0)
		return -1;
	pool_run(d->pool, (size_t)(b->pages->n * b->kv.heads), 1,
	    (double)CACHE_PAGE * kv_numbers(&b->kv), pages_turn, &c);
	pool_run(d->pool, (size_t)b->pages->n * (size_t)b->H, 1, cost(b), tasks_run, &c);
	pool_run(d->pool, (size_t)b->rows->n, 1,
	    (double)c.threads * b->kv.heads * kv_numbers(&b->kv), sums_finish, &c);
	return !atomic_load(&c.bad) ? 0 :
	    fail(FAIL_DATA, "the gradient of keys or values is not finite, or too large");
}
