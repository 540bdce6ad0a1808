/*
 * The weights that attention used: once more over the pages, for a tap.
 */
#include <string.h>

#include "device/cpu.h"
#include "device/cpu_pages.h"

struct probs {
	struct device *d;
	const struct kv_rows *r;
	const struct kv_shape *kv;
	int H;
	float scale;
	const float *query;     /* [T][H][key] */
	const float *max, *sum; /* [T][H] */
	float *to;              /* [T][H][positions] */
	size_t positions;
	float *gathered;        /* [threads][CACHE_PAGE][key], where positions are chosen */
};

/* The weights p [n] of the chosen positions of a page, each at its own. */
static void
spread(float *p, const int32_t *at, int n)
{
	for (int i = n - 1; i >= 0; i--) {
		float weight = p[i];

		p[i] = 0;
		p[at[i] % CACHE_PAGE] = weight;
	}
}

/* The weights of a page: out [group][P] begins at its first position, where all are 0. */
static void
probs_page(const struct probs *c, int t, int g, int page, float *out, float *gathered)
{
	const struct kernels *k = c->d->k;
	struct seen s = cpu_sees(c->r, t, page);
	const void *keys = c->r->pages[c->r->list[t] + page];
	int group = c->H / c->kv->heads, n = s.to - s.from;
	ptrdiff_t q = (ptrdiff_t)t * c->H + g * group, P = (ptrdiff_t)c->positions;
	struct mat m = s.chosen ? cpu_gather(c->r, c->kv, keys, g, 0, &s, gathered) :
	    cpu_page(c->r, c->kv, keys, g, 0, CACHE_PAGE);

	if (n <= 0)
		return;
	k->matmul(out, P, c->query + q * c->kv->key, c->kv->key, group, &m, s.from, s.to);
	for (int h = 0; h < group; h++) {
		float *p = out + h * P + s.from, bmax, bsum, factor;

		k->softmax_block(p, n, c->scale, &bmax, &bsum);
		factor = bmax - c->max[q + h];
		k->exp(&factor, 1);
		k->scale(p, factor / c->sum[q + h], n);
		if (s.chosen)
			spread(p, s.chosen, n);
	}
}

/* Once more over the pages, now that the largest score and the sum of all are known: rows' query
 * heads, by key head. */
static void
probs_part(void *arg, size_t from, size_t to, int thread)
{
	const struct probs *c = arg;
	int group = c->H / c->kv->heads;
	float *gathered = c->gathered ?
	    c->gathered + (size_t)thread * CACHE_PAGE * (size_t)c->kv->key : NULL;

	for (int i = (int)from; i < (int)to; i++) {
		int t = i / c->kv->heads, g = i % c->kv->heads;
		size_t q = (size_t)t * (size_t)c->H + (size_t)(g * group);
		float *out = c->to + q * c->positions;

		memset(out, 0, (size_t)group * c->positions * sizeof(*out));
		for (int page = cpu_first_page(c->r, t);
		    page <= (int)(c->r->pos[t] / CACHE_PAGE); page++)
			probs_page(c, t, g, page, out + (ptrdiff_t)page * CACHE_PAGE, gathered);
	}
}

int
cpu_probs(struct device *d, float *probs, size_t positions, const float *max, const float *sum,
    const float *query, const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale)
{
	struct probs c = {.d = d, .r = rows, .kv = kv, .H = H, .scale = scale, .query = query,
	    .max = max, .sum = sum, .to = probs, .positions = positions};

	if (rows->chosen && !(c.gathered = scratch_reserve(&d->cpu->slots,
	    (size_t)pool_threads(d->pool) * CACHE_PAGE * (size_t)kv->key, sizeof(float))))
		return -1;
	pool_run(d->pool, (size_t)rows->n * (size_t)kv->heads, 1,
	    (double)positions * kv->key * (H / kv->heads), probs_part, &c);
	return 0;
}
