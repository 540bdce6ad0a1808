/*
 * Attention on the CPU over any shape of keys and values: against a plain specification in
 * double, within what the order of sums can make of it; and bit for bit, a key head's queries
 * with the others and alone, with one thread and several, in all instruction sets.
 */
/* check: yes */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "cpu/cpu.h"
#include "device/ops.h"
#include "append.h"
#include "sanitized.h"

static int tests, failed;

static void
ok(int good, const char *what, const char *of)
{
	printf("%sok %d - %s%s%s\n", good ? "" : "not ", ++tests, of, *of ? ": " : "", what);
	failed += !good;
}

static void *
memory(size_t n, size_t size)
{
	void *p = mem_new(n, size);

	if (!p) {
		printf("Bail out! %s\n", fail_text());
		exit(1);
	}
	return p;
}

static float
number(void)
{
	static uint64_t x = 1;

	x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (float)(int64_t)x * 0x1p-63f;
}

static float *
numbers(size_t n)
{
	float *p = memory(n ? n : 1, sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = number();
	return p;
}

#define SEQS 3
#define MOST 5          /* pages of a sequence, of all but */
#define LONG 300        /* the first of a world of long contexts */

/* Rows of three sequences: a prompt that is appended at once, and the last rows of two longer
 * ones. */
struct world {
	struct kv_shape kv;
	int H, T, npages;
	uint32_t pos[256];
	int32_t list[256];
	void *pages[LONG + SEQS * MOST];
	struct kv_rows rows;
	float *k, *v, *q;       /* [T][heads][key], [T][heads][value], [T][H][key] */
	float *out, *max, *sum;
	size_t page;            /* floats */
};

static const uint32_t begins[SEQS] = {0, 200, 64}, ends[SEQS] = {150, 201, 66};
static const uint32_t far_begins[SEQS] = {19100, 313, 0}, far_ends[SEQS] = {19103, 314, 1};

static void
world_new(struct world *w, struct kv_shape kv, int H, int window, int far)
{
	const uint32_t *from = far ? far_begins : begins, *to = far ? far_ends : ends;

	*w = (struct world){.kv = kv, .H = H};
	w->page = CACHE_PAGE * (size_t)kv.heads * ((size_t)kv.key + (kv.shared ? 0 :
	    (size_t)kv.value));
	for (int s = 0; s < SEQS; s++) {
		for (uint32_t p = from[s]; p < to[s]; p++) {
			w->pos[w->T] = p;
			w->list[w->T++] = w->npages;
		}
		w->npages += s == 0 && far ? LONG : MOST;
	}
	for (int i = 0; i < w->npages; i++)
		w->pages[i] = numbers(w->page);
	w->rows = (struct kv_rows){.n = w->T, .most = far ? LONG : MOST, .pos = w->pos,
	    .list = w->list, .pages = w->pages, .window = window};
	w->k = numbers((size_t)(w->T * kv.heads * kv.key));
	w->v = numbers((size_t)(w->T * kv.heads * kv.value));
	w->q = numbers((size_t)(w->T * H * kv.key));
	w->out = memory((size_t)(w->T * H * kv.value), sizeof(float));
	w->max = memory((size_t)(w->T * H), sizeof(float));
	w->sum = memory((size_t)(w->T * H), sizeof(float));
}

static void
world_free(struct world *w)
{
	for (int i = 0; i < w->npages; i++)
		free(w->pages[i]);
	free(w->k);
	free(w->v);
	free(w->q);
	free(w->out);
	free(w->max);
	free(w->sum);
}

/* Where the key, or the value, of position p is for row t's sequence. */
static const float *
stored(const struct world *w, int t, int g, uint32_t p, int value)
{
	const struct kv_shape *kv = &w->kv;
	const float *page = (const float *)w->pages[w->list[t] + (int)(p / CACHE_PAGE)] +
	    (size_t)g * w->page / (size_t)kv->heads;

	if (value && !kv->shared)
		return page + CACHE_PAGE * kv->key + p % CACHE_PAGE * (uint32_t)kv->value;
	return page + p % CACHE_PAGE * (uint32_t)kv->key;
}

static int
appended(const struct world *w)
{
	for (int t = 0; t < w->T; t++)
		for (int g = 0; g < w->kv.heads; g++) {
			size_t at = (size_t)(t * w->kv.heads + g), K = (size_t)w->kv.key,
			    V = (size_t)w->kv.value;

			if (memcmp(stored(w, t, g, w->pos[t], 0), w->k + at * K, K * 4) != 0 ||
			    (!w->kv.shared && memcmp(stored(w, t, g, w->pos[t], 1), w->v + at * V,
			    V * 4) != 0))
				return 0;
		}
	return 1;
}

/* The first position that row t sees. */
static uint32_t
first_seen(const struct world *w, int t)
{
	uint32_t W = (uint32_t)w->rows.window;

	return W == 0 || w->pos[t] < W ? 0 : w->pos[t] + 1 - W;
}

/* Row t, query head h, in double: the weights [pos + 1], and what a score can be wrong by,
 * doubled by the exponential. */
static double
weights(const struct world *w, int t, int h, float scale, double *p)
{
	const float *q = w->q + (size_t)(t * w->H + h) * (size_t)w->kv.key;
	double max = -INFINITY, sum = 0, wrong = 0;

	for (uint32_t i = first_seen(w, t); i <= w->pos[t]; i++) {
		const float *k = stored(w, t, h / (w->H / w->kv.heads), i, 0);
		double s = 0, all = 0;

		for (int c = 0; c < w->kv.key; c++) {
			s += (double)q[c] * k[c];
			all += fabs((double)q[c] * k[c]);
		}
		p[i] = s * scale;
		max = fmax(max, p[i]);
		wrong = fmax(wrong, 2 * all * scale * w->kv.key * 0x1p-24);
	}
	for (uint32_t i = first_seen(w, t); i <= w->pos[t]; i++)
		sum += p[i] = exp(p[i] - max);
	for (uint32_t i = first_seen(w, t); i <= w->pos[t]; i++)
		p[i] /= sum;
	return wrong + (w->pos[t] + 16) * 0x1p-24;
}

/* probs [T][H][positions] or NULL. */
static int
specified(const struct world *w, float scale, const float *probs, size_t positions)
{
	static double p[LONG * CACHE_PAGE];

	for (int t = 0; t < w->T; t++)
		for (int h = 0; h < w->H; h++) {
			double wrong = weights(w, t, h, scale, p);
			size_t at = (size_t)(t * w->H + h);

			for (size_t i = 0; probs && i < positions; i++) {
				double want = i >= first_seen(w, t) && i <= w->pos[t] ? p[i] : 0;

				if (!(fabs(probs[at * positions + i] - want) <= wrong * want))
					return 0;
			}
			for (int c = 0; c < w->kv.value; c++) {
				double want = 0, all = 0;

				for (uint32_t i = first_seen(w, t); i <= w->pos[t]; i++) {
					double term = p[i] * stored(w, t, h / (w->H / w->kv.heads),
					    i, 1)[c];

					want += term;
					all += fabs(term);
				}
				if (!(fabs(w->out[at * (size_t)w->kv.value +
				    (size_t)c] - want) <= wrong * all))
					return 0;
			}
		}
	return 1;
}

/* Key head g alone, with its queries, gives the same bits. */
static int
alone(const struct world *w, struct device *d, float scale, int g)
{
	const struct kv_shape one = {1, w->kv.key, w->kv.value, w->kv.shared};
	size_t group = (size_t)(w->H / w->kv.heads), K = group * (size_t)one.key,
	    V = group * (size_t)one.value;
	float *q = memory((size_t)w->T * K, 4), *out = memory((size_t)w->T * V, 4),
	    *max = memory((size_t)w->T * group, 4);
	float *sum = memory((size_t)w->T * group, 4);
	void *pages[LONG + SEQS * MOST];
	struct kv_rows rows = w->rows;
	int good;

	for (int i = 0; i < w->npages; i++)
		pages[i] = (float *)w->pages[i] + (size_t)g * w->page / (size_t)w->kv.heads;
	rows.pages = pages;
	for (size_t t = 0; t < (size_t)w->T; t++)
		memcpy(q + t * K, w->q + (t * (size_t)w->H + (size_t)g * group) * (size_t)one.key,
		    K * 4);
	good = d->ops->attend(d, out, max, sum, q, &rows, (int)group, &one, scale) == 0;
	for (size_t t = 0; t < (size_t)w->T; t++)
		good &= memcmp(out + t * V,
		    w->out + (t * (size_t)w->H + (size_t)g * group) * (size_t)one.value,
		    V * 4) == 0;
	free(q);
	free(out);
	free(max);
	free(sum);
	return good;
}

/* --- what is appended --- */

/* A copy of the append's heads, to be changed. */
struct heads {
	float *k, *v, *q;
	size_t nk, nv, nq;
};

static struct heads
heads_copy(const struct world *w)
{
	struct heads h = {.nk = (size_t)(w->T * w->kv.heads * w->kv.key) * 4,
	    .nv = (size_t)(w->T * w->kv.heads * w->kv.value) * 4,
	    .nq = (size_t)(w->T * w->H * w->kv.key) * 4};

	h.k = memcpy(memory(h.nk, 1), w->k, h.nk);
	h.v = memcpy(memory(h.nv, 1), w->v, h.nv);
	h.q = memcpy(memory(h.nq, 1), w->q, h.nq);
	return h;
}

static void
heads_free(struct heads *h)
{
	free(h->k);
	free(h->v);
	free(h->q);
}

static void
heads_put(const struct world *w, const struct heads *h)
{
	memcpy(w->k, h->k, h->nk);
	memcpy(w->v, h->v, h->nv);
	memcpy(w->q, h->q, h->nq);
}

/* All heads by append_head. */
static struct heads
heads_specify(const struct world *w, const struct kv_append *a, const struct kernels *ref)
{
	const struct kv_shape *kv = &w->kv;
	struct heads h = heads_copy(w);

	for (int t = 0; t < w->T; t++) {
		for (int g = 0; g < kv->heads; g++) {
			append_head(ref, a, t, h.k + (t * kv->heads + g) * kv->key, kv->key,
			    a->k_bias ? a->k_bias + g * kv->key : NULL, a->norm, kv->value);
			if (a->v_bias)
				ref->add(h.v + (t * kv->heads + g) * kv->value,
				    a->v_bias + g * kv->value, kv->value);
		}
		for (int i = 0; i < w->H; i++)
			append_head(ref, a, t, h.q + (t * w->H + i) * kv->key, kv->key,
			    a->q_bias ? a->q_bias + i * kv->key : NULL, a->q_norm, kv->key);
	}
	return h;
}

/* With some subsets of biases, norms, halves and zipped: on all devices what is specified, in place
 * and in the cache. */
static int
appends(struct device *const *d, struct world *w)
{
	const struct kv_shape kv = w->kv;
	float *bias = numbers((size_t)(w->H * (kv.key + kv.value) + 2));
	float *turn = numbers((size_t)(w->T * kv.key));
	struct heads was = heads_copy(w);
	int good = 1;

	for (int how = w->kv.key % 3; how < 16; how += 3) {
		struct kv_append a = {.kv = kv, .k = w->k, .v = kv.shared ? NULL : w->v, .H = w->H,
		    .width = kv.key, .q = w->q, .eps = 1e-6f, .cosine = turn,
		    .sine = turn + w->T * (kv.key / 2), .half = kv.key / 2,
		    .halves = how & 1, .zipped = how >> 1 & 1};
		struct heads want;

		if (how & 4) {
			a.k_bias = a.q_bias = bias;
			a.v_bias = kv.shared ? NULL : bias + 1;
		}
		if (how & 8 && kv.value <= kv.key)
			a.norm = a.q_norm = bias + 2;
		heads_put(w, &was);
		want = heads_specify(w, &a, kernels_named("ref"));
		for (int i = 0; d[i]; i++) {
			heads_put(w, &was);
			good &= d[i]->ops->kv_append(d[i], &a, &w->rows) == 0 && appended(w) &&
			    memcmp(w->k, want.k, was.nk) == 0 && memcmp(w->v, want.v,
			    was.nv) == 0 && memcmp(w->q, want.q, was.nq) == 0;
		}
		heads_free(&want);
	}
	heads_free(&was);
	free(bias);
	free(turn);
	return good;
}

/* The pages in BF16, by appending their numbers; those of w become the same numbers in float32. */
static void
halves(const struct world *w, void **to)
{
	for (int i = 0; i < w->npages; i++) {
		float *x = w->pages[i];
		uint16_t *half = to[i] = memory(w->page, sizeof(*half));

		for (size_t k = 0; k < w->page; k++) {
			uint32_t bits;

			x[k] = bf16_of_float(x[k]);
			memcpy(&bits, &x[k], sizeof(bits));
			half[k] = (uint16_t)(bits >> 16);
		}
	}
}

/* On all devices a cache of BF16 has the bits of one in float32 whose numbers are rounded, and gets
 * rounded numbers. */
static int
rounded(struct device *const *d, struct world *w, float scale)
{
	void *pages[LONG + SEQS * MOST];
	size_t bytes = (size_t)(w->T * w->H * w->kv.value) * 4;
	float *want = memory(bytes, 1);
	struct kv_append a = {.kv = w->kv, .k = w->k, .v = w->kv.shared ? NULL : w->v,
	    .H = w->H, .width = w->kv.key, .q = w->q};
	struct kv_rows half = w->rows;
	int good = 1;

	halves(w, pages);
	half.pages = pages;
	half.dtype = BF16;
	(void)d[0]->ops->attend(d[0], want, w->max, w->sum, w->q, &w->rows, w->H, &w->kv, scale);
	for (int i = 0; d[i]; i++)
		good &= d[i]->ops->attend(d[i], w->out, w->max, w->sum, w->q, &half, w->H, &w->kv,
		    scale) == 0 && memcmp(want, w->out, bytes) == 0;
	for (int i = 0; d[i] && !w->rows.window; i++) {
		good &= d[i]->ops->kv_append(d[i], &a, &half) == 0;
		for (int t = 0; t < w->T; t++) {
			uint32_t pos = w->pos[t] % CACHE_PAGE, bits;
			const uint16_t *key = (uint16_t *)pages[w->list[t] +
			    (int)(w->pos[t] / CACHE_PAGE)] + pos * (uint32_t)w->kv.key;

			for (int c = 0; c < w->kv.key; c++) {
				float x = bf16_of_float(w->k[t * w->kv.heads * w->kv.key + c]);

				memcpy(&bits, &x, sizeof(bits));
				good &= key[c] == bits >> 16;
			}
		}
	}
	for (int i = 0; i < w->npages; i++)
		free(pages[i]);
	free(want);
	return good;
}

static void
check(struct device *const *d, struct kv_shape kv, int H, int window, int far, const char *name)
{
	const size_t positions = far ? 19110 : 210;
	const float scale = 0.7f;
	struct world w;
	float *probs, *first;
	size_t bytes;
	int good = 1;

	world_new(&w, kv, H, window, far);
	bytes = (size_t)(w.T * H * kv.value) * 4;
	probs = memory((size_t)w.T * (size_t)H * positions, 4);
	first = memory(bytes, 1);
	ok(window > 0 || far || appends(d, &w),
	    "heads become what is specified, and are where they belong", name);
	ok(d[0]->ops->attend(d[0], w.out, w.max, w.sum, w.q, &w.rows, H, &kv, scale) == 0 &&
	    d[0]->ops->probs(d[0], probs, positions, w.max, w.sum, w.q, &w.rows, H, &kv,
	    scale) == 0 &&
	    (SANITIZED || specified(&w, scale, probs, positions)), "what is specified", name);
	for (int g = 0; g < kv.heads; g++)
		good &= alone(&w, d[0], scale, g);
	ok(good, "a key head alone has the same bits", name);
	memcpy(first, w.out, bytes);
	good = 1;
	for (int i = 1; d[i]; i++) {
		memset(w.out, 0, bytes);
		good &= d[i]->ops->attend(d[i], w.out, w.max, w.sum, w.q, &w.rows, H, &kv,
		    scale) == 0 && memcmp(first, w.out, bytes) == 0;
	}
	ok(good, "with other threads and instruction sets, too", name);
	if (!far)
		ok(rounded(d, &w, scale), "a cache of BF16 has rounded numbers", name);
	free(probs);
	free(first);
	world_free(&w);
}

/* Grouped-query attention. */
static const struct shape {
	int H, G, width, window, far;
} shapes[] = {
	{3, 1, 48, 0, 0}, {4, 4, 64, 0, 0}, {6, 2, 80, 0, 0}, {2, 1, 128, 0, 0}, {1, 1, 256, 0, 0},
	{4, 2, 48, 1, 0}, {4, 2, 20, 20, 0}, {6, 1, 64, 63, 0}, {2, 2, 32, 64, 0},
	{3, 1, 32, 65, 0},
	{12, 3, 16, 149, 0}, {6, 1, 16, 0, 1}, {4, 2, 16, 10000, 1}, {2, 1, 8, 200, 1},
};

int
main(void)
{
	struct pool *one = pool_new(1), *three = pool_new(3);
	struct device *d[17] = {0};
	int n = 0;

	/* (With sanitizers, one or three threads for each set, and plain C, which takes long there
	 * and which checkkernels has, only where there is no other.) */
	for (int i = SANITIZED && kernels_set(1) && kernels_named(kernels_set(1)); kernels_set(i);
	    i++)
		for (int t = 0; t < 2 && kernels_named(kernels_set(i)); t++)
			if (!SANITIZED || t == i % 2)
				d[n++] = device_new(-1, t ? three : one,
				    kernels_named(kernels_set(i)));
	check(d, (struct kv_shape){1, 40, 32, 1}, 4, 0, 0, "latents that 4 heads share");
	check(d, (struct kv_shape){1, 40, 32, 1}, 70, 0, 0, "latents that 70 heads share");
	check(d, (struct kv_shape){2, 16, 24, 0}, 8, 0, 0, "8 query heads, 2 key heads");
	check(d, (struct kv_shape){3, 33, 17, 0}, 6, 0, 0,
	    "6 query heads, 3 key heads of odd widths");
	check(d, (struct kv_shape){5, 8, 8, 0}, 5, 0, 0, "5 heads of their own");
	check(d, (struct kv_shape){2, 8, 8, 0}, 140, 0, 0, "140 query heads, 2 key heads");
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *s = &shapes[i];
		char name[80];

		snprintf(name, sizeof(name), "%d query heads, %d key heads of %d, window %d%s",
		    s->H, s->G, s->width, s->window, s->far ? ", long" : "");
		check(d, (struct kv_shape){s->G, s->width, s->width, 0}, s->H, s->window, s->far,
		    name);
	}
	for (int i = 0; i < n; i++)
		device_close(d[i]);
	pool_free(one);
	pool_free(three);
	printf("1..%d\n", tests);
	return failed > 0;
}
