/* All tensors of a model that learn, in one process, with random gradients. */
#ifndef DS_LEARNLINE_H
#define DS_LEARNLINE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "learn/adamw.h"
#include "learn/norm.h"

struct line {
	struct model model;
	struct pool *pool;
	struct learn learn;
	float *vectors[400];
	int nvectors;
};

static inline uint32_t
random_bits(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

/* -1 .. 1 */
static inline double
random_number(void)
{
	return (double)random_bits() * 0x1p-31 - 1;
}

static inline void
line_close(struct line *s)
{
	learn_close(&s->learn);
	model_close(&s->model);
	pool_free(s->pool);
	while (s->nvectors > 0)
		free(s->vectors[--s->nvectors]);
}

static inline int
line_add(struct line *s, const struct weight *w)
{
	float *x;

	if (!weight_learns(&s->model.config, w))
		return 0;
	if (w->cols > 0)
		return learn_matrix(&s->learn, w->row->role, w->layer, w->expert) ? 0 : -1;
	if (!(x = model_vector(&s->model, w->row->role, w->layer)))
		return -1;
	s->vectors[s->nvectors++] = x;
	return learn_vector(&s->learn, w->row->role, w->layer, x) ? 0 : -1;
}

/* All tensors of a model in one process. */
static inline int
line_open(struct line *s, const char *dir, int threads)
{
	*s = (struct line){0};
	if (model_open(&s->model, dir) < 0 || !(s->pool = pool_new(threads)) ||
	    learn_open(&s->learn, &s->model, kernels_choose(), s->pool, "all") < 0)
		return -1;
	for (int layer = -1; layer < s->model.config.num_layers; layer++)
		for (struct weight w = {0}; weight_next(&w, &s->model.config, layer); )
			if (line_add(s, &w) < 0)
				return -1;
	return 0;
}

/* Gradients of all tensors, some of them zero. */
static inline void
add_gradients(struct line *s)
{
	for (size_t i = 0; i < s->learn.nparams; i++) {
		struct param *p = s->learn.params[i];

		for (size_t j = 0; j < p->n && i % 7 != 6; j++)
			p->acc[j] = p->role == ROLE_ROUTER_BIAS ? random_bits() % 100 :
			    (int64_t)(random_number() * 0x1p38);
	}
}

static inline struct frame_step
step_of(uint64_t step)
{
	return (struct frame_step){.t = step, .weight = 3, .rate = 1e-3, .beta1 = 0.9,
	    .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .factor = 0.5, .balance = 1e-3,
	    .bias1 = 1 - pow(0.9, (double)step), .bias2 = 1 - pow(0.95, (double)step)};
}

/* A step of the process, which has the shared tensors alone. */
static inline int
line_step(struct line *s, const struct frame_step *step)
{
	const struct config *c = &s->model.config;
	size_t D = (size_t)c->hidden_size;
	struct learn_shared sums = {
		.mlp_norm = mem_new((size_t)c->num_layers * D, sizeof(int64_t)),
		.embed = mem_new((size_t)c->vocab_size * D, sizeof(int64_t))};
	int r = !sums.mlp_norm || !sums.embed || learn_share(&s->learn, &sums) < 0 ? -1 :
	    learn_step(&s->learn, step, &sums);

	free(sums.mlp_norm);
	free(sums.embed);
	return r;
}

/* Two processes of the same weights. */
static inline int
same_lines(const struct line *a, const struct line *b)
{
	for (size_t i = 0; i < a->learn.nparams; i++) {
		const struct param *p = a->learn.params[i], *q = b->learn.params[i];
		size_t bytes = p->n * sizeof(float);

		if (memcmp(p->master, q->master, bytes) || memcmp(p->m, q->m, bytes) ||
		    memcmp(p->v, q->v, bytes) || memcmp(p->mat.data, q->mat.data,
		    (size_t)p->mat.rows * dtype_row(p->dtype, p->mat.cols)))
			return 0;
	}
	return a->learn.nparams == b->learn.nparams;
}

static inline void
copy_gradients(struct line *to, const struct line *from)
{
	for (size_t i = 0; i < from->learn.nparams; i++)
		memcpy(to->learn.params[i]->acc, from->learn.params[i]->acc,
		    from->learn.params[i]->n * sizeof(int64_t));
}

#endif
