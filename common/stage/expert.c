#include "stage/expert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "stage/expert_back.h"
#include "stage/frame_rows.h"
#include "stage/keep.h"
#include "stage/partial.h"

static struct mlp *
layer_mlps(const struct expert *x, struct mlp *all, int layer)
{
	return all + (ptrdiff_t)layer * (x->s->model->config.n_routed_experts + 1);
}

const struct mlp *
expert_mlps(const struct expert *x, int layer)
{
	return layer_mlps(x, x->mlps, layer);
}

int
expert_has_shared(const struct expert *x, int layer)
{
	const struct config *c = &x->s->model->config;

	return x->set.shared && (!config_is_moe(c, layer) || c->n_shared_experts > 0);
}

/* --- weights --- */

/* gate: the role of its first matrix; expert: -1 where it has none. */
static int
mlp_open(const struct expert *x, struct mlp *m, enum role gate, int layer, int expert)
{
	struct mat *mats[] = {&m->gate, &m->up, &m->down};

	for (int i = 0; i < 3; i++)
		if (model_weight(x->s->model, gate + (enum role)i, layer, expert, mats[i]) < 0 ||
		    device_register(x->s->device, mats[i]) < 0)
			return -1;
	return 0;
}

/* The first routed expert of the layer that is of the set, or -1. */
static int
first_of(const struct expert *x, int layer)
{
	const struct config *c = &x->s->model->config;
	const unsigned char *e = config_is_moe(c, layer) ? memchr(x->set.has, 1,
	    (size_t)c->n_routed_experts) : NULL;

	return e ? (int)(e - x->set.has) : -1;
}

static int
alike(const struct mat *a, const struct mat *b)
{
	return a->dtype == b->dtype && a->scale_cols == b->scale_cols && !a->scale == !b->scale;
}

/* One launch on a GPU computes all experts of a layer. */
static int
dtypes_check(const struct expert *x, int layer)
{
	int first = first_of(x, layer), E = x->s->model->config.n_routed_experts;
	const struct mlp *mlps = layer_mlps(x, x->mlps, layer);

	for (int e = first + 1; first >= 0 && e < E; e++) {
		const struct mlp *a = &mlps[first], *m = &mlps[e];
		const struct { const char *name; const struct mat *a, *b; } all[] = {
			{"gate", &a->gate, &m->gate}, {"up", &a->up, &m->up},
			    {"down", &a->down, &m->down}};

		for (int i = 0; x->set.has[e] && i < 3; i++)
			if (!alike(all[i].a, all[i].b))
				return fail(FAIL_DATA,
				    "layer %d: the %s matrix of expert %d is %s, of expert %d %s%s: "
				    "on a GPU the experts of a layer must be stored alike", layer,
				    all[i].name, first,
				    dtype_name(all[i].a->dtype), e, dtype_name(all[i].b->dtype),
				    all[i].a->dtype == all[i].b->dtype ? " with other scales" : "");
	}
	return 0;
}

static int
moe_open(struct expert *x, int layer)
{
	struct mlp *mlps = layer_mlps(x, x->mlps, layer);
	int E = x->s->model->config.n_routed_experts;

	for (int e = 0; e < E; e++)
		if (x->set.has[e] && mlp_open(x, &mlps[e], ROLE_EXPERT_GATE, layer, e) < 0)
			return -1;
	if (device_is_gpu(x->s->device) && dtypes_check(x, layer) < 0)
		return -1;
	return expert_has_shared(x, layer) ? mlp_open(x, &mlps[E], ROLE_SHARED_GATE, layer, -1) : 0;
}

static int
layer_open(struct expert *x, int layer)
{
	struct model *m = x->s->model;
	const struct config *c = &m->config;

	if (!(x->norms[layer] = model_vector(m, ROLE_MLP_NORM, layer)) ||
	    device_register_vec(x->s->device, &x->norms[layer], (size_t)c->hidden_size) < 0)
		return -1;
	if (config_is_moe(c, layer))
		return moe_open(x, layer);
	return x->set.shared ? mlp_open(x, &layer_mlps(x, x->mlps, layer)[c->n_routed_experts],
	    ROLE_DENSE_GATE, layer, -1) : 0;
}

/* Memory of a GPU that batches use at least: their rows, and what products of the process's
 * layers use. */
static uint64_t
expected(const struct expert *x)
{
	const struct config *c = &x->s->model->config;
	struct expert_rows rows = {.T = ARENA_ROWS, .layers = 1};
	struct arena count = {0};
	size_t most = 0;

	expert_layout(x, &count, &rows);
	for (int i = 0; i < c->num_layers; i++) {
		const struct { enum role gate; int pairs; } all[] = {
			{ROLE_EXPERT_GATE, rows.T * c->num_experts_per_tok},
			{ROLE_SHARED_GATE, rows.T}, {ROLE_DENSE_GATE, rows.T}};

		for (int k = 0; x->s->layers.has[i] && k < 3; k++) {
			struct weight w;
			size_t n = weight_find(&w, c, all[k].gate, i, 0) ?
			    x->s->device->ops->experts_bytes(x->s->device, c->hidden_size, w.rows,
			    all[k].pairs) : 0;

			if (n > most)
				most = n;
		}
	}
	return count.used + most + (uint64_t)c->num_layers * ((uint64_t)c->n_routed_experts + 1) *
	    sizeof(*x->mlps);
}

int
expert_open(struct expert *x, const struct stage *s, const char *set)
{
	const struct config *c = &s->model->config;
	size_t n = (size_t)c->num_layers;

	memset(x, 0, sizeof(*x));
	x->s = s;
	x->all = !set;
	if (!set)
		expert_set_all(&x->set, c->n_routed_experts);
	else if (expert_set_parse(&x->set, set, c->n_routed_experts, FAIL_USAGE) < 0)
		return fail_in("-e");
	x->norms = mem_new(n, sizeof(*x->norms));
	x->mlps = mem_new(n * ((size_t)c->n_routed_experts + 1), sizeof(*x->mlps));
	if (!x->norms || !x->mlps || stage_has_products(s) < 0)
		return -1;
	for (int i = 0; i < c->num_layers; i++)
		if (s->layers.has[i] && layer_open(x, i) < 0)
			return -1;
	s->device->expected += expected(x);
	return s->learn ? expert_learn(x) : 0;
}

void
expert_close(struct expert *x)
{
	struct device *d = x->s->device;

	for (int i = 0; x->norms && i < x->s->model->config.num_layers; i++)
		device_vec_free(d, x->norms[i]);
	free(x->norms);
	free(x->mlps);
	expert_forget(x);
	d->ops->mirror_free(d, &x->there);
	d->ops->mirror_free(d, &x->has);
	d->ops->release(d, &x->rows);
}

/* --- rows --- */

void
expert_layout(const struct expert *x, struct arena *a, struct expert_rows *r)
{
	const struct config *c = &x->s->model->config;
	uint64_t taps = x->s->taps;
	size_t T = (size_t)r->T, row = (size_t)c->hidden_size * sizeof(float),
	    K = (size_t)c->num_experts_per_tok;
	size_t pairs = c->n_routed_experts ? T * K : 0;

	r->x = arena_next(a, T * row);
	r->bad = arena_next(a, (size_t)r->layers * 2 * sizeof(*r->bad));
	r->chosen.E = c->n_routed_experts;
	r->chosen.pairs = (int)pairs;
	r->all.E = 1;
	r->all.pairs = r->T;
	for (int i = 0; i < 2; i++) {
		struct expert_pairs *o = i ? &r->all : &r->chosen;
		size_t n = (size_t)o->pairs;

		o->start = arena_next(a, ((size_t)o->E + 1) * sizeof(*o->start));
		o->row = arena_next(a, n * sizeof(*o->row));
		o->slot = arena_next(a, n * sizeof(*o->slot));
		o->w = arena_next(a, n * sizeof(*o->w));
	}
	r->each = taps & TAP_BIT(TAP_EXPERT_EACH) ? arena_next(a, pairs * row) : NULL;
	r->shared = taps & TAP_BIT(TAP_EXPERT_SHARED) ? arena_next(a, T * row) : NULL;
}

int
expert_begin(struct expert *x, const struct expert_rows *r)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->device;
	size_t n = (size_t)c->num_layers * ((size_t)c->n_routed_experts + 1);

	if (!x->there.p && d->ops->mirror(d, &x->there, x->mlps, n * sizeof(*x->mlps)) < 0)
		return -1;
	return d->ops->bad_clear(d, r->bad, 2 * r->layers) < 0 ? -1 : d->ops->all_rows(d, &r->all,
	    r->T);
}

int
expert_add(struct expert *x, const struct expert_rows *r, int layer, int at, int64_t *acc,
    const int32_t *idx, const float *w, const struct expert_set *mine)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->device;
	size_t E = (size_t)c->n_routed_experts;
	struct mlp *mlps = layer_mlps(x, x->mlps, layer), *there = layer_mlps(x, x->there.p, layer);
	struct expert_group group[2];
	int n = 0;

	if (config_is_moe(c, layer) && (!mine || memchr(mine->has, 1, E))) {
		int some = mine && memchr(mine->has, 0, E);

		if ((some && d->ops->mirror(d, &x->has, mine->has, E) < 0) ||
		    d->ops->sort(d, &r->chosen, idx, w, r->T, c->num_experts_per_tok,
		    some ? x->has.p : NULL) < 0)
			return -1;
		group[n++] = (struct expert_group){there, &mlps[first_of(x, layer)], r->chosen,
		    r->bad + (ptrdiff_t)at * 2, r->each, r->gate[0], r->up[0]};
	}
	if ((!mine || mine->shared) && expert_has_shared(x, layer))
		group[n++] = (struct expert_group){there + E, mlps + E, r->all,
		    r->bad + (ptrdiff_t)at * 2 + 1, r->shared, r->gate[1], r->up[1]};
	return d->ops->experts(d, acc, r->x, c->hidden_size, group, n);
}

/* --- contributions that are refused --- */

int
expert_refused(const struct expert *x, const struct expert_rows *r, int32_t *first, int *shared)
{
	struct device *d = x->s->device;
	int32_t bad[2 * LAYERS_MAX];

	if (d->ops->fetch(d, bad, r->bad, (size_t)r->layers * 2 * sizeof(*bad)) < 0)
		return -2;
	for (int i = 0; i < r->layers * 2; i++)
		if (bad[i] != BAD_NONE) {
			*first = bad[i];
			*shared = i % 2;
			return i / 2;
		}
	return -1;
}

static int
refuse(const struct frame *f, const char *who, uint32_t row)
{
	struct span at = row_at(f, row);

	return fail(FAIL_DATA,
	    "%s: contribution is not finite or is 2^18 or more (sequence %" PRIu64
	    " position %" PRIu32 ")", who, at.seq, at.pos);
}

int
expert_refuse(const struct expert *x, const struct frame *f, int layer, const int32_t *idx,
    const struct expert_set *mine, int32_t first, int shared)
{
	const struct config *c = &x->s->model->config;
	size_t K = (size_t)c->num_experts_per_tok, n = f->rows * K;
	char who[32];

	if (shared)
		return refuse(f, config_is_moe(c, layer) ? "shared experts" : "MLP",
		    (uint32_t)first);
	for (int e = 0; e < c->n_routed_experts; e++)           /* as they were sorted */
		for (size_t i = 0; (!mine || mine->has[e]) && i < n; i++)
			if (idx[i] == e && first-- == 0) {
				snprintf(who, sizeof(who), "expert %d", e);
				return refuse(f, who, (uint32_t)(i / K));
			}
	return fail(FAIL_SYSTEM, "a contribution was refused that no row asked for");
}

/* Wait for the sum, so that no frame leaves with one that was refused. */
static int
check(const struct expert *x, struct frame *f, const struct expert_rows *r,
    const struct expert_set *mine)
{
	const struct tensor *idx = NULL;
	int32_t first;
	int shared, at = expert_refused(x, r, &first, &shared);

	if (at == -1)
		return 0;
	if (at < 0 || (!shared && !(idx = frame_require(f, "expert.idx", I32, f->rows,
	    (uint64_t)x->s->model->config.num_experts_per_tok))))
		return -1;
	return expert_refuse(x, f, f->layer, idx ? idx->data : NULL, mine, first, shared);
}

/* --- a frame --- */

int
expert_mine(const struct expert *x, struct partial *p, struct expert_set *mine)
{
	int E = x->s->model->config.n_routed_experts;

	*mine = x->set;
	for (int e = 0; x->all && e < E; e++)
		mine->has[e] = !p->done.has[e];
	if (x->all)
		mine->shared = !p->done.shared;
	return expert_set_merge(&p->done, mine, E);
}

/* Where on the host the taps go, NULL if off. */
struct expert_taps {
	float *each, *shared;
};

static int
taps_add(const struct expert *x, struct frame *f, const struct expert_set *mine,
    struct expert_taps *taps)
{
	const struct config *c = &x->s->model->config;

	if (config_is_moe(c, f->layer) && partial_tap_each(x->s, f, &taps->each) < 0)
		return -1;
	return mine->shared && expert_has_shared(x, f->layer) ? tap_add(&taps->shared, x->s->taps,
	    TAP_EXPERT_SHARED, f, f->layer, 2, (uint64_t[]){f->rows, (uint64_t)c->hidden_size}) : 0;
}

/* What the process's experts add to p->acc, and the taps of it. */
static int
contribute(struct expert *x, struct frame *f, const struct partial *p,
    const struct expert_set *mine, struct expert_rows *r)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->device;
	uint64_t K = (uint64_t)c->num_experts_per_tok;
	size_t row = (size_t)c->hidden_size * sizeof(float), each = (size_t)r->chosen.pairs * row;
	struct expert_taps taps = {0};
	const int32_t *idx = NULL;
	const float *w = NULL;

	if (config_is_moe(c, f->layer) &&
	    (!(idx = d->ops->tensor(d, f, "expert.idx", I32, f->rows, K)) ||
	    !(w = d->ops->tensor(d, f, "expert.w", F32, f->rows, K))))
		return -1;
	if (taps_add(x, f, mine, &taps) < 0)
		return -1;
	if (r->T == 0)
		return 0;
	if (x->s->learn && expert_keep(x, f, mine, r) < 0)
		return -1;
	/* other processes may have left their experts' in the tap */
	if ((taps.each && d->ops->send(d, r->each, taps.each, each) < 0) ||
	    expert_add(x, r, f->layer, 0, p->acc, idx, w, mine) < 0)
		return -1;
	if ((taps.each && d->ops->fetch(d, taps.each, r->each, each) < 0) ||
	    (taps.shared && d->ops->fetch(d, taps.shared, r->shared, f->rows * row) < 0))
		return -1;
	return check(x, f, r, mine);
}

static int
normed_rows(struct expert *x, struct frame *f, struct expert_rows *r)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->device;
	int D = c->hidden_size;
	const float *h = stage_hidden(x->s, f);
	struct arena a = {0};

	expert_layout(x, &a, r);
	if (!h || !(a.base = d->ops->reserve(d, &x->rows, a.used)))
		return -1;
	a.used = 0;
	expert_layout(x, &a, r);
	if (r->T > 0 && (expert_begin(x, r) < 0 ||
	    d->ops->norm(d, r->x, D, h, D, r->T, D, x->norms[f->layer], c->rms_norm_eps) < 0))
		return -1;
	return tap_copy(d, x->s->taps, TAP_EXPERT_IN, f, f->layer, 2,
	    (uint64_t[]){f->rows, (uint64_t)D}, r->x);
}

/* Without a set this process has the gradients of all experts: no other may have some.  */
static int
check_owner(const struct expert *x, const struct frame *f)
{
	if (!x->s->learn || !x->all || !f->experts_done || !frame_other(f, "learn"))
		return 0;
	return fail(FAIL_DATA, "experts '%s' are done: with --learn give each ds-expert -e",
	    f->experts_done);
}

static int
expert_batch(struct expert *x, struct frame *f)
{
	const struct stage *s = x->s;
	struct expert_rows r = {.T = (int)f->rows, .layers = 1};
	struct expert_set mine;
	struct partial p;

	if (!frame_find(f, "h", F32, f->rows, (uint64_t)s->model->config.hidden_size) ||
	    check_owner(x, f) < 0 || keep_rows(s->keep, f, expert_kept) < 0 ||
	    partial_read(&p, s, f) < 0 || expert_mine(x, &p, &mine) < 0 ||
	    partial_begin(&p, s, f) < 0)
		return -1;
	if (normed_rows(x, f, &r) < 0 || contribute(x, f, &p, &mine, &r) < 0)
		return -1;
	return partial_write(&p, s, f);
}

int
expert_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct expert *x = arg;
	int back = stage_learns(x->s, f, AT_EXPERT_BACK),
	    acts = back ? back : stage_multiplies(x->s, f, AT_EXPERT), layer = f->layer;

	(void)out, (void)nout;
	if (acts <= 0)
		return acts < 0 ? -1 : 1;
	if (!config_is_moe(&x->s->model->config, layer) && !x->set.shared)
		return 1;
	if ((back ? expert_back(x, f) : expert_batch(x, f)) < 0)
		return fail_in("layer %d", layer);
	return 1;
}
