/*
 * How rows choose experts.
 */
#include <math.h>
#include <string.h>

#include "device/cpu.h"

/* Of n scores the best not in taken; of equal ones the first; not a number is better than all. */
static int
best(const float *x, int n, const unsigned char *taken)
{
	int b = -1;

	for (int i = 0; i < n; i++)
		if (!taken[i] && (b < 0 || x[i] > x[b] || (isnan(x[i]) && !isnan(x[b]))))
			b = i;
	return b;
}

/* What a group of n experts is worth: its best, or with two the sum of its two best. */
static float
group_score(const float *x, int n, int two)
{
	unsigned char taken[ROUTER_MAX];
	int a, b;

	memset(taken, 0, (size_t)n);
	a = best(x, n, taken);
	taken[a] = 1;
	b = two ? best(x, n, taken) : -1;
	return b < 0 ? x[a] : x[a] + x[b];
}

/* Experts outside the best groups are put below all others. */
static void
keep_groups(const struct router *r, float *choice)
{
	int n = r->E / r->n_group;
	float score[ROUTER_MAX];
	unsigned char kept[ROUTER_MAX];

	memset(kept, 0, (size_t)r->n_group);
	for (int g = 0; g < r->n_group; g++)
		score[g] = group_score(choice + (ptrdiff_t)g * n, n, r->groups == 2);
	for (int i = 0; i < r->topk_group; i++)
		kept[best(score, r->n_group, kept)] = 1;
	for (int g = 0; g < r->n_group; g++)
		for (int e = g * n; !kept[g] && e < (g + 1) * n; e++)
			choice[e] = -INFINITY;
}

void
cpu_choose(const struct router *r, const float *scores, const float *bias, float *choice,
    int32_t *idx, float *w)
{
	int E = r->E, K = r->K, n = 0;
	unsigned char taken[ROUTER_MAX];
	float sum = 0;

	memset(taken, 0, (size_t)E);
	for (int e = 0; e < E; e++)
		choice[e] = bias ? scores[e] + bias[e] : scores[e];
	if (r->groups != 0)
		keep_groups(r, choice);
	for (int i = 0; i < K; i++)
		taken[best(choice, E, taken)] = 1;
	for (int e = 0; e < E && n < K; e++)
		if (taken[e]) {
			idx[n] = e;
			w[n++] = scores[e];
			sum += scores[e];
		}
	for (int i = 0; i < K; i++)
		w[i] = (r->norm ? w[i] / (sum + 1e-20f) : w[i]) * r->factor;
}

struct call {
	const struct kernels *k;
	const struct router *r;
	const float *bias;
	float *scores, *choice;         /* [T][E] */
	int32_t *idx;                   /* [T][K] */
	float *w;
};

static void
route_part(void *arg, size_t from, size_t to, int thread)
{
	const struct call *c = arg;
	size_t E = (size_t)c->r->E, K = (size_t)c->r->K;

	(void)thread;
	for (size_t t = from; t < to; t++) {
		float *scores = c->scores + t * E;

		(c->r->sigmoid ? c->k->sigmoid : c->k->softmax)(scores, (int)E);
		cpu_choose(c->r, scores, c->bias, c->choice + t * E, c->idx + t * K, c->w + t * K);
	}
}

int
cpu_route(struct device *d, float *scores, float *choice, int32_t *idx, float *w, const float *bias,
    int T, const struct router *r)
{
	struct call c = {d->k, r, bias, scores, choice, idx, w};

	pool_run(d->pool, (size_t)T, 1, 16.0 * (double)r->E, route_part, &c);
	return 0;
}
