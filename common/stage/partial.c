#include "stage/partial.h"

#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "device/tensor.h"

#define TERM_MAX ((int64_t)1 << 58)     /* a contribution is below 2^18, with 40 bits behind the point */

/* The choice of row t. */
static int
row_check(const int32_t *idx, int K, int E, uint32_t t)
{
	for (int i = 0; i < K; i++)
		if (idx[i] < 0 || idx[i] >= E || (i > 0 && idx[i] <= idx[i - 1]))
			return fail(FAIL_DATA, "expert.idx of row %" PRIu32 " is not ascending in 0 to %d", t, E - 1);
	return 0;
}

/* No sum is larger than what was added to it: so what is still to come cannot overflow it. */
static int
sum_check(const struct partial *p, const struct config *c, uint32_t t)
{
	int K = c->num_experts_per_tok, terms = p->done.shared;
	const int64_t *acc = p->acc + (size_t)t * (size_t)c->hidden_size;

	for (int i = 0; i < K; i++)
		terms += p->done.has[p->idx[(size_t)t * (size_t)K + (size_t)i]];
	for (int i = 0; i < c->hidden_size; i++)
		if (acc[i] > terms * TERM_MAX || acc[i] < -terms * TERM_MAX)
			return fail(FAIL_DATA, "expert.acc of row %" PRIu32 " is larger than %d experts can make it",
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

/* The sum so far goes where it is to grow. */
static int
sum_upload(struct partial *p, const struct stage *s, struct frame *f)
{
	p->acc = device_tensor(s->gpu, f, "expert.acc", I64, f->rows, (uint64_t)s->model->config.hidden_size);
	if (!p->acc)
		return -1;
	device_wrote(f, "expert.acc");
	return 0;
}

int
partial_read(struct partial *p, const struct stage *s, struct frame *f)
{
	const struct config *c = &s->model->config;
	int moe = config_is_moe(c, f->layer);
	struct tensor *acc;

	memset(p, 0, sizeof(*p));
	p->begun = f->experts_done != NULL;
	if (!p->begun && frame_tensor(f, "expert.acc"))
		return fail(FAIL_DATA, "expert.acc without experts_done");
	if (!moe)
		return p->begun ? fail(FAIL_DATA, "experts_done on a dense layer") : 0;
	if (chosen_read(p, c, f) < 0)
		return -1;
	if (!p->begun)
		return 0;
	if (expert_set_parse(&p->done, f->experts_done, c->n_routed_experts, FAIL_DATA) < 0)
		return fail_in("experts_done");
	if (expert_set_is_all(&p->done, c->n_routed_experts))
		return fail(FAIL_DATA, "experts_done: all are, but the frame still waits for some");
	acc = frame_need(f, "expert.acc", I64, f->rows, (uint64_t)c->hidden_size);
	if (!acc)
		return -1;
	p->acc = acc->data;
	for (uint32_t t = 0; t < f->rows; t++)
		if (sum_check(p, c, t) < 0)
			return -1;
	return s->gpu ? sum_upload(p, s, f) : 0;
}

static int
begin_gpu(struct partial *p, const struct stage *s, struct frame *f, const uint64_t *shape)
{
	struct device *d = s->gpu;
	size_t bytes = shape[0] * shape[1] * sizeof(*p->acc);

	p->acc = device_add(d, f, "expert.acc", I64, 2, shape);
	if (!p->acc)
		return -1;
	p->begun = 1;
	return bytes > 0 && d->lib->fill(d->gpu, p->acc, 0, bytes) < 0 ? device_fail(d, "expert.acc") : 0;
}

int
partial_begin(struct partial *p, const struct stage *s, struct frame *f)
{
	uint64_t shape[] = {f->rows, (uint64_t)s->model->config.hidden_size};
	struct tensor *acc;

	if (p->begun)
		return 0;
	if (s->gpu)
		return begin_gpu(p, s, f, shape);
	acc = frame_add(f, "expert.acc", I64, 2, shape);
	if (!acc)
		return -1;
	memset(acc->data, 0, acc->bytes);
	p->acc = acc->data;
	p->begun = 1;
	return 0;
}

int
partial_tap_each(const struct stage *s, struct frame *f, float **each)
{
	uint64_t K = (uint64_t)s->model->config.num_experts_per_tok, D = (uint64_t)s->model->config.hidden_size;
	const struct tensor *t;
	char name[64];

	*each = NULL;
	if (!(s->taps & TAP_BIT(TAP_EXPERT_EACH)))
		return 0;
	t = frame_tensor(f, tap_name(TAP_EXPERT_EACH, f->layer, name, sizeof(name)));
	if (t && t->dtype == F32 && t->rank == 3 && t->shape[0] == f->rows && t->shape[1] == K && t->shape[2] == D) {
		*each = t->data;
		return 0;
	}
	if (tap_add(each, s->taps, TAP_EXPERT_EACH, f, f->layer, 3, (uint64_t[]){f->rows, K, D}) < 0)
		return -1;
	memset(*each, 0, f->rows * K * D * sizeof(**each));
	return 0;
}

void
partial_leave(const struct config *c, struct frame *f)
{
	int next = f->layer + 1;

	for (int i = f->ntensors; i-- > 0; )
		if (strncmp(f->tensors[i].name, "expert.", 7) == 0 && !strchr(f->tensors[i].name, '@'))
			frame_drop(f, f->tensors[i].name);
	frame_set_at(f, next < c->num_layers ? AT_ATTN : AT_HEAD, next);
}

/* The tap expert.out: what the sum is, acc [T][D] of the host. */
static int
tap_out(const struct stage *s, struct frame *f, const int64_t *acc)
{
	ptrdiff_t D = s->model->config.hidden_size;
	float *tap;

	if (tap_add(&tap, s->taps, TAP_EXPERT_OUT, f, f->layer, 2, (uint64_t[]){f->rows, (uint64_t)D}) < 0)
		return -1;
	if (!tap)
		return 0;
	memset(tap, 0, f->rows * (size_t)D * sizeof(*tap));
	for (ptrdiff_t t = 0; t < (ptrdiff_t)f->rows; t++)
		s->k->fixed_finish(tap + t * D, acc + t * D, (int)D);
	return 0;
}

static int
finish_cpu(const struct partial *p, const struct stage *s, struct frame *f)
{
	ptrdiff_t D = s->model->config.hidden_size;
	float *h = stage_hidden(s, f);

	if (!h || tap_out(s, f, p->acc) < 0)
		return -1;
	for (ptrdiff_t t = 0; t < (ptrdiff_t)f->rows; t++)
		s->k->fixed_finish(h + t * D, p->acc + t * D, (int)D);
	return 0;
}

static int
finish_gpu(const struct partial *p, const struct stage *s, struct frame *f)
{
	struct device *d = s->gpu;
	uint64_t D = (uint64_t)s->model->config.hidden_size;
	float *h = stage_hidden_gpu(s, f);
	const struct tensor *acc;

	if (!h)
		return -1;
	device_wrote(f, "h");
	if (f->rows > 0 && d->lib->fixed_finish(d->gpu, h, p->acc, f->rows * D) < 0)
		return device_fail(d, "the sum of the experts");
	if (!(s->taps & TAP_BIT(TAP_EXPERT_OUT)))
		return 0;
	acc = frame_need(f, "expert.acc", I64, f->rows, D);
	return acc ? tap_out(s, f, acc->data) : -1;
}

/* Add the sum to h; expert.* is used up, but for taps, whose names have a layer. */
static int
finish(const struct partial *p, const struct stage *s, struct frame *f)
{
	if ((s->gpu ? finish_gpu(p, s, f) : finish_cpu(p, s, f)) < 0)
		return -1;
	partial_leave(&s->model->config, f);
	return 0;
}

int
partial_write(struct partial *p, const struct stage *s, struct frame *f)
{
	const struct config *c = &s->model->config;
	struct buf b = {0};
	int r;

	f->changed = 1;
	if (!config_is_moe(c, f->layer) ? p->done.shared : expert_set_is_all(&p->done, c->n_routed_experts)) {
		if (finish(p, s, f) < 0)
			return -1;
		return f->experts_done ? frame_set_done(f, NULL) : 0;
	}
	r = expert_set_text(&p->done, c->n_routed_experts, &b) < 0 ? -1 : frame_set_done(f, (const char *)b.p);
	buf_free(&b);
	return r;
}
