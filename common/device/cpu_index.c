/*
 * The indexer of DeepSeek-V3.2 (2512.02556, section 2.1): small keys in the cache's pages, beside
 * those of attention, decide which positions attention reads.
 */
#include <math.h>
#include <string.h>

#include "device/cpu.h"
#include "device/cpu_pages.h"

#define DIGIT 11        /* bits by which positions are counted at once: 32 bits are three digits */
#define DIGITS (1 << DIGIT)

struct index {
	struct device *d;
	const struct indexer *x;
	const struct kv_rows *r;
	int32_t *chosen;        /* [T][topk] */
	float *scores;          /* [T][most * CACHE_PAGE] */
	float *products;        /* [threads][heads][CACHE_PAGE] */
};

/* --- keys and queries --- */

static void *
page_of(const struct index *c, size_t t, uint32_t page)
{
	return c->r->pages[c->r->list[t] + (int)page];
}

static void
append_part(void *arg, size_t from, size_t to, int thread)
{
	const struct index *c = arg;
	const struct indexer *x = c->x;
	const struct kernels *k = c->d->k;

	(void)thread;
	for (size_t t = from; t < to; t++) {
		const float *cosine = x->cosine + t * (size_t)x->half,
		    *sine = x->sine + t * (size_t)x->half;
		size_t width = (size_t)x->width, heads = (size_t)x->heads;
		float *key = x->k + t * width, *q = x->q + t * heads * width;
		uint32_t pos = c->r->pos[t];

		k->layernorm(key, key, x->norm, x->bias, x->width, x->eps);
		k->rope_half(key, cosine, sine, x->half);
		cpu_store(c->r, page_of(c, t, pos / CACHE_PAGE),
		    x->at + (ptrdiff_t)(pos % CACHE_PAGE * width), key, x->width);
		for (size_t h = 0; h < heads; h++)
			k->rope_half(q + h * width, cosine, sine, x->half);
		k->scale(x->weight + t * heads, x->scale, x->heads);
	}
}

/* --- scores --- */

/* Whether row t sees fewer positions than there are. */
static int
chooses(const struct index *c, size_t t)
{
	return c->r->pos[t] >= (uint32_t)c->x->topk;
}

/* Rows of a page, then those of the next: a page stays in a thread's cache. */
static void
score_part(void *arg, size_t from, size_t to, int thread)
{
	const struct index *c = arg;
	const struct indexer *x = c->x;
	const struct kernels *k = c->d->k;
	size_t T = (size_t)c->r->n, heads = (size_t)x->heads;
	float *p = c->products + (size_t)thread * heads * CACHE_PAGE;

	for (size_t i = from; i < to; i++) {
		size_t t = i % T, page = i / T;
		int64_t n = (int64_t)c->r->pos[t] + 1 - (int64_t)page * CACHE_PAGE;
		struct mat keys = {.rows = n < CACHE_PAGE ? (int)n : CACHE_PAGE, .cols = x->width,
		    .dtype = c->r->dtype};

		if (n <= 0 || !chooses(c, t))
			continue;
		keys.data = (const char *)page_of(c, t, (uint32_t)page) +
		    (size_t)x->at * dtype_size(keys.dtype);
		k->matmul(p, CACHE_PAGE, x->q + t * heads * (size_t)x->width, x->width, x->heads,
		    &keys, 0, keys.rows);
		k->index_scores(c->scores + (t * (size_t)c->r->most + page) * CACHE_PAGE, p,
		    CACHE_PAGE, x->weight + t * heads, x->heads, keys.rows);
	}
}

/* --- the best --- */

/* Scores in ascending order as integers; what is no number is the least. */
static uint32_t
order(float score)
{
	float x = score != score ? -INFINITY : score + 0;       /* -0 becomes +0 */
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/* The k-th largest of n, k <= n, found digit by digit; *equal of the k are equal to it. */
static uint32_t
threshold(const float *scores, size_t n, size_t k, size_t *equal)
{
	static const int shifts[] = {32 - DIGIT, 32 - 2 * DIGIT, 0};
	uint32_t found = 0, known = 0;

	for (int i = 0; i < 3; i++) {
		uint32_t count[DIGITS] = {0}, digits = i < 2 ? DIGITS : 1 << (32 - 2 * DIGIT), j;

		for (size_t s = 0; s < n; s++) {
			uint32_t o = order(scores[s]);

			if ((o & known) == found)
				count[o >> shifts[i] & (digits - 1)]++;
		}
		for (j = digits - 1; count[j] < k; j--)
			k -= count[j];
		found |= j << shifts[i];
		known |= (digits - 1) << shifts[i];
	}
	*equal = k;
	return found;
}

/* Of equal scores the lower positions are chosen. */
static void
choose(int32_t *chosen, const float *scores, size_t n, size_t k)
{
	size_t equal;
	uint32_t least = threshold(scores, n, k, &equal);

	for (size_t s = 0; s < n; s++) {
		uint32_t o = order(scores[s]);

		if (o > least)
			*chosen++ = (int32_t)s;
		else if (o == least && equal > 0) {
			*chosen++ = (int32_t)s;
			equal--;
		}
	}
}

static void
choose_part(void *arg, size_t from, size_t to, int thread)
{
	const struct index *c = arg;

	(void)thread;
	for (size_t t = from; t < to; t++) {
		size_t k = (size_t)c->x->topk, n = (size_t)c->r->pos[t] + 1;
		int32_t *chosen = c->chosen + t * k;

		if (chooses(c, t)) {
			choose(chosen, c->scores + t * (size_t)c->r->most * CACHE_PAGE, n, k);
			continue;
		}
		for (size_t s = 0; s < k; s++)
			chosen[s] = s < n ? (int32_t)s : -1;
	}
}

int
cpu_index(struct device *d, int32_t *chosen, const struct indexer *x, const struct kv_rows *rows)
{
	struct index c = {.d = d, .x = x, .r = rows, .chosen = chosen};
	size_t T = (size_t)rows->n, pages = (size_t)rows->most, sparse = 0;
	double numbers = (double)x->heads * x->width;

	for (size_t t = 0; t < T; t++)
		sparse += (size_t)chooses(&c, t);
	if (!(c.products = scratch_reserve(&d->cpu->slots, (size_t)pool_threads(d->pool) *
	    (size_t)x->heads * CACHE_PAGE, sizeof(float))) ||
	    (sparse && !(c.scores = scratch_reserve(&d->cpu->scores, T * pages * CACHE_PAGE,
	    sizeof(float)))))
		return -1;
	pool_run(d->pool, T, 1, numbers, append_part, &c);
	if (sparse)
		pool_run(d->pool, T * pages, 1, numbers * CACHE_PAGE, score_part, &c);
	pool_run(d->pool, T, 1, sparse ? 8.0 * CACHE_PAGE * (double)pages : x->topk, choose_part,
	    &c);
	return 0;
}
