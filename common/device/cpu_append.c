/*
 * Before attention: the angles of a batch's positions, the keys and values that it appends to the
 * cache, and the rotation of its queries.
 */
#include <string.h>

#include "device/cpu.h"

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
};

/* Key head g of row t, in place and at its position in the cache, and its value. */
static void
key_append(const struct append *c, size_t t, int g)
{
	const struct kv_append *a = c->a;
	const struct kv_shape *kv = &a->kv;
	uint32_t pos = c->rows->pos[t], at = pos % CACHE_PAGE;
	ptrdiff_t head = (ptrdiff_t)t * kv->heads + g, K = kv->key, V = kv->value;
	float *page = (float *)c->rows->pages[c->rows->list[t] + (int)(pos / CACHE_PAGE)] +
	    (ptrdiff_t)g * CACHE_PAGE * kv_numbers(kv);
	float *k = a->k + head * K;

	if (a->norm)
		c->k->rmsnorm(k, k, a->norm, kv->value, a->eps);
	c->k->rope(k + K - 2 * a->half, a->cosine + t * (size_t)a->half,
	    a->sine + t * (size_t)a->half, a->half);
	memcpy(page + at * K, k, (size_t)K * sizeof(*k));
	if (!kv->shared)
		memcpy(page + CACHE_PAGE * K + at * V, a->v + head * V, (size_t)V * sizeof(*k));
}

static void
append_part(void *arg, size_t from, size_t to, int thread)
{
	const struct append *c = arg;
	const struct kv_append *a = c->a;
	ptrdiff_t turned = 2 * a->half;

	(void)thread;
	for (size_t t = from; t < to; t++) {
		for (int g = 0; g < a->kv.heads; g++)
			key_append(c, t, g);
		for (ptrdiff_t h = (ptrdiff_t)t * a->H, end = h + a->H; h < end; h++) {
			float *q = a->q + (h + 1) * a->width - turned;

			c->k->rope(q, a->cosine + t * (size_t)a->half,
			    a->sine + t * (size_t)a->half, a->half);
			if (a->query)
				memcpy(a->query + (h + 1) * a->kv.key - turned, q,
				    (size_t)turned * sizeof(*q));
		}
	}
}

int
cpu_kv_append(struct device *d, const struct kv_append *a, const struct kv_rows *rows)
{
	struct append c = {d->k, a, rows};

	pool_run(d->pool, (size_t)rows->n, 1, (double)a->H * a->width, append_part, &c);
	return 0;
}
