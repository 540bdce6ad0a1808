#include "learn/adamw.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fail.h"

#define GRAIN 4096              /* elements that a thread takes at least */
#define COST 20                 /* of an element, in multiply-adds */
#define TILE 512                /* elements whose gradients are in L1 */

struct adamw
adamw_constants(const struct frame_step *s, int matrix)
{
	return (struct adamw){
		.unit = learn_unit(s->weight, s->factor),
		.beta1 = (float)s->beta1, .rest1 = (float)(1 - s->beta1),
		.beta2 = (float)s->beta2, .rest2 = (float)(1 - s->beta2),
		.bias1 = (float)s->bias1, .bias2 = (float)s->bias2,
		.rate = (float)s->rate, .eps = (float)s->eps,
		.keep = matrix ? (float)(1 - s->rate * s->decay) : 1
	};
}

/* |x| as an integer that grows with it; from 0x7f800000 on it is not finite. */
static inline int32_t
magnitude(float x)
{
	int32_t b;

	memcpy(&b, &x, sizeof(b));
	return b & 0x7fffffff;
}

static inline int32_t
larger(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

/* Up to TILE elements; returns the largest magnitude of a result. */
static int32_t
update_tile(const struct adamw *a, float *restrict p, float *restrict m, float *restrict v,
    const float *restrict g, int n)
{
	const struct adamw c = *a;
	int32_t most = 0;

	for (int i = 0; i < n; i++) {
		float m1 = c.beta1 * m[i] + c.rest1 * g[i];
		float v1 = c.beta2 * v[i] + c.rest2 * (g[i] * g[i]);
		float step = (m1 / c.bias1) / (sqrtf(v1 / c.bias2) + c.eps);
		float x = p[i] * c.keep - c.rate * step;

		most = larger(most, larger(magnitude(x), larger(magnitude(m1), magnitude(v1))));
		m[i] = m1;
		v[i] = v1;
		p[i] = x;
	}
	return most;
}

int
adamw_update(const struct adamw *a, float *p, float *m, float *v, const int64_t *acc, size_t n)
{
	float g[TILE];
	int32_t most = 0;

	for (size_t i = 0; i < n; i += TILE) {
		int len = n - i < TILE ? (int)(n - i) : TILE;

		for (int j = 0; j < len; j++)
			g[j] = (float)((double)acc[i + (size_t)j] * a->unit);
		most = larger(most, update_tile(a, p + i, m + i, v + i, g, len));
	}
	return most < 0x7f800000 ? 0 : -1;
}

/* --- a step of a process --- */

struct update {
	struct adamw constants;
	struct param *p;
	const int64_t *acc;
	atomic_int wrong;
};

static void
update_range(void *arg, size_t from, size_t to, int thread)
{
	struct update *u = arg;
	const struct param *p = u->p;

	(void)thread;
	if (adamw_update(&u->constants, p->master + from, p->m + from, p->v + from, u->acc + from,
	    to - from) < 0)
		atomic_store(&u->wrong, 1);
	memset(p->acc + from, 0, (to - from) * sizeof(*p->acc));
}

/* The router's bias: acc has the rows that chose each expert. */
static void
balance(struct param *p, float by)
{
	int64_t all = 0;

	for (size_t i = 0; i < p->n; i++)
		all += p->acc[i];
	for (size_t i = 0; i < p->n; i++) {
		int64_t load = p->acc[i] * (int64_t)p->n;

		if (load != all)
			p->master[i] += load < all ? by : -by;
		p->acc[i] = 0;
	}
}

int64_t *
shared_sums(const struct learn *l, const struct param *p, const struct learn_shared *sums)
{
	if (p->shared == SHARED_EMBED)
		return sums->embed;
	if (p->shared != SHARED_MLP_NORM || !sums->mlp_norm)
		return NULL;
	return sums->mlp_norm + (size_t)p->layer * (size_t)l->model->config.hidden_size;
}

static int
step_param(struct learn *l, struct param *p, const struct frame_step *s,
    const struct learn_shared *sums)
{
	struct update u = {.constants = adamw_constants(s, p->cols > 0), .p = p};

	if (p->role == ROLE_ROUTER_BIAS) {
		balance(p, (float)s->balance);
		return learn_round(l, p);
	}
	if (!(u.acc = p->shared == SHARED_NONE ? p->acc : shared_sums(l, p, sums)))
		return fail(FAIL_DATA, "the frame has no sums of the gradient of '%s'", p->name);
	pool_run(l->pool, p->n, GRAIN, COST, update_range, &u);
	if (atomic_load(&u.wrong))
		return fail(FAIL_DATA, "tensor '%s': step %llu makes a weight or moment that is "
		    "not finite", p->name, (unsigned long long)s->t);
	return learn_round(l, p);
}

/* x within from .. to, which NaN is not. */
static int
check_number(const char *key, double x, double from, double to)
{
	return x >= from && x <= to ? 0 : fail(FAIL_DATA, "'%s' is %g, must be from %g to %g",
	    key, x, from, to);
}

static int
check_step(const struct frame_step *s)
{
	double least = 0x1p-120;                /* a float32, and so is what it divides */

	return s->t < 1 ? fail(FAIL_DATA, "'step' is 0, must be 1 or more") :
	    check_number("weight", s->weight, least, 1 / least) < 0 ||
	    check_number("rate", s->rate, 0, 1e6) < 0 ||
	    check_number("beta1", s->beta1, 0, 1 - 0x1p-24) < 0 ||
	    check_number("beta2", s->beta2, 0, 1 - 0x1p-24) < 0 ||
	    check_number("eps", s->eps, least, 1e6) < 0 ||
	    check_number("decay", s->decay, 0, 1e6) < 0 ||
	    check_number("factor", s->factor, 0, 1) < 0 ||
	    check_number("bias1", s->bias1, 0x1p-24, 1) < 0 ||
	    check_number("bias2", s->bias2, 0x1p-24, 1) < 0 ||
	    check_number("balance", s->balance, 0, 1e6) < 0 ? -1 : 0;
}

int
learn_step(struct learn *l, const struct frame_step *s, const struct learn_shared *sums)
{
	if (check_step(s) < 0 || learn_begin(l) < 0)
		return -1;
	for (size_t i = 0; i < l->nparams; i++)
		if (step_param(l, l->params[i], s, sums) < 0)
			return -1;
	return 0;
}
