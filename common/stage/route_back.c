#include "stage/route_back.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "device/ops.h"
#include "learn/back.h"
#include "stage/keep.h"

const char *const route_kept[] = {"h", NULL};

struct route_learn {
	struct learn_pages pages;
	struct scratch rows;            /* of a frame: struct back */
};

/* --- weights --- */

static int
layer_learn(struct route *r, int layer)
{
	struct model *m = r->s->model;
	struct learn *l = r->s->learn;
	struct gate *g = &r->layers[layer];

	if (!g->norm && !(g->norm = model_vector(m, ROLE_MLP_NORM, layer)))
		return -1;
	if (!(g->norm_grad = learn_vector(l, ROLE_MLP_NORM, layer, g->norm)))
		return -1;
	if (!config_is_moe(&m->config, layer))
		return 0;
	if (g->bias && !(g->load = learn_vector(l, ROLE_ROUTER_BIAS, layer, g->bias)))
		return -1;
	return (g->weight_grad = learn_matrix(l, ROLE_ROUTER, layer, -1)) ? 0 : -1;
}

int
route_learn(struct route *r)
{
	if (!(r->learn = mem_new(1, sizeof(*r->learn))))
		return -1;
	for (int i = 0; i < r->s->model->config.num_layers; i++)
		if (r->s->layers.has[i] && layer_learn(r, i) < 0)
			return -1;
	return 0;
}

void
route_forget(struct route *r)
{
	if (!r->learn)
		return;
	learn_pages_free(&r->learn->pages);
	scratch_free(&r->learn->rows);
	free(r->learn);
}

/* --- rows --- */

/* The gradient dz [E] of a router's products, from the probabilities made of them and the gradient
 * dw [K] of the weights of the chosen idx [K].  */
static void
products_back(const struct kernels *k, const struct router *r, float *dz, const float *scores,
    const int32_t *idx, const float *dw)
{
	double sum = 1e-20, dot = 0, factor = (double)r->factor;

	for (int i = 0; i < r->K; i++) {
		sum += (double)scores[idx[i]];
		dot += (double)dw[i] * (double)scores[idx[i]];
	}
	memset(dz, 0, (size_t)r->E * sizeof(*dz));
	for (int i = 0; i < r->K; i++) {
		double s = (double)scores[idx[i]], d = (double)dw[i];

		if (r->norm)
			d = (d - dot / sum) / sum;
		if (r->sigmoid)
			d *= s * (1 - s);
		dz[idx[i]] = (float)(d * factor);
	}
	if (!r->sigmoid)
		k->softmax_back(dz, scores, r->E, 1);
}

/* The rows of a frame, all that forward computed of them once more. */
struct back {
	struct route *r;
	struct learn *l;
	const struct gate *gate;
	int layer, D;
	struct router rule;
	struct route_rows rows;
	const float *h;                 /* [T][D] as they came */
	const float *dw;                /* [T][K] */
	float *dx, *dh;                 /* [T][D]: of the normed rows; of h */
	float *dz;                      /* [T][E] */
};

static int
back_layout(struct back *b)
{
	size_t T = (size_t)b->rows.T, E = (size_t)b->rule.E, K = (size_t)b->rule.K;
	struct arena a = {0};

	for (int i = 0; i < 2; i++) {
		a.used = 0;
		b->rows.x = arena_next(&a, T * (size_t)b->D * sizeof(float));
		b->rows.scores = arena_next(&a, T * E * sizeof(float));
		b->rows.choice = arena_next(&a, T * E * sizeof(float));
		b->dz = arena_next(&a, T * E * sizeof(float));
		b->rows.w = arena_next(&a, T * K * sizeof(float));
		b->rows.idx = arena_next(&a, T * K * sizeof(int32_t));
		if (i == 0 && !(a.base = scratch_reserve(&b->r->learn->rows, a.used, 1)))
			return -1;
	}
	return 0;
}

static void
rows_part(void *arg, size_t from, size_t to, int thread)
{
	const struct back *b = arg;
	size_t E = (size_t)b->rule.E, K = (size_t)b->rule.K;

	(void)thread;
	for (size_t t = from; t < to; t++)
		products_back(b->l->k, &b->rule, b->dz + t * E, b->rows.scores + t * E,
		    b->rows.idx + t * K, b->dw + t * K);
}

/* The router's weights, what it adds to the gradient of the normed rows, and the load. */
static int
gate_back(struct back *b)
{
	const struct config *c = &b->r->s->model->config;
	struct device *d = b->r->s->device;
	int T = b->rows.T, D = b->D, E = b->rule.E;

	if (back_layout(b) < 0 || d->ops->norm(d, b->rows.x, D, b->h, D, T, D, b->gate->norm,
	    c->rms_norm_eps) < 0 || route_add(b->r, b->layer, &b->rows) < 0)
		return -1;
	pool_run(b->l->pool, (size_t)T, 1, 16.0 * E, rows_part, b);
	if (back_weight(b->l, b->gate->weight_grad, 0, b->dz, E, E, b->rows.x, D,
	    &b->r->learn->pages) < 0)
		return -1;
	for (ptrdiff_t i = 0; b->gate->load && i < (ptrdiff_t)T * b->rule.K; i++)
		b->gate->load->acc[b->rows.idx[i]]++;
	return back_input(b->l, b->dx, D, b->dz, E, T, &b->gate->weight, 1);
}

/* The gradients in f, and h of the forward pass. */
static int
back_open(struct back *b, struct frame *f, struct frame *kept)
{
	const struct config *c = &b->r->s->model->config;
	uint64_t T = f->rows, D = (uint64_t)b->D, K = (uint64_t)b->rule.K;
	const struct tensor *dx = frame_require(f, "x.grad", F32, T, D),
	    *dh = dx ? frame_require(f, "h.grad", F32, T, D) : NULL,
	    *h = dh ? frame_require(kept, "h", F32, T, D) : NULL, *dw;

	if (!h || learn_pages_open(&b->r->learn->pages, f) < 0)
		return -1;
	b->dx = dx->data;
	b->dh = dh->data;
	b->h = h->data;
	if (!config_is_moe(c, b->layer))
		return 0;
	dw = frame_require(f, "w.grad", F32, T, K);
	b->dw = dw ? dw->data : NULL;
	return dw ? 0 : -1;
}

static int
rows_back(struct back *b)
{
	const struct config *c = &b->r->s->model->config;
	int D = b->D;

	if (b->rows.T == 0)
		return 0;
	if (config_is_moe(c, b->layer) && gate_back(b) < 0)
		return -1;
	return back_norm(b->l, b->gate->norm_grad, b->dh, D, b->h, D, b->dx, D, D, b->gate->norm,
	    c->rms_norm_eps, &b->r->learn->pages, 1);
}

int
route_back(struct route *r, struct frame *f)
{
	const struct config *c = &r->s->model->config;
	struct back b = {.r = r, .l = r->s->learn, .gate = &r->layers[f->layer],
	    .layer = f->layer, .D = c->hidden_size, .rule = route_rule(c),
	    .rows.T = (int)f->rows};
	struct frame kept;
	int s;

	frame_init(&kept);
	s = keep_take(r->s->keep, f, AT_ROUTE, &kept);
	if (s == 0 && (back_open(&b, f, &kept) < 0 || rows_back(&b) < 0))
		s = -1;
	frame_free(&kept);
	if (s < 0)
		return -1;
	frame_drop(f, "x.grad");
	frame_drop(f, "w.grad");
	frame_set_back(f, c->num_layers);
	return 0;
}
