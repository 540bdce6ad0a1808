/*
 * The queries of a block meet the pages of the cache.  All queries that read the same pages, those of the heads and of
 * neighbouring rows of a prompt, are a task: each page is read from memory once for them.  Where there are few tasks,
 * their pages are shared out in parts, which threads take in turn; what comes of a page is joined to what came of those
 * before it, in the order of the pages, by the thread that has it.  Nobody waits while that works out: a thread
 * keeps what comes of its pages until the part before its own is through.
 */
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "attention/mla_work.h"

#define QUERIES 64      /* of a task at most */
#define PART 128        /* queries times pages of a part */
#define TASKS 4         /* for each thread: with fewer, pages are shared out */
#define LOOKS 200       /* for one's turn, before one sleeps */

struct task {
	int t, rows;            /* rows t .. of one sequence, at consecutive positions */
	int h, heads;           /* heads h .. of them */
	int pages;
	size_t parts;           /* of this and all tasks before it */
	atomic_int turn;        /* the part whose pages are to be joined now */
	float max[QUERIES], sum[QUERIES];
};

struct attend {
	const struct work *w;
	struct task *tasks;     /* [n] */
	int n, part;            /* pages in a part */
	atomic_size_t next;     /* part that nobody has taken */
	float *memory;          /* [threads][each]: p [QUERIES][CACHE_PAGE] and slots, what comes of a page: bo [T][R], */
	size_t each;            /* bmax, bsum [T], T being the task's queries */
};

static size_t
slot_floats(const struct work *w, const struct task *k)
{
	return (size_t)k->rows * (size_t)k->heads * ((size_t)w->c->kv_lora_rank + 2);
}

/* How many positions of a page row i of the task sees: 0, or less, behind its own. */
static int
seen(const struct work *w, const struct task *k, int i, int page)
{
	int64_t n = (int64_t)w->r->pos[k->t + i] + 1 - (int64_t)page * CACHE_PAGE;

	return n < CACHE_PAGE ? (int)n : CACHE_PAGE;
}

/* The page as a matrix; half of `next`, the page that this thread reads then, is called from memory meanwhile. */
static struct mat
page_mat(const struct work *w, const struct task *k, int page, int next, int half)
{
	const struct cache_seq *s = w->r->seq[k->t];
	int width = w->c->kv_lora_rank + w->c->qk_rope_head_dim;
	size_t bytes = (size_t)width * CACHE_PAGE / 2 * sizeof(float);
	struct mat m = {.data = cache_rows(s, (size_t)page), .cols = width, .dtype = F32};

	if (next < k->pages) {
		m.prefetch = (const char *)cache_rows(s, (size_t)next) + (size_t)half * bytes;
		m.prefetch_bytes = bytes;
	}
	return m;
}

/* What the task's queries get from a page, by itself. */
static void
page_read(const struct work *w, const struct task *k, int page, int next, float *p, float *slot)
{
	const struct kernels *kern = w->a->s->k;
	int R = w->c->kv_lora_rank, width = R + w->c->qk_rope_head_dim, T = k->rows * k->heads;
	const float *query = w->query + ((ptrdiff_t)k->t * w->c->num_heads + k->h) * width;
	float *bmax = slot + T * R, *bsum = bmax + T;
	struct mat m = page_mat(w, k, page, next, 0);

	m.rows = seen(w, k, k->rows - 1, page);
	kern->matmul(p, CACHE_PAGE, query, width, T, &m, 0, m.rows);
	for (int i = 0; i < T; i++)
		if (seen(w, k, i / k->heads, page) > 0)
			kern->softmax_block(p + i * CACHE_PAGE, seen(w, k, i / k->heads, page), w->a->scale, &bmax[i], &bsum[i]);
	m = page_mat(w, k, page, next, 1);
	for (int i = 0, rows; i < k->rows; i += rows) {         /* those that see as many positions together */
		m.rows = seen(w, k, i, page);
		for (rows = 1; i + rows < k->rows && seen(w, k, i + rows, page) == m.rows; rows++)
			;
		if (m.rows > 0)
			kern->matmul_t(slot + i * k->heads * R, R, p + i * k->heads * CACHE_PAGE, CACHE_PAGE, rows * k->heads,
			    &m, 0, R);
	}
}

static void
page_join(const struct work *w, struct task *k, int page, const float *slot)
{
	ptrdiff_t R = w->c->kv_lora_rank, T = (ptrdiff_t)k->rows * k->heads;
	const float *bmax = slot + T * R, *bsum = bmax + T;
	float *o = w->latent + ((ptrdiff_t)k->t * w->c->num_heads + k->h) * R;

	for (ptrdiff_t i = 0; i < T; i++)
		if (seen(w, k, (int)i / k->heads, page) > 0)
			w->a->s->k->softmax_join(o + i * R, &k->max[i], &k->sum[i], slot + i * R, bmax[i], bsum[i], (int)R);
}

static void
task_begin(const struct work *w, struct task *k)
{
	size_t R = (size_t)w->c->kv_lora_rank, T = (size_t)k->rows * (size_t)k->heads;

	memset(w->latent + ((size_t)k->t * (size_t)w->c->num_heads + (size_t)k->h) * R, 0, T * R * sizeof(float));
	for (size_t i = 0; i < T; i++) {
		k->max[i] = -INFINITY;
		k->sum[i] = 0;
	}
}

static void
task_end(const struct work *w, struct task *k, float *p)
{
	ptrdiff_t R = w->c->kv_lora_rank;
	float *o = w->latent + ((ptrdiff_t)k->t * w->c->num_heads + k->h) * R;

	for (int i = 0; i < k->rows * k->heads; i++)
		w->a->s->k->scale(o + i * R, 1.0f / k->sum[i], (int)R);
	for (int i = 0; w->taps->probs && i < k->rows; i++)
		mla_tap_probs(w, (size_t)(k->t + i), k->h, k->heads, p, k->max + i * k->heads, k->sum + i * k->heads);
}

static void
turn_wait(struct mla_math *a, struct task *k, int part)
{
	for (int i = 0; i < LOOKS && atomic_load(&k->turn) != part; i++)
		sched_yield();
	if (atomic_load(&k->turn) == part)
		return;
	pthread_mutex_lock(&a->lock);
	while (atomic_load(&k->turn) != part)
		pthread_cond_wait(&a->passed, &a->lock);
	pthread_mutex_unlock(&a->lock);
}

static void
turn_pass(struct mla_math *a, struct task *k)
{
	pthread_mutex_lock(&a->lock);
	atomic_fetch_add(&k->turn, 1);
	pthread_cond_broadcast(&a->passed);
	pthread_mutex_unlock(&a->lock);
}

static void
part_do(struct attend *a, struct task *k, int part, float *mine)
{
	const struct work *w = a->w;
	int from = part * a->part, to = k->pages - from < a->part ? k->pages : from + a->part;
	int threads = pool_threads(w->a->s->pool);
	float *slots = mine + QUERIES * CACHE_PAGE;
	int kept = from;        /* pages from here on wait in the slots */

	if (part == 0)
		task_begin(w, k);
	for (int page = from; page < to; page++) {
		int last = page + 1 == to;

		page_read(w, k, page, last ? from + threads * a->part : page + 1, mine, slots + (size_t)(page - kept) * slot_floats(w, k));
		if (last)
			turn_wait(w->a, k, part);
		else if (atomic_load(&k->turn) != part)
			continue;
		for (int i = kept; i <= page; i++)
			page_join(w, k, i, slots + (size_t)(i - kept) * slot_floats(w, k));
		kept = page + 1;
	}
	if (to == k->pages)
		task_end(w, k, mine);
	turn_pass(w->a, k);
}

/* What each thread does: as long as there are parts, the next. */
static void
parts_take(void *arg, size_t from, size_t to, int thread)
{
	struct attend *a = arg;
	struct task *k = a->tasks;
	size_t part;

	(void)from, (void)to;
	while ((part = atomic_fetch_add(&a->next, 1)) < a->tasks[a->n - 1].parts) {
		while (part >= k->parts)
			k++;
		part_do(a, k, (int)(part - (k == a->tasks ? 0 : k[-1].parts)), a->memory + (size_t)thread * a->each);
	}
}

/* Neighbours in a prompt go together, and all heads, or QUERIES of them. */
static void
tasks_make(struct attend *a)
{
	const struct mla_rows *r = a->w->r;
	int H = a->w->c->num_heads, most = H < QUERIES ? QUERIES / H : 1;

	for (int t = 0, rows; t < r->n; t += rows) {
		for (rows = 1; rows < most && t + rows < r->n && r->seq[t + rows] == r->seq[t] &&
		    r->pos[t + rows] == r->pos[t] + (uint32_t)rows; rows++)
			;
		for (int h = 0; h < H; h += QUERIES)
			a->tasks[a->n++] = (struct task){.t = t, .rows = rows, .h = h, .heads = H - h < QUERIES ? H - h : QUERIES,
			    .pages = (int)(r->pos[t + rows - 1] / CACHE_PAGE) + 1};
	}
}

/* How many pages a part has, and so how many a thread may have to keep. */
static int
parts_make(struct attend *a)
{
	int whole = a->n >= TASKS * pool_threads(a->w->a->s->pool), most = 1, widest = 1;
	size_t parts = 0;

	for (int i = 0; i < a->n; i++) {
		const struct task *k = &a->tasks[i];

		most = k->pages > most ? k->pages : most;
		widest = k->rows * k->heads > widest ? k->rows * k->heads : widest;
	}
	a->part = whole ? most : PART / widest;
	for (int i = 0; i < a->n; i++) {
		parts += ((size_t)a->tasks[i].pages + (size_t)a->part - 1) / (size_t)a->part;
		a->tasks[i].parts = parts;
	}
	return whole ? 1 : a->part;
}

/* Multiply-adds of all tasks together. */
static double
cost(const struct attend *a)
{
	double sum = 0;

	for (int i = 0; i < a->n; i++)
		sum += (double)a->tasks[i].pages * a->tasks[i].rows * a->tasks[i].heads;
	return sum * CACHE_PAGE * (2.0 * a->w->c->kv_lora_rank + a->w->c->qk_rope_head_dim);
}

int
mla_attend(struct work *w)
{
	struct mla_math *math = w->a;
	struct attend a = {.w = w};
	size_t threads = (size_t)pool_threads(math->s->pool), most = (size_t)w->r->n * (((size_t)w->c->num_heads + QUERIES - 1) / QUERIES);
	int kept;

	if (!(a.tasks = scratch_reserve(&math->tasks, most, sizeof(*a.tasks))))
		return -1;
	tasks_make(&a);
	kept = parts_make(&a);
	a.each = QUERIES * CACHE_PAGE;
	for (int i = 0; i < a.n; i++)
		if (a.each < QUERIES * CACHE_PAGE + (size_t)kept * slot_floats(w, &a.tasks[i]))
			a.each = (QUERIES * CACHE_PAGE + (size_t)kept * slot_floats(w, &a.tasks[i]) + 15) / 16 * 16;
	if (!(a.memory = scratch_reserve(&math->parts, threads * a.each, sizeof(float))))
		return -1;
	if (threads > a.tasks[a.n - 1].parts)
		threads = a.tasks[a.n - 1].parts;
	pool_run(math->s->pool, threads, 1, cost(&a) / (double)threads, parts_take, &a);
	return 0;
}
