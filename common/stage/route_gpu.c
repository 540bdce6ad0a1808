#include "stage/route_gpu.h"

#include "device/pieces.h"
#include "device/tensor.h"
#include "stage/tap_gpu.h"

/* x is NULL where p only counts. */
static float *
rows_place(const struct route *r, struct pieces *p, struct route_rows *rows)
{
	const struct config *c = &r->s->model->config;
	size_t T = (size_t)rows->T, E = (size_t)c->n_routed_experts;

	rows->scores = piece(p, T * E * sizeof(float));
	rows->choice = piece(p, T * E * sizeof(float));
	return piece(p, T * (size_t)c->hidden_size * sizeof(float));
}

int
route_gpu_want(struct route *r)
{
	const struct config *c = &r->s->model->config;
	struct device *d = r->s->gpu;
	struct route_rows rows = {.T = GPU_ROWS};
	struct pieces p = {0};

	for (int i = 0; i < c->num_layers; i++) {
		struct gate *g = &r->layers[i];

		if (!g->norm)
			continue;
		if (device_want_vec(d, &g->norm, (size_t)c->hidden_size) < 0 || device_want(d, &g->weight) < 0)
			return -1;
		if (g->bias && device_want_vec(d, &g->bias, (size_t)c->n_routed_experts) < 0)
			return -1;
	}
	rows_place(r, &p, &rows);
	d->expected += p.used;
	return 0;
}

int
route_gpu_put(const struct route *r, int layer, const struct route_rows *rows)
{
	const struct config *c = &r->s->model->config;
	const struct gate *g = &r->layers[layer];
	const struct device *d = r->s->gpu;
	const struct gpu_router how = {
		.E = c->n_routed_experts, .K = c->num_experts_per_tok, .n_group = c->n_group, .topk_group = c->topk_group,
		.sigmoid = c->scoring == SCORE_SIGMOID,
		.groups = c->n_group <= 1 || c->topk_method == TOPK_GREEDY ? 0 : c->topk_method == TOPK_NOAUX_TC ? 2 : 1,
		.norm = c->norm_topk_prob, .factor = c->routed_scaling_factor};

	if (d->lib->matmul(d->gpu, rows->scores, how.E, rows->x, c->hidden_size, rows->T, &g->weight, PRECISION_F32) < 0 ||
	    d->lib->route(d->gpu, rows->scores, rows->choice, rows->idx, rows->w, g->bias, rows->T, &how) < 0)
		return device_fail(d, "the router");
	return 0;
}

/* Copies of what the choice was made of. */
static int
route_taps(const struct stage *s, struct frame *f, const struct route_rows *rows)
{
	uint64_t T = f->rows, D = (uint64_t)s->model->config.hidden_size, E = (uint64_t)s->model->config.n_routed_experts;
	const struct { enum tap tap; const float *from; uint64_t width; } all[] = {
		{TAP_ROUTE_NORM, rows->x, D}, {TAP_ROUTE_SCORES, rows->scores, E}, {TAP_ROUTE_CHOICE, rows->choice, E}};

	for (int i = 0; i < 3; i++)
		if (tap_gpu_copy(s, all[i].tap, f, f->layer, 2, (uint64_t[]){T, all[i].width}, all[i].from) < 0)
			return -1;
	return 0;
}

int
route_gpu_batch(struct route *r, struct frame *f)
{
	const struct stage *s = r->s;
	const struct config *c = &s->model->config;
	struct device *d = s->gpu;
	uint64_t shape[] = {f->rows, (uint64_t)c->num_experts_per_tok};
	struct route_rows rows = {.T = (int)f->rows};
	int D = c->hidden_size;
	const float *h = stage_hidden_gpu(s, f);
	struct pieces p = {0};
	float *x;

	rows_place(r, &p, &rows);
	if (!h || !(p.base = device_need(d, &r->work, p.used)) ||
	    !(rows.idx = device_add(d, f, "expert.idx", I32, 2, shape)) || !(rows.w = device_add(d, f, "expert.w", F32, 2, shape)))
		return -1;
	p.used = 0;
	rows.x = x = rows_place(r, &p, &rows);
	if (rows.T > 0) {
		if (d->lib->rmsnorm(d->gpu, x, D, h, D, rows.T, D, r->layers[f->layer].norm, c->rms_norm_eps) < 0)
			return device_fail(d, "the router's norm");
		if (route_gpu_put(r, f->layer, &rows) < 0)
			return -1;
	}
	return s->taps & TAPS_ROUTE ? route_taps(s, f, &rows) : 0;
}
