#include <float.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "learn/save.h"

static int
check_shape(const struct param *p, const struct tensor_entry *t)
{
	int rank = p->cols ? 2 : 1;
	char is[200];

	if (t->dtype == F32 && t->rank == rank && t->shape[0] == (uint64_t)p->rows &&
	    (rank == 1 || t->shape[1] == (uint64_t)p->cols))
		return 0;
	tensor_entry_describe(t, is, sizeof(is));
	return rank == 1 ? fail(FAIL_DATA, "tensor '%s' is %s, must be F32 [%d]", t->name, is,
	    p->rows) : fail(FAIL_DATA, "tensor '%s' is %s, must be F32 [%d, %d]", t->name, is,
	    p->rows, p->cols);
}

/* NAME.suffix to [n]; none may be less than `least`. */
static int
load_one(const struct shards *s, const struct param *p, const char *suffix, float least, float *to)
{
	char name[WEIGHT_NAME_MAX + 10];
	const struct tensor_entry *t;
	const void *data;

	snprintf(name, sizeof(name), "%s.%s", p->name, suffix);
	if (!(t = shards_find(s, name, &data)))
		return fail(FAIL_DATA, "no file has tensor '%s'", name);
	if (check_shape(p, t) < 0)
		return -1;
	memcpy(to, data, p->n * sizeof(*to));
	for (size_t i = 0; i < p->n; i++)
		if (!(to[i] - to[i] == 0) || to[i] < least)
			return fail(FAIL_DATA, "tensor '%s' has %g, which no step makes", name,
			    (double)to[i]);
	return 0;
}

static int
load_param(struct learn *l, const struct shards *s, struct param *p)
{
	float least = -FLT_MAX;

	if (load_one(s, p, "master", least, p->master) < 0)
		return -1;
	if (p->role != ROLE_ROUTER_BIAS && (load_one(s, p, "m", least, p->m) < 0 ||
	    load_one(s, p, "v", 0, p->v) < 0))
		return -1;
	return learn_round(l, p);
}

int
learn_load(struct learn *l, const char *folder)
{
	struct shards s;
	int r = shards_open(&s, folder, l->model->weights.id, SAVE_STATE) < 0 ||
	    learn_begin(l) < 0 ? -1 : 0;

	for (size_t i = 0; r == 0 && i < l->nparams; i++)
		if ((r = load_param(l, &s, l->params[i])) < 0)
			fail_in("state '%.300s'", folder);
	l->step = s.step;
	shards_close(&s);
	return r;
}
