#include "stage/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "device/ops.h"
#include "stage/keep.h"
#include "stage/route_back.h"

_Static_assert(EXPERTS_MAX <= ROUTER_MAX, "experts that a device can choose among");

static int
gate_open(struct gate *g, struct model *m, int layer)
{
	if (!(g->norm = model_vector(m, ROLE_MLP_NORM, layer)) ||
	    model_weight(m, ROLE_ROUTER, layer, -1, &g->weight) < 0)
		return -1;
	if (m->config.topk_method != TOPK_NOAUX_TC)
		return 0;
	return (g->bias = model_vector(m, ROLE_ROUTER_BIAS, layer)) ? 0 : -1;
}

/* Intermediate results of rows that choose, in the device's memory: T of route_rows is set. */
static void
rows_layout(const struct config *c, struct arena *a, struct route_rows *rows)
{
	size_t T = (size_t)rows->T, E = (size_t)c->n_routed_experts;

	rows->scores = arena_next(a, T * E * sizeof(float));
	rows->choice = arena_next(a, T * E * sizeof(float));
	rows->x = arena_next(a, T * (size_t)c->hidden_size * sizeof(float));
}

static int
gate_register(struct gate *g, const struct config *c, struct device *d)
{
	if (device_register_vec(d, &g->norm, (size_t)c->hidden_size) < 0 ||
	    device_register(d, &g->weight) < 0)
		return -1;
	return g->bias ? device_register_vec(d, &g->bias, (size_t)c->n_routed_experts) : 0;
}

int
route_open(struct route *r, const struct stage *s)
{
	const struct config *c = &s->model->config;
	struct route_rows rows = {.T = ARENA_ROWS};
	struct arena count = {0};

	memset(r, 0, sizeof(*r));
	r->s = s;
	/* products of the router are f32 everywhere: in fp8 it also runs on a CPU */
	if (device_is_gpu(s->device) && stage_has_products(s) < 0)
		return -1;
	r->layers = mem_new((size_t)c->num_layers, sizeof(*r->layers));
	if (!r->layers)
		return -1;
	for (int i = 0; i < c->num_layers; i++)
		if (s->layers.has[i] && config_is_moe(c, i) &&
		    (gate_open(&r->layers[i], s->model, i) < 0 || gate_register(&r->layers[i], c,
		    s->device) < 0))
			return -1;
	rows_layout(c, &count, &rows);
	s->device->expected += count.used;
	return s->learn ? route_learn(r) : 0;
}

void
route_close(struct route *r)
{
	struct device *d = r->s->device;

	for (int i = 0; r->layers && i < r->s->model->config.num_layers; i++) {
		device_vec_free(d, r->layers[i].norm);
		device_vec_free(d, r->layers[i].bias);
	}
	free(r->layers);
	route_forget(r);
	d->ops->release(d, &r->rows);
}

struct router
route_rule(const struct config *c)
{
	return (struct router){
		.E = c->n_routed_experts, .K = c->num_experts_per_tok, .n_group = c->n_group,
		    .topk_group = c->topk_group,
		.sigmoid = c->scoring == SCORE_SIGMOID,
		.groups = c->n_group <= 1 || c->topk_method == TOPK_GREEDY ? 0 :
		    c->topk_method == TOPK_NOAUX_TC ? 2 : 1,
		.norm = c->norm_topk_prob, .factor = c->routed_scaling_factor};
}

int
route_add(const struct route *r, int layer, const struct route_rows *rows)
{
	const struct config *c = &r->s->model->config;
	const struct gate *g = &r->layers[layer];
	struct device *d = r->s->device;
	const struct router rule = route_rule(c);

	if (d->ops->product(d, rows->scores, rule.E, rows->x, c->hidden_size, rows->T, &g->weight,
	    PRECISION_F32) < 0)
		return -1;
	return d->ops->route(d, rows->scores, rows->choice, rows->idx, rows->w, g->bias, rows->T,
	    &rule);
}

/* Copies of what the choice was made of. */
static int
route_taps(const struct stage *s, struct frame *f, const struct route_rows *rows)
{
	uint64_t T = f->rows, D = (uint64_t)s->model->config.hidden_size,
	    E = (uint64_t)s->model->config.n_routed_experts;
	const struct { enum tap tap; const float *from; uint64_t width; } all[] = {
		{TAP_ROUTE_NORM, rows->x, D}, {TAP_ROUTE_SCORES, rows->scores, E},
		    {TAP_ROUTE_CHOICE, rows->choice, E}};

	for (int i = 0; i < 3; i++)
		if (tap_copy(s->device, s->taps, all[i].tap, f, f->layer, 2,
		    (uint64_t[]){T, all[i].width}, all[i].from) < 0)
			return -1;
	return 0;
}

static int
route_batch(struct route *r, struct frame *f)
{
	const struct stage *s = r->s;
	const struct config *c = &s->model->config;
	struct device *d = s->device;
	uint64_t shape[] = {f->rows, (uint64_t)c->num_experts_per_tok};
	struct route_rows rows = {.T = (int)f->rows};
	int D = c->hidden_size;
	const float *h = stage_hidden(s, f);
	struct arena a = {0};

	rows_layout(c, &a, &rows);
	if (!h || !(a.base = d->ops->reserve(d, &r->rows, a.used)) ||
	    !(rows.idx = d->ops->tensor_add(d, f, "expert.idx", I32, 2, shape)) ||
	    !(rows.w = d->ops->tensor_add(d, f, "expert.w", F32, 2, shape)))
		return -1;
	a.used = 0;
	rows_layout(c, &a, &rows);
	if (rows.T > 0 && (d->ops->norm(d, rows.x, D, h, D, rows.T, D, r->layers[f->layer].norm,
	    c->rms_norm_eps) < 0 || route_add(r, f->layer, &rows) < 0))
		return -1;
	return s->taps & TAPS_ROUTE ? route_taps(s, f, &rows) : 0;
}

int
route_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct route *r = arg;
	int back = stage_learns(r->s, f, AT_ROUTE_BACK), layer = f->layer,
	    acts = back ? back : stage_multiplies(r->s, f, AT_ROUTE);

	(void)out, (void)nout;
	if (acts <= 0)
		return acts < 0 ? -1 : 1;
	if (back)
		return route_back(r, f) < 0 ? fail_in("layer %d", layer) : 1;
	if (f->experts_done || frame_tensor(f, "expert.acc"))
		return fail(FAIL_DATA, "layer %d: experts are done before the router chose them",
		    f->layer);
	if (keep_rows(r->s->keep, f, route_kept) < 0 ||
	    (config_is_moe(&r->s->model->config, layer) && route_batch(r, f) < 0))
		return fail_in("layer %d", layer);
	frame_set_next(f, r->s->model->config.num_layers);
	return 1;
}
