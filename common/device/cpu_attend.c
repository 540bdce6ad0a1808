/*
 * The queries of a batch meet the pages of the cache. All queries that read the same keys, those
 * of a key head's query heads and of neighbouring rows of a prompt, are a tile: each page is read
 * from memory once for them. Where there are few tiles, their pages are divided into parts, which
 * threads compute in turn. The thread of a part joins what comes of its pages to what came of
 * those before, in the order of the pages; until the part before its own is joined, it keeps
 * them.  A row that sees chosen positions only is a tile of its own.
 */
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "device/cpu.h"
#include "device/cpu_pages.h"

#define QUERIES 64      /* of a tile at most */
#define PART 128        /* queries times pages of a part */
#define TILES 4         /* for each thread: with fewer, pages are divided */
#define WIDE 16         /* of a tile: with more, pages of BF16 are converted once for all */
#define LOOKS 200       /* for its turn, before a thread sleeps */

struct tile {
	int t, rows;            /* rows t .. of one sequence, at consecutive positions */
	int h, heads;           /* query heads h .. of them, which read one key head: */
	int g;
	int run;                /* queries that lie one after another */
	int first, pages;       /* pages first .. pages - 1 are seen by a row of it */
	size_t parts;           /* of this and all tiles before it */
	atomic_int turn;        /* the part whose pages are to be joined now */
};

struct attend {
	struct device *d;
	const struct kv_rows *r;
	const struct kv_shape *kv;
	int H;
	float scale;
	const float *query;     /* [T][H][key] */
	float *out, *max, *sum; /* [T][H][value], [T][H], [T][H] */
	struct tile *tiles;     /* [n] */
	int n, part;            /* pages in a part */
	atomic_size_t next;     /* the next part to compute */
	/* [threads][each]: p [QUERIES][CACHE_PAGE], chosen keys or values of a page, those of a
	 * page of BF16 as float32, then slots for what comes of a page: bo [queries][value], bmax
	 * and bsum [queries] of the tile */
	float *memory;
	size_t gathered, widened, each;
};

/* --- pages --- */

/* The thread reads `next` after this page: half of it is prefetched with the keys, half with the
 * values. */
static struct mat
tile_page(const struct attend *a, const struct tile *k, int page, int next, int values, int rows)
{
	void *const *pages = a->r->pages + a->r->list[k->t];
	struct mat m = cpu_page(a->r, a->kv, pages[page], k->g, values, rows);

	m.prefetch = m.data;
	if (next < k->pages) {
		struct mat after = cpu_page(a->r, a->kv, pages[next], k->g, values, rows);
		size_t bytes = CACHE_PAGE * dtype_row(after.dtype, after.cols) / (a->kv->shared ?
		    2 : 1);

		m.prefetch = (const char *)after.data + (a->kv->shared && values ? bytes : 0);
		m.prefetch_bytes = bytes;
	}
	return m;
}

static struct seen
seen(const struct attend *a, const struct tile *k, int i, int page)
{
	return cpu_sees(a->r, k->t + i, page);
}

/* Query i of a tile, counted over all rows and heads of the batch. */
static ptrdiff_t
query_of(const struct attend *a, const struct tile *k, int i)
{
	return (ptrdiff_t)(k->t + i / k->heads) * a->H + k->h + i % k->heads;
}

/* The keys or the values of a page at the chosen positions, gathered after p. */
static struct mat
tile_gather(const struct attend *a, const struct tile *k, int page, int values,
    const struct seen *s, float *p)
{
	return cpu_gather(a->r, a->kv, a->r->pages[a->r->list[k->t] + page], k->g, values, s,
	    p + QUERIES * CACHE_PAGE);
}

/* What products of float32 read of a page in BF16: once for all of them. */
static struct mat
tile_widen(const struct attend *a, const struct tile *k, struct mat m, float *p)
{
	float *to = p + QUERIES * CACHE_PAGE + a->gathered;

	if (a->widened == 0 || k->rows * k->heads <= WIDE)
		return m;
	for (int i = 0; i < m.rows; i++)
		a->d->k->row(to + (ptrdiff_t)i * m.cols, &m, i);
	m.data = to;
	m.dtype = F32;
	return m;
}

static size_t
slot_floats(const struct attend *a, const struct tile *k)
{
	return (size_t)k->rows * (size_t)k->heads * ((size_t)a->kv->value + 2);
}

/* What the tile's queries get from a page, by itself. Rows that see the same of it go
 * together. */
static void
page_read(const struct attend *a, const struct tile *k, int page, int next, float *p, float *slot)
{
	const struct kernels *kern = a->d->k;
	int V = a->kv->value, T = k->rows * k->heads;
	float *bmax = slot + T * V, *bsum = bmax + T;
	struct seen first = seen(a, k, 0, page);
	int from = first.from, to = seen(a, k, k->rows - 1, page).to;
	struct mat m, values;

	if (to <= from)
		return;
	m = first.chosen ? tile_gather(a, k, page, 0, &first, p) :
	    tile_page(a, k, page, next, 0, to);
	m = tile_widen(a, k, m, p);
	for (int i = 0; i < T; i += k->run) {
		kern->matmul(p + i * CACHE_PAGE, CACHE_PAGE, a->query + query_of(a, k,
		    i) * a->kv->key, a->kv->key, k->run, &m, from, to);
		m.prefetch_bytes = 0;
	}
	for (int i = 0; i < T; i += k->heads) {
		struct seen s = seen(a, k, i / k->heads, page);

		for (int j = i; s.to > s.from && j < i + k->heads; j++)
			kern->softmax_block(p + j * CACHE_PAGE + s.from, s.to - s.from, a->scale,
			    &bmax[j], &bsum[j]);
	}
	values = m;
	if (!first.chosen)
		values = tile_page(a, k, page, next, 1, to);
	else if (!a->kv->shared)
		values = tile_gather(a, k, page, 1, &first, p);
	if (a->kv->shared) {
		values.data = m.data;
		values.dtype = m.dtype;
	} else {
		values = tile_widen(a, k, values, p);
	}
	for (int i = 0, rows; i < k->rows; i += rows) {
		struct seen s = seen(a, k, i, page), o;
		struct mat seen_rows = mat_rows(&values, s.from, s.to - s.from);

		for (rows = 1; i + rows < k->rows; rows++) {
			o = seen(a, k, i + rows, page);
			if (o.from != s.from || o.to != s.to)
				break;
		}
		if (s.to > s.from)
			kern->matmul_t(slot + i * k->heads * V, V,
			    p + i * k->heads * CACHE_PAGE + s.from, CACHE_PAGE, rows * k->heads,
			    &seen_rows, 0, V);
	}
}

static void
page_join(const struct attend *a, const struct tile *k, int page, const float *slot)
{
	ptrdiff_t V = a->kv->value, T = (ptrdiff_t)k->rows * k->heads;
	const float *bmax = slot + T * V, *bsum = bmax + T;

	for (int i = 0; i < (int)T; i += k->heads) {
		struct seen s = seen(a, k, i / k->heads, page);

		for (int j = i; s.to > s.from && j < i + k->heads; j++) {
			ptrdiff_t q = query_of(a, k, j);

			a->d->k->softmax_join(a->out + q * V, &a->max[q], &a->sum[q], slot + j * V,
			    bmax[j], bsum[j], (int)V);
		}
	}
}

/* --- tiles --- */

static void
tile_begin(const struct attend *a, const struct tile *k)
{
	for (int i = 0; i < k->rows * k->heads; i++) {
		ptrdiff_t q = query_of(a, k, i);

		memset(a->out + q * a->kv->value, 0, (size_t)a->kv->value * sizeof(float));
		a->max[q] = -INFINITY;
		a->sum[q] = 0;
	}
}

static void
tile_end(const struct attend *a, const struct tile *k)
{
	for (int i = 0; i < k->rows * k->heads; i++) {
		ptrdiff_t q = query_of(a, k, i);

		a->d->k->scale(a->out + q * a->kv->value, 1.0f / a->sum[q], a->kv->value);
	}
}

static void
turn_wait(struct cpu *c, struct tile *k, int part)
{
	for (int i = 0; i < LOOKS && atomic_load(&k->turn) != part; i++)
		sched_yield();
	if (atomic_load(&k->turn) == part)
		return;
	pthread_mutex_lock(&c->lock);
	while (atomic_load(&k->turn) != part)
		pthread_cond_wait(&c->passed, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static void
turn_pass(struct cpu *c, struct tile *k)
{
	pthread_mutex_lock(&c->lock);
	atomic_fetch_add(&k->turn, 1);
	pthread_cond_broadcast(&c->passed);
	pthread_mutex_unlock(&c->lock);
}

static void
part_run(struct attend *a, struct tile *k, int part, float *mine)
{
	int from = k->first + part * a->part;
	int to = k->pages - from < a->part ? k->pages : from + a->part;
	int threads = pool_threads(a->d->pool);
	float *slots = mine + QUERIES * CACHE_PAGE + a->gathered + a->widened;
	int kept = from;        /* pages from here on wait in the slots */

	if (part == 0)
		tile_begin(a, k);
	for (int page = from; page < to; page++) {
		int last = page + 1 == to;

		page_read(a, k, page, last ? from + threads * a->part : page + 1, mine,
		    slots + (size_t)(page - kept) * slot_floats(a, k));
		if (last)
			turn_wait(a->d->cpu, k, part);
		else if (atomic_load(&k->turn) != part)
			continue;
		for (int i = kept; i <= page; i++)
			page_join(a, k, i, slots + (size_t)(i - kept) * slot_floats(a, k));
		kept = page + 1;
	}
	if (to == k->pages)
		tile_end(a, k);
	turn_pass(a->d->cpu, k);
}

/* Each thread: as long as there are parts, the next. */
static void
parts_run(void *arg, size_t from, size_t to, int thread)
{
	struct attend *a = arg;
	struct tile *k = a->tiles;
	size_t part;

	(void)from, (void)to;
	while ((part = atomic_fetch_add(&a->next, 1)) < a->tiles[a->n - 1].parts) {
		while (part >= k->parts)
			k++;
		part_run(a, k, (int)(part - (k == a->tiles ? 0 : k[-1].parts)),
		    a->memory + (size_t)thread * a->each);
	}
}

/* Row t + 1 is of the same sequence as row t, at the next position. */
static int
follows(const struct kv_rows *r, int t)
{
	return r->list[t + 1] == r->list[t] && r->pos[t + 1] == r->pos[t] + 1;
}

/* Neighbours in a prompt go together, and all query heads of a key head, or QUERIES of them. */
static void
tiles_make(struct attend *a)
{
	const struct kv_rows *r = a->r;
	int group = a->H / a->kv->heads, most = group < QUERIES ? QUERIES / group : 1;

	for (int t = 0, rows; t < r->n; t += rows) {
		for (rows = 1; !cpu_chosen(r, t) && rows < most && t + rows < r->n &&
		    follows(r, t + rows - 1) && !cpu_chosen(r, t + rows); rows++)
			;
		for (int g = 0; g < a->kv->heads; g++)
			for (int h = 0; h < group; h += QUERIES) {
				struct tile *k = &a->tiles[a->n++];

				*k = (struct tile){.t = t, .rows = rows, .h = g * group + h, .g = g,
				    .heads = group - h < QUERIES ? group - h : QUERIES,
				    .first = cpu_first_page(r, t),
				    .pages = (int)(r->pos[t + rows - 1] / CACHE_PAGE) + 1};
				k->run = k->heads == a->H ? k->rows * k->heads : k->heads;
			}
	}
}

/* How many pages a part has, and so how many a thread may have to keep. */
static int
parts_make(struct attend *a)
{
	int whole = a->n >= TILES * pool_threads(a->d->pool), most = 1, widest = 1;
	size_t parts = 0;

	for (int i = 0; i < a->n; i++) {
		const struct tile *k = &a->tiles[i];

		most = k->pages - k->first > most ? k->pages - k->first : most;
		widest = k->rows * k->heads > widest ? k->rows * k->heads : widest;
	}
	a->part = whole ? most : PART / widest;
	for (int i = 0; i < a->n; i++) {
		parts += ((size_t)(a->tiles[i].pages - a->tiles[i].first) + (size_t)a->part - 1) /
		    (size_t)a->part;
		a->tiles[i].parts = parts;
	}
	return whole ? 1 : a->part;
}

/* Multiply-adds of all tiles together. */
static double
cost(const struct attend *a)
{
	double sum = 0;

	for (int i = 0; i < a->n; i++)
		sum += (double)(a->tiles[i].pages - a->tiles[i].first) * a->tiles[i].rows *
		    a->tiles[i].heads;
	return sum * CACHE_PAGE * ((double)a->kv->key + a->kv->value);
}

int
cpu_attend(struct device *d, float *out, float *max, float *sum, const float *query,
    const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale)
{
	struct attend a = {.d = d, .r = rows, .kv = kv, .H = H, .scale = scale, .query = query,
	    .out = out, .max = max, .sum = sum};
	size_t threads = (size_t)pool_threads(d->pool), group = (size_t)(H / kv->heads);
	size_t most = (size_t)rows->n * (size_t)kv->heads * ((group + QUERIES - 1) / QUERIES), kept,
	    page, before;

	if (!(a.tiles = scratch_reserve(&d->cpu->tiles, most, sizeof(*a.tiles))))
		return -1;
	tiles_make(&a);
	kept = (size_t)parts_make(&a);
	page = CACHE_PAGE * (size_t)(kv->key > kv->value ? kv->key : kv->value);
	a.gathered = rows->chosen ? page : 0;
	a.widened = rows->dtype == BF16 && cache_type_default(d->k->precision) == F32 ? page : 0;
	a.each = before = QUERIES * CACHE_PAGE + a.gathered + a.widened;
	for (int i = 0; i < a.n; i++) {
		size_t slots = kept * slot_floats(&a, &a.tiles[i]);

		if (a.each < before + slots)
			a.each = (before + slots + 15) / 16 * 16;
	}
	if (!(a.memory = scratch_reserve(&d->cpu->slots, threads * a.each, sizeof(float))))
		return -1;
	if (threads > a.tiles[a.n - 1].parts)
		threads = a.tiles[a.n - 1].parts;
	pool_run(d->pool, threads, 1, cost(&a) / (double)threads, parts_run, &a);
	return 0;
}
