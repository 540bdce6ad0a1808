#include "stage/expert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "stage/expert_gpu.h"
#include "stage/linear.h"
#include "stage/partial.h"

#define SHARED (-1)     /* in the place of an expert's number */

static int
moe_open(struct expert *x, struct expert_layer *l, int layer)
{
	struct model *m = x->s->model;
	int E = m->config.n_routed_experts;

	if (!(l->routed = mem_new((size_t)E, sizeof(*l->routed))))
		return -1;
	for (int e = 0; e < E; e++)
		if (x->set.has[e] && mlp_open(&l->routed[e], m, ROLE_EXPERT_GATE, layer, e) < 0)
			return -1;
	if (!x->set.shared || m->config.n_shared_experts == 0)
		return 0;
	return mlp_open(&l->shared, m, ROLE_SHARED_GATE, layer, -1);
}

static int
layer_open(struct expert *x, struct expert_layer *l, int layer)
{
	struct model *m = x->s->model;

	if (!(l->norm = model_vector(m, ROLE_MLP_NORM, layer)))
		return -1;
	if (config_is_moe(&m->config, layer))
		return moe_open(x, l, layer);
	return x->set.shared ? mlp_open(&l->shared, m, ROLE_DENSE_GATE, layer, -1) : 0;
}

int
expert_open(struct expert *x, const struct stage *s, const char *set)
{
	const struct config *c = &s->model->config;

	memset(x, 0, sizeof(*x));
	x->s = s;
	x->all = !set;
	if (!set)
		expert_set_all(&x->set, c->n_routed_experts);
	else if (expert_set_parse(&x->set, set, c->n_routed_experts, FAIL_USAGE) < 0)
		return fail_in("-e");
	x->layers = mem_new((size_t)c->num_layers, sizeof(*x->layers));
	if (!x->layers || stage_has_products(s) < 0)
		return -1;
	for (int i = 0; i < c->num_layers; i++)
		if (s->layers.has[i] && layer_open(x, &x->layers[i], i) < 0)
			return -1;
	expert_ahead_init(&x->ahead);
	return s->gpu ? expert_gpu_want(x) : 0;
}

void
expert_close(struct expert *x)
{
	for (int i = 0; x->layers && i < x->s->model->config.num_layers; i++) {
		device_vec_free(x->s->gpu, x->layers[i].norm);
		free(x->layers[i].routed);
	}
	expert_gpu_close(x);
	free(x->layers);
	scratch_free(&x->normed);
	scratch_free(&x->rows);
	scratch_free(&x->all_rows);
	scratch_free(&x->parts);
	scratch_free(&x->inner);
}

int
expert_refused(const struct frame *f, int moe, int e, int32_t row)
{
	const struct span *p = f->spans;
	char who[32] = "MLP";

	if (e != SHARED)
		snprintf(who, sizeof(who), "expert %d", e);
	else if (moe)
		snprintf(who, sizeof(who), "shared experts");
	for (; (uint32_t)row >= p->n; p++)
		row -= (int32_t)p->n;
	return fail(FAIL_DATA, "%s: contribution is not finite or is 2^18 or more (sequence %" PRIu64
	    " position %" PRIu32 ")", who, p->seq, p->pos + (uint32_t)row);
}

/* The rows of a batch by the expert that they chose: expert e's are those from start[e]
 * up to start[e + 1]. */
struct chosen {
	int32_t *start;         /* [E + 1] */
	int32_t *row;           /* [T K] */
	int32_t *slot;          /* [T K] where the choice stands in expert.idx */
	float *w;               /* [T K] */
};

static int
chosen_sort(struct chosen *o, struct scratch *memory, const struct partial *p, size_t T, size_t K, size_t E)
{
	int32_t *next;

	o->start = scratch_reserve(memory, (E + 1) * 2 + 3 * T * K, sizeof(*o->start));
	if (!o->start)
		return -1;
	next = o->start + E + 1;
	o->row = next + E + 1;
	o->slot = o->row + T * K;
	o->w = (float *)(o->slot + T * K);
	memset(o->start, 0, (E + 1) * sizeof(*o->start));
	for (size_t i = 0; i < T * K; i++)
		o->start[p->idx[i] + 1]++;
	for (size_t e = 0; e < E; e++)
		o->start[e + 1] += o->start[e];
	memcpy(next, o->start, (E + 1) * sizeof(*next));
	for (size_t i = 0; i < T * K; i++) {
		int32_t at = next[p->idx[i]]++;

		o->row[at] = (int32_t)(i / K);
		o->slot[at] = (int32_t)i;
		o->w[at] = p->w[i];
	}
	return 0;
}

/* The parts of the experts that rows have chosen, from parts on: how many, or -1 and a message. */
static int
parts_routed(struct expert *x, struct frame *f, const struct partial *p, const struct expert_set *mine,
    struct mlp_rows *parts)
{
	const struct config *c = &x->s->model->config;
	struct expert_layer *l = &x->layers[f->layer];
	struct chosen o;
	float *each;
	int n = 0;

	if (partial_tap_each(x->s, f, &each) < 0)
		return -1;
	if (chosen_sort(&o, &x->rows, p, f->rows, (size_t)c->num_experts_per_tok, (size_t)c->n_routed_experts) < 0)
		return -1;
	for (int e = 0; e < c->n_routed_experts; e++) {
		int32_t at = o.start[e];

		if (mine->has[e] && o.start[e + 1] > at)
			parts[n++] = (struct mlp_rows){&l->routed[e], o.start[e + 1] - at, o.row + at, o.w + at, each, o.slot + at};
	}
	return n;
}

static int
part_shared(struct expert *x, struct frame *f, struct mlp_rows *part)
{
	int32_t *row = scratch_reserve(&x->all_rows, 2 * (size_t)f->rows, sizeof(*row));
	float *one = (float *)(row + f->rows);

	*part = (struct mlp_rows){&x->layers[f->layer].shared, (int)f->rows, row, one, NULL, row};
	if (!row || tap_add(&part->tap, x->s->taps, TAP_EXPERT_SHARED, f, f->layer, 2,
	    (uint64_t[]){f->rows, (uint64_t)x->s->model->config.hidden_size}) < 0)
		return -1;
	for (int32_t t = 0; t < (int32_t)f->rows; t++) {
		row[t] = t;
		one[t] = 1;
	}
	return 1;
}

/* All that the process contributes to these rows. */
static int
contribute(struct expert *x, struct frame *f, const struct partial *p, const struct expert_set *mine)
{
	const struct config *c = &x->s->model->config;
	struct expert_layer *l = &x->layers[f->layer];
	struct mlp_rows *parts = scratch_reserve(&x->parts, (size_t)c->n_routed_experts + 1, sizeof(*parts));
	int moe = config_is_moe(c, f->layer), n = 0, bad, row = 0;

	if (!parts || (moe && (n = parts_routed(x, f, p, mine, parts)) < 0))
		return -1;
	if (mine->shared && (!moe || c->n_shared_experts > 0)) {
		if (part_shared(x, f, &parts[n]) < 0)
			return -1;
		n++;
	}
	expert_ahead(&x->ahead, parts, n);
	bad = mlp_add(x->s, parts, n, &x->inner, p->acc, x->normed.p, &row);
	if (bad >= 0)
		return expert_refused(f, moe, parts[bad].m == &l->shared ? SHARED : (int)(parts[bad].m - l->routed), parts[bad].row[row]);
	return bad == -1 ? 0 : -1;
}

/* What of the process's set is to be done. */
static int
mine_of(const struct expert *x, struct partial *p, struct expert_set *mine)
{
	int E = x->s->model->config.n_routed_experts;

	*mine = x->set;
	for (int e = 0; x->all && e < E; e++)
		mine->has[e] = !p->done.has[e];
	if (x->all)
		mine->shared = !p->done.shared;
	return expert_set_merge(&p->done, mine, E);
}

/* The norm and all that it contributes, on the processor. */
static int
batch_cpu(struct expert *x, struct frame *f, const struct partial *p, const struct expert_set *mine)
{
	const struct stage *s = x->s;
	const struct config *c = &s->model->config;
	int T = (int)f->rows, D = c->hidden_size;
	const float *h = stage_hidden(s, f);
	float *normed, *tap;

	if (!h || !(normed = scratch_reserve(&x->normed, (size_t)T * (size_t)D, sizeof(*normed))))
		return -1;
	linear_norm(s, normed, D, h, D, T, D, x->layers[f->layer].norm, c->rms_norm_eps);
	if (tap_add(&tap, s->taps, TAP_EXPERT_IN, f, f->layer, 2, (uint64_t[]){f->rows, (uint64_t)D}) < 0)
		return -1;
	if (tap)
		memcpy(tap, normed, (size_t)T * (size_t)D * sizeof(*tap));
	return contribute(x, f, p, mine);
}

static int
expert_batch(struct expert *x, struct frame *f)
{
	const struct stage *s = x->s;
	struct expert_set mine;
	struct partial p;

	if (!frame_find(f, "h", F32, f->rows, (uint64_t)s->model->config.hidden_size) || partial_read(&p, s, f) < 0 ||
	    mine_of(x, &p, &mine) < 0 || partial_begin(&p, s, f) < 0)
		return -1;
	if ((s->gpu ? expert_gpu_batch(x, f, &p, &mine) : batch_cpu(x, f, &p, &mine)) < 0)
		return -1;
	return partial_write(&p, s, f);
}

int
expert_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct expert *x = arg;
	int acts = stage_multiplies(x->s, f, AT_EXPERT);

	(void)out, (void)nout;
	if (acts <= 0)
		return acts < 0 ? -1 : 1;
	if (!config_is_moe(&x->s->model->config, f->layer) && !x->set.shared)
		return 1;
	if (expert_batch(x, f) < 0)
		return fail_in("layer %d", f->layer);
	return 1;
}
