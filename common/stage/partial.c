#include "stage/partial.h"

#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "device/ops.h"

#define TERM_MAX ((int64_t)1 << 58)     /* a contribution is below 2^18, with 40 fractional bits */

/* The choice of row t. */
static int
row_check(const int32_t *idx, int K, int E, uint32_t t)
{
	for (int i = 0; i < K; i++)
		if (idx[i] < 0 || idx[i] >= E || (i > 0 && idx[i] <= idx[i - 1]))
			return fail(FAIL_DATA,
			    "expert.idx of row %" PRIu32 " is not ascending in 0 to %d", t, E - 1);
	return 0;
}

/* acc [T][D] of the host: no sum is larger than its terms can make it, so that the terms to come
 * cannot overflow it. */
static int
sum_check(const struct partial *p, const int64_t *acc, const struct config *c, uint32_t t)
{
	int K = c->num_experts_per_tok, terms = p->done.shared + (p->idx ? 0 : K);

	acc += (size_t)t * (size_t)c->hidden_size;
	for (int i = 0; i < K && p->idx; i++)
		terms += p->done.has[p->idx[(size_t)t * (size_t)K + (size_t)i]];
	for (int i = 0; i < c->hidden_size; i++)
		if (acc[i] > terms * TERM_MAX || acc[i] < -terms * TERM_MAX)
			return fail(FAIL_DATA,
			    "expert.acc of row %" PRIu32 " is larger than %d experts can make it",
			    t, terms);
	return 0;
}

static int
chosen_read(struct partial *p, const struct config *c, struct frame *f)
{
	uint64_t K = (uint64_t)c->num_experts_per_tok;
	const struct tensor *idx = frame_find(f, "expert.idx", I32, f->rows, K);
	const struct tensor *w = idx ? frame_find(f, "expert.w", F32, f->rows, K) : NULL;

	if (!w)
		return -1;
	if (idx->fetch && w->fetch)
		return 0;
	p->idx = idx->data;
	p->w = w->data;
	for (uint32_t t = 0; t < f->rows; t++)
		if (row_check(p->idx + t * K, (int)K, c->n_routed_experts, t) < 0)
			return -1;
	return 0;
}

/* Which experts are done, and their sum, which is in the bounds of the choice in p->idx, if that is
 * known. */
static int
sum_read(struct partial *p, const struct stage *s, struct frame *f)
{
	const struct config *c = &s->model->config;
	struct tensor *acc;

	if (expert_set_parse(&p->done, f->experts_done, c->n_routed_experts, FAIL_DATA) < 0)
		return fail_in("experts_done");
	if (expert_set_is_all(&p->done, c->n_routed_experts))
		return fail(FAIL_DATA,
		    "experts_done: all experts, but the frame still waits for some");
	acc = frame_require(f, "expert.acc", I64, f->rows, (uint64_t)c->hidden_size);
	if (!acc)
		return -1;
	for (uint32_t t = 0; t < f->rows; t++)
		if (sum_check(p, acc->data, c, t) < 0)
			return -1;
	p->acc = s->device->ops->tensor(s->device, f, "expert.acc", I64, f->rows,
	    (uint64_t)c->hidden_size);
	return p->acc ? 0 : -1;
}

/* chosen: the frame that has the choice, or NULL. */
static int
read_with(struct partial *p, const struct stage *s, struct frame *f, struct frame *chosen)
{
	const struct config *c = &s->model->config;

	memset(p, 0, sizeof(*p));
	p->begun = f->experts_done != NULL;
	if (!p->begun && frame_tensor(f, "expert.acc"))
		return fail(FAIL_DATA, "expert.acc without experts_done");
	if (!config_is_moe(c, f->layer))
		return p->begun ? fail(FAIL_DATA, "experts_done on a dense layer") : 0;
	if (chosen && chosen_read(p, c, chosen) < 0)
		return -1;
	return p->begun ? sum_read(p, s, f) : 0;
}

int
partial_read(struct partial *p, const struct stage *s, struct frame *f)
{
	return read_with(p, s, f, f);
}

int
partial_read_back(struct partial *p, const struct stage *s, struct frame *f, struct frame *kept)
{
	return read_with(p, s, f, kept);
}

int
partial_begin(struct partial *p, const struct stage *s, struct frame *f)
{
	uint64_t shape[] = {f->rows, (uint64_t)s->model->config.hidden_size};
	const struct ops *ops = s->device->ops;

	if (p->begun) {
		ops->wrote(f, "expert.acc");
		return 0;
	}
	if (!(p->acc = ops->tensor_add(s->device, f, "expert.acc", I64, 2, shape)))
		return -1;
	p->begun = 1;
	return ops->clear(s->device, p->acc, shape[0] * shape[1] * sizeof(*p->acc));
}

int
partial_tap_each(const struct stage *s, struct frame *f, float **each)
{
	uint64_t K = (uint64_t)s->model->config.num_experts_per_tok,
	    D = (uint64_t)s->model->config.hidden_size;
	const struct tensor *t;
	char name[64];

	*each = NULL;
	if (!(s->taps & TAP_BIT(TAP_EXPERT_EACH)))
		return 0;
	t = frame_tensor(f, tap_name(TAP_EXPERT_EACH, f->layer, name, sizeof(name)));
	if (t && t->dtype == F32 && t->rank == 3 && t->shape[0] == f->rows && t->shape[1] == K &&
	    t->shape[2] == D) {
		*each = t->data;
		return 0;
	}
	if (tap_add(each, s->taps, TAP_EXPERT_EACH, f, f->layer, 3, (uint64_t[]){f->rows, K,
	    D}) < 0)
		return -1;
	memset(*each, 0, f->rows * K * D * sizeof(**each));
	return 0;
}

void
partial_leave(const struct config *c, struct frame *f)
{
	for (int i = f->ntensors; i-- > 0; )
		if (strncmp(f->tensors[i].name, "expert.", 7) == 0 && !strchr(f->tensors[i].name,
		    '@'))
			frame_drop(f, f->tensors[i].name);
	f->at = AT_EXPERT;              /* whole layers at once leave it from AT_ATTN */
	frame_set_next(f, c->num_layers);
}

/* The tap expert.out: what the sum is. */
static int
tap_out(const struct stage *s, struct frame *f)
{
	ptrdiff_t D = s->model->config.hidden_size;
	const struct tensor *acc;
	float *tap;

	if (!(s->taps & TAP_BIT(TAP_EXPERT_OUT)))
		return 0;
	if (tap_add(&tap, s->taps, TAP_EXPERT_OUT, f, f->layer, 2,
	    (uint64_t[]){f->rows, (uint64_t)D}) < 0 ||
	    !(acc = frame_require(f, "expert.acc", I64, f->rows, (uint64_t)D)))
		return -1;
	memset(tap, 0, f->rows * (size_t)D * sizeof(*tap));
	for (ptrdiff_t t = 0; t < (ptrdiff_t)f->rows; t++)
		s->k->fixed_finish(tap + t * D, (const int64_t *)acc->data + t * D, (int)D);
	return 0;
}

/* Add the sum to h; expert.* is used up, but for taps, whose names have a layer. */
static int
finish(const struct partial *p, const struct stage *s, struct frame *f)
{
	struct device *d = s->device;
	float *h = stage_hidden(s, f);

	if (!h)
		return -1;
	d->ops->wrote(f, "h");
	if ((f->rows > 0 && d->ops->finish(d, h, p->acc,
	    f->rows * (uint64_t)s->model->config.hidden_size) < 0) || tap_out(s, f) < 0)
		return -1;
	partial_leave(&s->model->config, f);
	return 0;
}

static int
is_complete(const struct partial *p, const struct config *c, int layer)
{
	return !config_is_moe(c, layer) ? p->done.shared : expert_set_is_all(&p->done,
	    c->n_routed_experts);
}

static int
write_done(const struct partial *p, const struct config *c, struct frame *f)
{
	struct buf b = {0};
	int r = expert_set_text(&p->done, c->n_routed_experts, &b) < 0 ? -1 :
	    frame_set_done(f, (const char *)b.p);

	buf_free(&b);
	return r;
}

int
partial_write(struct partial *p, const struct stage *s, struct frame *f)
{
	const struct config *c = &s->model->config;

	f->changed = 1;
	if (!is_complete(p, c, f->layer))
		return write_done(p, c, f);
	if (finish(p, s, f) < 0)
		return -1;
	return f->experts_done ? frame_set_done(f, NULL) : 0;
}

/* A finished sum of a backward pass as float32. */
static int
finish_back(const struct stage *s, struct frame *f, const char *from, const char *to, int n)
{
	uint64_t shape[] = {f->rows, (uint64_t)n};
	struct tensor *acc = frame_require(f, from, I64, shape[0], shape[1]),
	    *x = acc ? frame_add(f, to, F32, 2, shape) : NULL;

	if (!x)
		return -1;
	memset(x->data, 0, x->bytes);
	acc = frame_tensor(f, from);    /* an old x.grad may have been dropped */
	if (f->rows > 0 &&
	    s->device->ops->finish(s->device, x->data, acc->data, shape[0] * shape[1]) < 0)
		return -1;
	frame_drop(f, from);
	return 0;
}

int
partial_write_back(struct partial *p, const struct stage *s, struct frame *f)
{
	const struct config *c = &s->model->config;

	f->changed = 1;
	if (!is_complete(p, c, f->layer))
		return write_done(p, c, f);
	if (finish_back(s, f, "expert.acc", "x.grad", c->hidden_size) < 0 ||
	    (config_is_moe(c, f->layer) &&
	    finish_back(s, f, "expert.wacc", "w.grad", c->num_experts_per_tok) < 0) ||
	    (f->experts_done && frame_set_done(f, NULL) < 0))
		return -1;
	frame_set_back(f, c->num_layers);
	return 0;
}
