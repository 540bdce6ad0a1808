/*
 * Before attention: the angles of a batch's positions, the keys and values that it appends to the
 * cache, and the rotation of its queries.
 */
#include <string.h>

#include "device/cpu.h"
#include "device/cpu_pages.h"

struct angles {
	float *cosine, *sine;
	const uint32_t *pos;
	const double *freq;
	int half;
	double factor;
};

static void
angles_part(void *arg, size_t from, size_t to, int thread)
{
	const struct angles *a = arg;

	(void)thread;
	for (size_t t = from; t < to; t++)
		for (size_t i = 0, half = (size_t)a->half; i < half; i++) {
			double angle = a->pos[t] * a->freq[i];

			a->cosine[t * half + i] = (float)(fixed_cos(angle) * a->factor);
			a->sine[t * half + i] = (float)(fixed_sin(angle) * a->factor);
		}
}

int
cpu_angles(struct device *d, float *cosine, float *sine, const uint32_t *pos, int T,
    const double *freq, int half, double factor)
{
	struct angles a = {cosine, sine, pos, freq, half, factor};

	pool_run(d->pool, (size_t)T, 1, 32.0 * half, angles_part, &a);
	return 0;
}

struct append {
	const struct kernels *k;
	const struct kv_append *a;
	const struct kv_rows *rows;
	float *heads;           /* [threads][the longest head]: where one is sorted */
	size_t each;
};

/* x, of n numbers, in which the numbers of a pair are neighbours: all first ones, then all
 * second ones. */
static void
unzip(float *x, int n, float *by)
{
	for (int i = 0; i < n / 2; i++) {
		by[i] = x[2 * i];
		by[n / 2 + i] = x[2 * i + 1];
	}
	memcpy(x, by, (size_t)(n / 2 * 2) * sizeof(*x));
}

/* A head of k or q, of n numbers: all that is done to it in place. */
static void
head_make(const struct append *c, size_t t, float *x, int n, const float *bias, const float *norm,
    int normed, float *by)
{
	const struct kv_append *a = c->a;
	size_t half = (size_t)a->half;

	if (a->zipped)
		unzip(x, n, by);
	if (bias)
		c->k->add(x, bias, n);
	if (norm)
		c->k->rmsnorm(x, x, norm, normed, a->eps);
	(a->halves ? c->k->rope_half : c->k->rope)(x + n - 2 * a->half, a->cosine + t * half,
	    a->sine + t * half, a->half);
}

/* Key head g of row t and its value, at its position in the cache, too. */
static void
key_append(const struct append *c, size_t t, int g, float *by)
{
	const struct kv_append *a = c->a;
	const struct kv_shape *kv = &a->kv;
	uint32_t pos = c->rows->pos[t], at = pos % CACHE_PAGE;
	ptrdiff_t head = (ptrdiff_t)t * kv->heads + g, K = kv->key, V = kv->value;
	void *page = c->rows->pages[c->rows->list[t] + (int)(pos / CACHE_PAGE)];
	ptrdiff_t first = (ptrdiff_t)g * CACHE_PAGE * kv_numbers(kv);
	float *k = a->k + head * K;

	head_make(c, t, k, kv->key, a->k_bias ? a->k_bias + g * K : NULL, a->norm, kv->value, by);
	cpu_store(c->rows, page, first + at * K, k, kv->key);
	if (kv->shared)
		return;
	if (a->v_bias)
		c->k->add(a->v + head * V, a->v_bias + g * V, kv->value);
	cpu_store(c->rows, page, first + CACHE_PAGE * K + at * V, a->v + head * V, kv->value);
}

static void
append_part(void *arg, size_t from, size_t to, int thread)
{
	const struct append *c = arg;
	const struct kv_append *a = c->a;
	float *by = c->heads + (size_t)thread * c->each;
	ptrdiff_t turned = 2 * a->half;

	for (size_t t = from; t < to; t++) {
		for (int g = 0; g < a->kv.heads; g++)
			key_append(c, t, g, by);
		for (int h = 0; h < a->H; h++) {
			ptrdiff_t at = (ptrdiff_t)t * a->H + h;
			float *q = a->q + at * a->width;

			head_make(c, t, q, a->width,
			    a->q_bias ? a->q_bias + (ptrdiff_t)h * a->width : NULL, a->q_norm,
			    a->width, by);
			if (a->query)
				memcpy(a->query + (at + 1) * a->kv.key - turned,
				    q + a->width - turned, (size_t)turned * sizeof(*q));
		}
	}
}

int
cpu_kv_append(struct device *d, const struct kv_append *a, const struct kv_rows *rows)
{
	struct append c = {d->k, a, rows, NULL, (size_t)(a->width > a->kv.key ? a->width :
	    a->kv.key)};

	if (!(c.heads = scratch_reserve(&d->cpu->slots, (size_t)pool_threads(d->pool) * c.each,
	    sizeof(*c.heads))))
		return -1;
	pool_run(d->pool, (size_t)rows->n, 1, (double)a->H * a->width, append_part, &c);
	return 0;
}
