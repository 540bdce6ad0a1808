#include "learn/norm.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"

#define FIXED_END ((int64_t)1 << 62)

struct chunks {
	const int64_t *acc;
	size_t n;
	double unit;
	double *sum;            /* of each chunk */
};

/* The squares of n elements. */
static double
chunk_sum(const int64_t *acc, size_t n, double unit)
{
	double lanes[NORM_LANES] = {0}, sum = 0;

	for (size_t i = 0; i < n; i++) {
		double g = (float)((double)acc[i] * unit);

		lanes[i % NORM_LANES] += g * g;
	}
	for (int i = 0; i < NORM_LANES; i++)
		sum += lanes[i];
	return sum;
}

static void
sum_chunks(void *arg, size_t from, size_t to, int thread)
{
	const struct chunks *c = arg;

	(void)thread;
	for (size_t i = from; i < to; i++) {
		size_t at = i * NORM_CHUNK, left = c->n - at;

		c->sum[i] = chunk_sum(c->acc + at, left < NORM_CHUNK ? left : NORM_CHUNK, c->unit);
	}
}

/* A sum below 2^64 as fixed point, to the nearest, ties to even. */
static learn_square
fixed_of(double sum)
{
	double high = floor(sum);

	return ((learn_square)high << 64) + (learn_square)rint((sum - high) * 0x1p64);
}

int
norm_add(learn_square *sum, const char *name, const int64_t *acc, size_t n, double weight,
    struct pool *pool)
{
	size_t count = (n + NORM_CHUNK - 1) / NORM_CHUNK;
	struct chunks c = {acc, n, learn_unit(weight, 1), mem_raw(count, sizeof(double))};
	double all = 0;

	if (!c.sum)
		return -1;
	pool_run(pool, count, 1, 4 * NORM_CHUNK, sum_chunks, &c);
	for (size_t i = 0; i < count; i++)
		all += c.sum[i];
	free(c.sum);
	if (!(all < 0x1p64) || __builtin_add_overflow(*sum, fixed_of(all), sum))
		return fail(FAIL_DATA, "tensor '%s': the square of its gradient's norm is %g, too "
		    "large", name, all);
	return 0;
}

double
norm_root(learn_square sum)
{
	return sqrt((double)(uint64_t)(sum >> 64) + (double)(uint64_t)sum * 0x1p-64);
}

int
learn_norm(struct learn *l, double weight, learn_square *sum)
{
	*sum = 0;
	if (!(weight > 0 && weight < INFINITY))
		return fail(FAIL_DATA, "'weight' is %g, must be above 0 and finite", weight);
	for (size_t i = 0; i < l->nparams; i++) {
		const struct param *p = l->params[i];

		if (p->shared == SHARED_NONE && p->role != ROLE_ROUTER_BIAS &&
		    norm_add(sum, p->name, p->acc, p->n, weight, l->pool) < 0)
			return -1;
	}
	return 0;
}

int
learn_share(struct learn *l, const struct learn_shared *sums)
{
	for (size_t i = 0; i < l->nparams; i++) {
		const struct param *p = l->params[i];
		int64_t *to = shared_sums(l, p, sums);

		for (size_t j = 0; to && j < p->n; j++)
			if (__builtin_add_overflow(to[j], p->acc[j], &to[j]) ||
			    to[j] >= FIXED_END || to[j] <= -FIXED_END)
				return fail(FAIL_DATA, "tensor '%s': the sum of its gradient "
				    "overflows", p->name);
	}
	return 0;
}
