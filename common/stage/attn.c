#include "stage/attn.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "device/tensor.h"

int
attn_open(struct attn *a, const struct stage *s)
{
	int n = s->model->config.num_layers;

	memset(a, 0, sizeof(*a));
	a->s = s;
	a->layers = mem_new((size_t)n, sizeof(*a->layers));
	if (!a->layers || stage_has_products(s) < 0 || mla_math_open(&a->math, s) < 0 || (s->gpu && !(a->gpu = attn_gpu_new(s))))
		return -1;
	for (int i = 0; i < n; i++)
		if (s->layers.has[i] && mla_open(&a->layers[i], s, i, a->gpu ? attn_gpu_memory(a->gpu) : NULL) < 0)
			return -1;
	if (a->gpu)
		attn_gpu_expect(a);
	return 0;
}

void
attn_close(struct attn *a)
{
	for (int i = 0; a->layers && i < a->s->model->config.num_layers; i++)
		mla_close(&a->layers[i], a->s);
	free(a->layers);
	attn_gpu_free(a->gpu);
	mla_math_close(&a->math);
}

static int
span_check(const struct attn *a, const struct span *p)
{
	int64_t end = (int64_t)p->pos + p->n, max = a->s->model->config.max_position;

	return end <= max ? 0 : fail(FAIL_DATA, "sequence %" PRIu64 ": position %" PRId64
	    " arrives, the model ends at %" PRId64, p->seq, end - 1, max - 1);
}

/*
 * The sequence of a span whose first row is next, holding what comes before; *again is set
 * instead where that would take back rows of the block that is being put together: they must
 * be computed before they are forgotten.
 */
static struct cache_seq *
span_enter(const struct attn *a, struct cache *c, const struct span *p, int *again)
{
	struct cache_seq *s = cache_find(c, p->seq);

	*again = s && s->mark == a->block && s->n > p->pos;
	if (*again || span_check(a, p) < 0)
		return NULL;
	s = cache_at(c, p->seq, p->pos);
	if (s)
		s->mark = a->block;
	return s;
}

int
attn_take(struct attn *a, struct cache *c, const struct frame *f, struct attn_place *at, struct mla_rows *r)
{
	r->n = 0;
	a->block++;
	for (; r->n < r->most && at->span < f->nspans; at->span++, at->row = 0) {
		const struct span *p = &f->spans[at->span];
		int again = 0;
		struct cache_seq *s = at->row > 0 ? cache_find(c, p->seq) : span_enter(a, c, p, &again);

		if (!s)
			return again ? 0 : -1;
		s->mark = a->block;
		for (; at->row < p->n && r->n < r->most; at->row++, r->n++) {
			r->seq[r->n] = s;
			r->pos[r->n] = p->pos + at->row;
			r->kv[r->n] = cache_append(c, s);
			if (!r->kv[r->n])
				return -1;
		}
		if (at->row < p->n)
			break;
	}
	return 0;
}

uint64_t
attn_positions(const struct frame *f)
{
	uint64_t longest = 0;

	for (int i = 0; i < f->nspans; i++)
		if (f->spans[i].n > 0 && (uint64_t)f->spans[i].pos + f->spans[i].n > longest)
			longest = (uint64_t)f->spans[i].pos + f->spans[i].n;
	return longest;
}

/* Room for the inner tensors that were asked for. */
static int
taps_place(const struct attn *a, struct frame *f, struct mla_taps *taps)
{
	const struct config *c = &a->s->model->config;
	uint64_t T = f->rows, D = (uint64_t)c->hidden_size, H = (uint64_t)c->num_heads, longest = attn_positions(f);
	uint64_t R = (uint64_t)c->kv_lora_rank, rope = (uint64_t)c->qk_rope_head_dim;

	taps->positions = longest;
	const struct { float **to; enum tap tap; int rank; uint64_t shape[3]; } all[] = {
		{&taps->norm, TAP_ATTN_NORM, 2, {T, D}},
		{&taps->q, TAP_ATTN_Q, 3, {T, H, (uint64_t)c->qk_nope_head_dim + rope}},
		{&taps->latent, TAP_ATTN_LATENT, 2, {T, R}},
		{&taps->krope, TAP_ATTN_KROPE, 2, {T, rope}},
		{&taps->probs, TAP_ATTN_PROBS, 3, {T, H, longest}},
		{&taps->heads, TAP_ATTN_HEADS, 3, {T, H, D}},
		{&taps->out, TAP_ATTN_OUT, 2, {T, D}},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (tap_add(all[i].to, a->s->taps, all[i].tap, f, f->layer, all[i].rank, all[i].shape) < 0)
			return -1;
	return 0;
}

void
attn_taps_advance(const struct attn *a, struct mla_taps *taps, size_t n)
{
	const struct config *c = &a->s->model->config;
	size_t D = (size_t)c->hidden_size, H = (size_t)c->num_heads, rope = (size_t)c->qk_rope_head_dim;
	const struct { float **at; size_t width; } all[] = {
		{&taps->norm, D}, {&taps->q, H * ((size_t)c->qk_nope_head_dim + rope)}, {&taps->latent, (size_t)c->kv_lora_rank},
		{&taps->krope, rope}, {&taps->probs, H * taps->positions}, {&taps->heads, H * D}, {&taps->out, D}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (*all[i].at)
			*all[i].at += n * all[i].width;
}

static int
batch_here(struct attn *a, struct frame *f, struct mla_taps *taps)
{
	const struct cache_seq *seq[MLA_ROWS];
	uint32_t pos[MLA_ROWS];
	void *kv[MLA_ROWS];
	struct mla_rows r = {.most = MLA_ROWS, .seq = seq, .pos = pos, .kv = kv};
	struct mla *m = &a->layers[f->layer];
	struct attn_place at = {0};
	float *h = stage_hidden(a->s, f);

	if (!h || taps_place(a, f, taps) < 0)
		return -1;
	f->changed = 1;
	while (at.span < f->nspans) {
		if (attn_take(a, &m->cache, f, &at, &r) < 0 || mla_add(&a->math, m, h, &r, taps) < 0)
			return -1;
		attn_taps_advance(a, taps, (size_t)r.n);
		h += (ptrdiff_t)r.n * a->s->model->config.hidden_size;
	}
	return 0;
}

static int
batch_gpu(struct attn *a, struct frame *f, struct mla_taps *taps)
{
	struct attn_place at = {0};
	struct gpu_rows r;
	float *h = stage_hidden(a->s, f);

	if (!h || taps_place(a, f, taps) < 0)
		return -1;
	device_wrote(f, "h");
	while (at.span < f->nspans) {
		if (attn_gpu_take(a, f->layer, f, &at, &r) < 0 || attn_gpu_add(a, f->layer, h, &r, taps) < 0)
			return -1;
		h += (ptrdiff_t)r.n * a->s->model->config.hidden_size;
	}
	return 0;
}

/* free, fork and the error of a sequence reach the caches of all layers. */
static int
attn_control(struct attn *a, const struct frame *f)
{
	for (int i = 0; i < a->s->model->config.num_layers; i++) {
		if (!a->s->layers.has[i])
			continue;
		if (frame_frees(f))
			cache_release(&a->layers[i].cache, f->seq);
		else if (f->op == OP_FORK && cache_fork(&a->layers[i].cache, f->from, f->to, f->fork_n) < 0)
			return fail_in("layer %d", i);
	}
	return 0;
}

int
attn_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct attn *a = arg;
	struct mla_taps taps = {0};
	int acts = stage_multiplies(a->s, f, AT_ATTN);

	(void)out, (void)nout;
	if (f->op != OP_NONE)
		return attn_control(a, f) < 0 ? -1 : 1;
	if (acts <= 0)
		return acts < 0 ? -1 : 1;
	if ((a->gpu ? batch_gpu(a, f, &taps) : batch_here(a, f, &taps)) < 0)
		return fail_in("layer %d", f->layer);
	frame_set_next(f, a->s->model->config.num_layers);
	return 1;
}
