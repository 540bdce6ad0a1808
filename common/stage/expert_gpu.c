#include "stage/expert_gpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "device/pieces.h"
#include "device/tensor.h"
#include "stage/tap_gpu.h"

#define NONE 0x7f       /* each byte of w->bad where nothing was refused: larger than any pair */

static int
has_shared(const struct expert *x, int layer)
{
	const struct config *c = &x->s->model->config;

	return x->set.shared && (!config_is_moe(c, layer) || c->n_shared_experts > 0);
}

/* --- working memory --- */

/* products: bytes of what the library needs for its own. */
static void
work_place(const struct expert *x, struct pieces *p, struct expert_work *w, int layers, int own, size_t products)
{
	const struct config *c = &x->s->model->config;
	size_t T = (size_t)w->T, D = (size_t)c->hidden_size, E = (size_t)c->n_routed_experts, K = (size_t)c->num_experts_per_tok;
	size_t pairs = E ? T * K : 0, each = x->s->taps & TAP_BIT(TAP_EXPERT_EACH) && pairs > T ? pairs : T;

	w->x = piece(p, T * D * sizeof(*w->x));
	w->bad = piece(p, (size_t)layers * 2 * sizeof(*w->bad));
	w->chosen.E = c->n_routed_experts;
	w->chosen.pairs = (int)pairs;
	w->all.E = 1;
	w->all.pairs = w->T;
	for (int i = 0; i < 2; i++) {
		struct gpu_chosen *o = i ? &w->all : &w->chosen;
		size_t n = (size_t)o->pairs;

		o->start = piece(p, ((size_t)o->E + 1) * sizeof(*o->start));
		o->row = piece(p, n * sizeof(*o->row));
		o->slot = piece(p, n * sizeof(*o->slot));
		o->w = piece(p, n * sizeof(*o->w));
	}
	w->products = piece(p, products);
	w->each = NULL;
	if (x->s->taps & (TAP_BIT(TAP_EXPERT_EACH) | TAP_BIT(TAP_EXPERT_SHARED)))
		w->each = piece(p, each * D * sizeof(*w->each));
	if (!own)
		return;
	w->acc = piece(p, T * D * sizeof(*w->acc));
	w->idx = piece(p, (size_t)layers * pairs * sizeof(*w->idx));
	w->w = piece(p, pairs * sizeof(*w->w));
	w->scores = piece(p, T * E * sizeof(*w->scores));
	w->choice = piece(p, T * E * sizeof(*w->choice));
}

/* What the products of the process's layers need at most.  Before the library is loaded: x gathered, gate, up and what
 * comes down. */
static size_t
products_need(const struct expert *x, int T)
{
	const struct config *c = &x->s->model->config;
	const struct gpu_lib *lib = x->s->gpu->lib;
	size_t most = 0;

	for (int i = 0; i < c->num_layers; i++) {
		int moe = config_is_moe(c, i);
		const struct { int width, pairs; } all[] = {
			{moe ? c->moe_intermediate_size : 0, T * c->num_experts_per_tok},
			{moe ? c->n_shared_experts * c->moe_intermediate_size : c->intermediate_size, T}};

		for (int k = 0; x->s->layers.has[i] && k < 2; k++) {
			size_t n = lib ? lib->mlp_scratch(c->hidden_size, all[k].width, all[k].pairs, x->s->k->precision) :
			    (size_t)all[k].pairs * 2 * (size_t)(c->hidden_size + all[k].width) * sizeof(float);

			if (all[k].width > 0 && n > most)
				most = n;
		}
	}
	return most;
}

/* Bytes, about. */
static uint64_t
working(const struct expert *x)
{
	const struct config *c = &x->s->model->config;
	struct expert_work w = {.T = GPU_ROWS};
	struct pieces p = {0};

	work_place(x, &p, &w, c->num_layers, 1, products_need(x, w.T));
	return p.used + (uint64_t)c->num_layers * ((uint64_t)c->n_routed_experts + 1) * sizeof(struct gpu_mlp);
}

/* --- weights --- */

static struct gpu_mlp
mlp_of(const struct mlp *m)
{
	return (struct gpu_mlp){m->gate, m->up, m->down};
}

/* The first routed expert of the layer that is of the set, or -1. */
static int
first_of(const struct expert *x, int layer)
{
	const unsigned char *e = x->layers[layer].routed ? memchr(x->set.has, 1, (size_t)x->s->model->config.n_routed_experts) : NULL;

	return e ? (int)(e - x->set.has) : -1;
}

static int
alike(const struct mat *a, const struct mat *b)
{
	return a->dtype == b->dtype && a->scale_cols == b->scale_cols && !a->scale == !b->scale;
}

/* One launch computes all experts of a layer. */
static int
form_check(const struct expert *x, int layer)
{
	int first = first_of(x, layer), E = x->s->model->config.n_routed_experts;
	const struct mlp *a = first < 0 ? NULL : &x->layers[layer].routed[first];

	for (int e = first + 1; a && e < E; e++) {
		const struct mlp *m = &x->layers[layer].routed[e];
		const struct { const char *name; const struct mat *a, *b; } all[] = {
			{"gate_proj", &a->gate, &m->gate}, {"up_proj", &a->up, &m->up}, {"down_proj", &a->down, &m->down}};

		for (int i = 0; x->set.has[e] && i < 3; i++)
			if (!alike(all[i].a, all[i].b))
				return fail(FAIL_DATA, "layer %d: %s of expert %d is %s, of expert %d %s%s: on a GPU the experts of a layer "
				    "must be of one form", layer, all[i].name, first, dtype_name(all[i].a->dtype), e,
				    dtype_name(all[i].b->dtype), all[i].a->dtype == all[i].b->dtype ? " with other scales" : "");
	}
	return 0;
}

static int
mlp_want(struct device *d, struct mlp *m)
{
	return device_want(d, &m->gate) < 0 || device_want(d, &m->up) < 0 ? -1 : device_want(d, &m->down);
}

int
expert_gpu_want(struct expert *x)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->gpu;

	for (int i = 0; i < c->num_layers; i++) {
		struct expert_layer *l = &x->layers[i];

		if (!x->s->layers.has[i])
			continue;
		if (form_check(x, i) < 0 || device_want_vec(d, &l->norm, (size_t)c->hidden_size) < 0)
			return -1;
		for (int e = 0; l->routed && e < c->n_routed_experts; e++)
			if (x->set.has[e] && mlp_want(d, &l->routed[e]) < 0)
				return -1;
		if (has_shared(x, i) && mlp_want(d, &l->shared) < 0)
			return -1;
	}
	d->expected += working(x);
	return 0;
}

/* The experts of all layers as arrays in the GPU, [num_layers][E + 1]: the routed ones, then the shared ones or the MLP. */
static int
mlps_place(struct expert *x)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->gpu;
	size_t E = (size_t)c->n_routed_experts, n = (size_t)c->num_layers * (E + 1);
	struct gpu_mlp *all = mem_new(n, sizeof(*all));
	int r;

	if (!all)
		return -1;
	for (size_t i = 0; i < (size_t)c->num_layers; i++) {
		for (size_t e = 0; x->layers[i].routed && e < E; e++)
			all[i * (E + 1) + e] = mlp_of(&x->layers[i].routed[e]);
		all[i * (E + 1) + E] = mlp_of(&x->layers[i].shared);
	}
	r = mirror_set(d, &x->gpu.mlps, all, n * sizeof(*all));
	free(all);
	return r < 0 ? -1 : 0;
}

void
expert_gpu_close(struct expert *x)
{
	struct device *d = x->s->gpu;

	if (!d)
		return;
	device_drop(d, &x->gpu.work);
	mirror_free(d, &x->gpu.mlps);
	mirror_free(d, &x->gpu.has);
	if (x->gpu.bad)
		d->lib->unpin(d->gpu, x->gpu.bad);
}

int
expert_gpu_room(struct expert *x, struct expert_work *w, int T, int layers, int own)
{
	struct device *d = x->s->gpu;
	size_t products = products_need(x, T);
	struct pieces p = {0};

	memset(w, 0, sizeof(*w));
	w->T = T;
	if (!x->gpu.mlps.p && mlps_place(x) < 0)
		return -1;
	if (!x->gpu.bad && d->lib->pin(d->gpu, &x->gpu.bad, 2 * sizeof(*w->bad) * LAYERS_MAX) < 0)
		return device_fail(d, "experts");
	work_place(x, &p, w, layers, own, products);
	if (!(p.base = device_need(d, &x->gpu.work, p.used)))
		return -1;
	p.used = 0;
	work_place(x, &p, w, layers, own, products);
	return 0;
}

/* --- work --- */

int
expert_gpu_begin(const struct expert *x, const struct expert_work *w, int layers)
{
	const struct device *d = x->s->gpu;

	if (d->lib->fill(d->gpu, w->bad, NONE, (size_t)layers * 2 * sizeof(*w->bad)) < 0 ||
	    d->lib->all_rows(d->gpu, &w->all, w->T) < 0)
		return device_fail(d, "experts");
	return 0;
}

/* The n experts at mlps, one of them like m, for the rows they have. */
static int
mlps_put(const struct expert *x, const struct expert_work *w, int64_t *acc, const struct gpu_mlp *mlps, const struct mlp *m,
    const struct gpu_chosen *o, int32_t *bad, float *each)
{
	const struct device *d = x->s->gpu;
	struct gpu_mlp like = mlp_of(m);

	if (d->lib->mlp(d->gpu, acc, w->x, x->s->model->config.hidden_size, mlps, &like, o, bad, each, w->products,
	    x->s->k->precision) < 0)
		return device_fail(d, "experts");
	return 0;
}

static const struct gpu_mlp *
layer_mlps(const struct expert *x, int layer)
{
	return (const struct gpu_mlp *)x->gpu.mlps.p + (ptrdiff_t)layer * (x->s->model->config.n_routed_experts + 1);
}

int
expert_gpu_routed(struct expert *x, const struct expert_work *w, int layer, int at, int64_t *acc,
    const int32_t *idx, const float *weight, const struct expert_set *mine, float *each)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->gpu;
	size_t E = (size_t)c->n_routed_experts;
	int some = mine && memchr(mine->has, 0, E);

	if (mine && !memchr(mine->has, 1, E))
		return 0;
	if (some && mirror_set(d, &x->gpu.has, mine->has, E) < 0)
		return -1;
	if (d->lib->sort(d->gpu, &w->chosen, idx, weight, w->T, c->num_experts_per_tok, some ? x->gpu.has.p : NULL) < 0)
		return device_fail(d, "experts");
	return mlps_put(x, w, acc, layer_mlps(x, layer), &x->layers[layer].routed[first_of(x, layer)], &w->chosen,
	    w->bad + (ptrdiff_t)at * 2, each);
}

int
expert_gpu_shared(const struct expert *x, const struct expert_work *w, int layer, int at, int64_t *acc, float *each)
{
	if (!has_shared(x, layer))
		return 0;
	return mlps_put(x, w, acc, layer_mlps(x, layer) + x->s->model->config.n_routed_experts, &x->layers[layer].shared, &w->all,
	    w->bad + (ptrdiff_t)at * 2 + 1, each);
}

int
expert_gpu_refused(const struct expert *x, const struct expert_work *w, int layers, int32_t *first, int *shared)
{
	struct device *d = x->s->gpu;
	const int32_t *bad = x->gpu.bad;
	int32_t none;

	memset(&none, NONE, sizeof(none));
	if (d->lib->download(d->gpu, x->gpu.bad, w->bad, (size_t)layers * 2 * sizeof(*bad)) < 0) {
		device_fail(d, "experts");
		return -2;
	}
	if (device_wait(d) < 0)
		return -2;
	for (int i = 0; i < layers * 2; i++)
		if (bad[i] != none) {
			*first = bad[i];
			*shared = i % 2;
			return i / 2;
		}
	return -1;
}

int
expert_gpu_name(const struct expert *x, const struct frame *f, int layer, const int32_t *idx,
    const struct expert_set *mine, int32_t first, int shared)
{
	const struct config *c = &x->s->model->config;
	ptrdiff_t K = c->num_experts_per_tok, n = (ptrdiff_t)f->rows * K;

	if (shared)
		return expert_refused(f, config_is_moe(c, layer), -1, first);
	for (int e = 0; e < c->n_routed_experts; e++)           /* as they were sorted */
		for (ptrdiff_t i = 0; (!mine || mine->has[e]) && i < n; i++)
			if (idx[i] == e && first-- == 0)
				return expert_refused(f, 1, e, (int32_t)(i / K));
	return fail(FAIL_SYSTEM, "the GPU refused a contribution that nobody made");
}

/* The tap expert.each is on the host, where other processes may have left theirs: the GPU's are put into it. */
static int
routed_frame(struct expert *x, struct frame *f, const struct expert_work *w, const struct partial *p,
    const struct expert_set *mine)
{
	struct device *d = x->s->gpu;
	uint64_t K = (uint64_t)x->s->model->config.num_experts_per_tok;
	size_t bytes = f->rows * K * (size_t)x->s->model->config.hidden_size * sizeof(float);
	const int32_t *idx = device_tensor(d, f, "expert.idx", I32, f->rows, K);
	const float *weight = idx ? device_tensor(d, f, "expert.w", F32, f->rows, K) : NULL;
	float *each;

	if (!weight || partial_tap_each(x->s, f, &each) < 0)
		return -1;
	if (w->T == 0)
		return 0;
	if (each && d->lib->upload(d->gpu, w->each, each, bytes) < 0)
		return device_fail(d, "a tap");
	if (expert_gpu_routed(x, w, f->layer, 0, p->acc, idx, weight, mine, each ? w->each : NULL) < 0)
		return each ? device_settle(d) : -1;
	if (each && d->lib->download(d->gpu, each, w->each, bytes) < 0) {
		device_fail(d, "a tap");
		return device_settle(d);
	}
	return each ? device_wait(d) : 0;
}

static int
shared_frame(struct expert *x, struct frame *f, const struct expert_work *w, const struct partial *p)
{
	uint64_t shape[] = {f->rows, (uint64_t)x->s->model->config.hidden_size};
	int tapped = (x->s->taps & TAP_BIT(TAP_EXPERT_SHARED)) != 0;

	if (w->T > 0 && expert_gpu_shared(x, w, f->layer, 0, p->acc, tapped ? w->each : NULL) < 0)
		return -1;
	return tap_gpu_copy(x->s, TAP_EXPERT_SHARED, f, f->layer, 2, shape, w->each);
}

/* Wait for the sum, so that nobody gets one that was refused. */
static int
look(struct expert *x, struct frame *f, const struct expert_work *w, const struct expert_set *mine)
{
	uint64_t K = (uint64_t)x->s->model->config.num_experts_per_tok;
	const struct tensor *idx = NULL;
	int32_t first;
	int shared, r;

	if (w->T == 0 || (r = expert_gpu_refused(x, w, 1, &first, &shared)) == -1)
		return 0;
	if (r < 0 || (!shared && !(idx = frame_need(f, "expert.idx", I32, f->rows, K))))
		return -1;
	return expert_gpu_name(x, f, f->layer, idx ? idx->data : NULL, mine, first, shared);
}

int
expert_gpu_batch(struct expert *x, struct frame *f, const struct partial *p, const struct expert_set *mine)
{
	const struct config *c = &x->s->model->config;
	struct device *d = x->s->gpu;
	int T = (int)f->rows, D = c->hidden_size, moe = config_is_moe(c, f->layer);
	const float *h = stage_hidden_gpu(x->s, f);
	struct expert_work w;

	if (!h || expert_gpu_room(x, &w, T, 1, 0) < 0 || (T > 0 && expert_gpu_begin(x, &w, 1) < 0))
		return -1;
	if (T > 0 && d->lib->rmsnorm(d->gpu, w.x, D, h, D, T, D, x->layers[f->layer].norm, c->rms_norm_eps) < 0)
		return device_fail(d, "the experts' norm");
	if (tap_gpu_copy(x->s, TAP_EXPERT_IN, f, f->layer, 2, (uint64_t[]){f->rows, (uint64_t)D}, w.x) < 0)
		return -1;
	if (moe && routed_frame(x, f, &w, p, mine) < 0)
		return -1;
	if (mine->shared && has_shared(x, f->layer) && shared_frame(x, f, &w, p) < 0)
		return -1;
	return look(x, f, &w, mine);
}
