#include "stage/route.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "stage/linear.h"
#include "stage/route_gpu.h"

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

int
route_open(struct route *r, const struct stage *s)
{
	const struct config *c = &s->model->config;

	memset(r, 0, sizeof(*r));
	r->s = s;
	r->gate = *s;
	r->gate.k = kernels_precision(s->k, PRECISION_F32);
	r->layers = mem_new((size_t)c->num_layers, sizeof(*r->layers));
	if (!r->layers)
		return -1;
	for (int i = 0; i < c->num_layers; i++)
		if (s->layers.has[i] && config_is_moe(c, i) && gate_open(&r->layers[i], s->model, i) < 0)
			return -1;
	return s->gpu ? route_gpu_want(r) : 0;
}

void
route_close(struct route *r)
{
	for (int i = 0; r->layers && i < r->s->model->config.num_layers; i++) {
		device_vec_free(r->s->gpu, r->layers[i].norm);
		device_vec_free(r->s->gpu, r->layers[i].bias);
	}
	free(r->layers);
	scratch_free(&r->rows);
	if (r->s->gpu)
		device_drop(r->s->gpu, &r->work);
}

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
	unsigned char taken[EXPERTS_MAX];
	int a, b;

	memset(taken, 0, (size_t)n);
	a = best(x, n, taken);
	taken[a] = 1;
	b = two ? best(x, n, taken) : -1;
	return b < 0 ? x[a] : x[a] + x[b];
}

/* Experts outside the best groups are put below all others. */
static void
keep_groups(const struct config *c, float *choice)
{
	int n = c->n_routed_experts / c->n_group;
	float score[EXPERTS_MAX];
	unsigned char kept[EXPERTS_MAX];

	memset(kept, 0, (size_t)c->n_group);
	for (int g = 0; g < c->n_group; g++)
		score[g] = group_score(choice + (ptrdiff_t)g * n, n, c->topk_method == TOPK_NOAUX_TC);
	for (int i = 0; i < c->topk_group; i++)
		kept[best(score, c->n_group, kept)] = 1;
	for (int g = 0; g < c->n_group; g++)
		for (int e = g * n; !kept[g] && e < (g + 1) * n; e++)
			choice[e] = -INFINITY;
}

void
route_choose(const struct config *c, const float *scores, const float *bias,
    float *choice, int32_t *idx, float *w)
{
	int E = c->n_routed_experts, K = c->num_experts_per_tok, n = 0;
	unsigned char taken[EXPERTS_MAX];
	float sum = 0;

	memset(taken, 0, (size_t)E);
	for (int e = 0; e < E; e++)
		choice[e] = bias ? scores[e] + bias[e] : scores[e];
	if (c->topk_method != TOPK_GREEDY && c->n_group > 1)
		keep_groups(c, choice);
	for (int i = 0; i < K; i++)
		taken[best(choice, E, taken)] = 1;
	for (int e = 0; e < E && n < K; e++)
		if (taken[e]) {
			idx[n] = e;
			w[n++] = scores[e];
			sum += scores[e];
		}
	for (int i = 0; i < K; i++)
		w[i] = (c->norm_topk_prob ? w[i] / (sum + 1e-20f) : w[i]) * c->routed_scaling_factor;
}

struct job {
	const struct config *c;
	const struct kernels *k;
	const struct gate *g;
	float *scores, *choice;         /* [T][E] */
	int32_t *idx;                   /* [T][K] */
	float *w;
};

static void
choose(void *arg, size_t from, size_t to, int thread)
{
	const struct job *j = arg;
	size_t E = (size_t)j->c->n_routed_experts, K = (size_t)j->c->num_experts_per_tok;

	(void)thread;
	for (size_t t = from; t < to; t++) {
		float *scores = j->scores + t * E;

		if (j->c->scoring == SCORE_SIGMOID)
			j->k->sigmoid(scores, (int)E);
		else
			j->k->softmax(scores, (int)E);
		route_choose(j->c, scores, j->g->bias, j->choice + t * E, j->idx + t * K, j->w + t * K);
	}
}

/* Copies of what the choice was made of. */
static int
route_taps(const struct stage *s, struct frame *f, const float *x, const struct job *j)
{
	uint64_t T = f->rows, D = (uint64_t)s->model->config.hidden_size, E = (uint64_t)s->model->config.n_routed_experts;
	const struct { enum tap tap; const float *from; uint64_t width; } all[] = {
		{TAP_ROUTE_NORM, x, D}, {TAP_ROUTE_SCORES, j->scores, E}, {TAP_ROUTE_CHOICE, j->choice, E}};
	float *to;

	for (int i = 0; i < 3; i++) {
		if (tap_add(&to, s->taps, all[i].tap, f, f->layer, 2, (uint64_t[]){T, all[i].width}) < 0)
			return -1;
		if (to)
			memcpy(to, all[i].from, T * all[i].width * sizeof(*to));
	}
	return 0;
}

static int
route_batch(struct route *r, struct frame *f)
{
	const struct stage *s = r->s;
	const struct config *c = &s->model->config;
	const struct gate *g = &r->layers[f->layer];
	size_t T = f->rows, D = (size_t)c->hidden_size, E = (size_t)c->n_routed_experts;
	uint64_t shape[] = {T, (uint64_t)c->num_experts_per_tok};
	const float *h = stage_hidden(s, f);
	struct job j = {.c = c, .k = s->k, .g = g};
	struct tensor *idx, *w;
	float *x;

	if (!h || !(x = scratch_reserve(&r->rows, T * (D + 2 * E), sizeof(*x))) ||
	    !(idx = frame_add(f, "expert.idx", I32, 2, shape)))
		return -1;
	j.idx = idx->data;
	if (!(w = frame_add(f, "expert.w", F32, 2, shape)))
		return -1;
	j.w = w->data;
	j.scores = x + T * D;
	j.choice = j.scores + T * E;
	linear_norm(s, x, (ptrdiff_t)D, h, (ptrdiff_t)D, (int)T, (int)D, g->norm, c->rms_norm_eps);
	linear(&r->gate, j.scores, (ptrdiff_t)E, x, (ptrdiff_t)D, (int)T, &g->weight);
	pool_run(s->pool, T, 1, 16.0 * (double)E, choose, &j);
	return s->taps & TAPS_ROUTE ? route_taps(s, f, x, &j) : 0;
}

int
route_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct route *r = arg;
	int acts = stage_multiplies(r->s, f, AT_ROUTE);

	(void)out, (void)nout;
	if (acts <= 0)
		return acts < 0 ? -1 : 1;
	if (f->experts_done || frame_tensor(f, "expert.acc"))
		return fail(FAIL_DATA, "layer %d: experts are done before the router chose them", f->layer);
	if (config_is_moe(&r->s->model->config, f->layer) && (r->s->gpu ? route_gpu_batch(r, f) : route_batch(r, f)) < 0)
		return fail_in("layer %d", f->layer);
	frame_set_at(f, AT_EXPERT, f->layer);
	return 1;
}
