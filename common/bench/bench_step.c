/*
 * One step of a benchmark: a batch through the stages, or through whole layers on a GPU.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench_internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "attention/attention.h"
#include "device/tensor.h"

#define PROMPT_SEQ (UINT64_C(1) << 40)

/* splitmix64 */
static uint64_t
draw(struct bench *b)
{
	uint64_t n = b->random += UINT64_C(0x9e3779b97f4a7c15);

	n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
	return n ^ n >> 31;
}

static int
draw_below(struct bench *b, int n)
{
	return (int)((draw(b) >> 32) * (uint64_t)n >> 32);
}

static void
random_floats(struct bench *b, float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(int64_t)draw(b) * 0x1p-63f;
}

/* --- operations --- */

static double
attn_operations(const struct bench *b, const struct frame *f, int layer)
{
	const struct config *c = &b->stage.model->config;
	double n = 2 * f->rows * b->layers[layer].attn.params;

	for (int i = 0; i < f->nspans; i++)
		n += attention_of(c)->operations(c, f->spans[i].n, attention_held(c, layer,
		    f->spans[i].pos + (f->spans[i].n + 1) / 2.0));
	return n;
}

static double
route_operations(const struct bench *b, const struct frame *f, int layer)
{
	return 2 * f->rows * b->layers[layer].route.params;
}

static double
expert_operations(const struct bench *b, const struct frame *f, int layer)
{
	const struct bench_layer *l = &b->layers[layer];

	return 2 * f->rows * (l->shared.params + b->stage.model->config.num_experts_per_tok * l->expert.params);
}

/* --- one step by stages --- */

/* Bytes of cache rows that a frame reads in one layer, each sequence's once. */
static double
latent_bytes(const struct bench *b, const struct frame *f)
{
	double n = 0;

	for (int i = 0; i < f->nspans; i++)
		n += (double)f->spans[i].pos + f->spans[i].n;
	return n * (double)bench_position_bytes(&b->stage, &b->stage.model->config);
}

static int
ascending(const void *a, const void *b)
{
	return (*(const int32_t *)a > *(const int32_t *)b) - (*(const int32_t *)a < *(const int32_t *)b);
}

/* Choose an expert that is present and not among the first `used` chosen ones. */
static int32_t
new_slot(struct bench *b, int used)
{
	int i = used + draw_below(b, b->present - used);
	int32_t e = b->order[i];

	b->order[i] = b->order[used];
	return b->order[used] = e;
}

/*
 * Draw K different experts for each row, all E equally likely. If fewer are present, each drawn
 * expert is mapped to one of those, to a new one as long as there is any: the batch then reads as
 * many different experts as with all E.
 */
static void
draw_experts(struct bench *b, int32_t *idx, size_t rows)
{
	const struct config *c = &b->stage.model->config;
	int E = c->n_routed_experts, K = c->num_experts_per_tok, used = 0;

	for (int e = 0; e < E; e++)
		b->slot[e] = -1;
	for (size_t t = 0; t < rows; t++, idx += K) {
		memset(b->taken, 0, (size_t)E);
		for (int i = 0; i < K; ) {
			int e = draw_below(b, E), at = b->slot[e];

			if (at < 0 && used < b->present)
				at = b->slot[e] = new_slot(b, used++);
			else if (at < 0)
				at = draw_below(b, b->present);
			if (b->taken[at])
				continue;
			b->taken[at] = 1;
			idx[i++] = at;
		}
		qsort(idx, (size_t)K, sizeof(*idx), ascending);
	}
	b->used = used;
}

/* Start the copy of a tensor to the GPU, before the clock runs. The host's copy must stay until
 * it is done. */
static int
upload(const struct bench *b, struct frame *f, const char *name, enum dtype dtype, uint64_t cols)
{
	if (!b->gpu)
		return 0;
	if (!device_tensor(b->stage.device, f, name, dtype, f->rows, cols))
		return -1;
	device_wrote(f, name);
	return 0;
}

/* Replace the router's choice by random experts. */
static int
set_experts(struct bench *b, struct frame *f)
{
	const struct config *c = &b->stage.model->config;
	uint64_t shape[] = {f->rows, (uint64_t)c->num_experts_per_tok};
	struct tensor *t = frame_add(f, "expert.idx", I32, 2, shape);

	if (!t)
		return -1;
	draw_experts(b, t->data, f->rows);
	if (!(t = frame_add(f, "expert.w", F32, 2, shape)))
		return -1;
	for (uint64_t i = 0; i < shape[0] * shape[1]; i++)
		((float *)t->data)[i] = 1.0f / (float)shape[1];
	if (!(b->parts & 1u << BENCH_EXPERT))
		return 0;
	/* the experts' stage waits before it ends */
	return upload(b, f, "expert.idx", I32, shape[1]) < 0 ? -1 : upload(b, f, "expert.w", F32, shape[1]);
}

static double
now(const struct bench *b)
{
	return b->fastest && pool_threads(b->stage.pool) == 1 ? clock_thread() : clock_now();
}

/* Run a stage, if it is measured. */
static int
measure(const struct bench *b, struct measured *m, enum bench_stage part, stage_fn *fn, void *arg, struct frame *f)
{
	double start = now(b);

	if (!(b->parts & 1u << part))
		return 0;
	if (b->gpu && bench_gpu_mark_start(b->gpu) < 0)
		return -1;
	if (fn(arg, f, NULL, 0) < 0)
		return -1;
	if (b->gpu)
		return bench_gpu_mark_end(b->gpu, &m->part[part].seconds);
	m->part[part].seconds += now(b) - start;
	return 0;
}

static void
account(const struct bench *b, struct measured *m, enum bench_stage part, double bytes, double operations)
{
	if (b->parts & 1u << part) {
		m->part[part].bytes += bytes;
		m->part[part].operations += operations;
	}
}

static int
step_layer(struct bench *b, struct measured *m, struct frame *f, int layer)
{
	const struct config *c = &b->stage.model->config;
	const struct bench_layer *l = &b->layers[layer];
	int moe = config_is_moe(c, layer);

	b->used = 0;
	frame_set_at(f, AT_ATTN, layer);
	account(b, m, BENCH_ATTN, l->attn.bytes + latent_bytes(b, f), attn_operations(b, f, layer));
	if (measure(b, m, BENCH_ATTN, attn_frame, &b->block.attn, f) < 0)
		return -1;
	frame_set_at(f, AT_ROUTE, layer);
	account(b, m, BENCH_ROUTE, moe ? l->route.bytes : 0, route_operations(b, f, layer));
	if (measure(b, m, BENCH_ROUTE, route_frame, &b->block.route, f) < 0 || (moe && set_experts(b, f) < 0))
		return -1;
	frame_set_at(f, AT_EXPERT, layer);
	account(b, m, BENCH_EXPERT, l->shared.bytes + b->used * l->expert.bytes, expert_operations(b, f, layer));
	if (measure(b, m, BENCH_EXPERT, expert_frame, &b->block.expert, f) < 0)
		return -1;
	frame_drop(f, "expert.idx");
	frame_drop(f, "expert.w");
	m->experts += b->used;
	return 0;
}

/* Make a frame of random rows: a prompt, or one row each of as many sequences. */
static int
make_frame(struct bench *b, struct frame *f, const struct measured *m)
{
	int D = b->stage.model->config.hidden_size, n = m->prefill ? 1 : m->rows, r;
	struct span *spans = mem_new((size_t)n, sizeof(*spans));
	struct tensor *h;

	if (!spans)
		return -1;
	for (int i = 0; i < n; i++)
		spans[i] = (struct span){(uint64_t)i, (uint32_t)m->context, 1, SPAN_SAMPLE};
	if (m->prefill)
		spans[0] = (struct span){PROMPT_SEQ, 0, (uint32_t)m->rows, SPAN_SAMPLE};
	frame_set_at(f, AT_ATTN, 0);
	r = frame_set_spans(f, spans, n);
	free(spans);
	if (r < 0 || !(h = frame_add(f, "h", F32, 2, (uint64_t[]){(uint64_t)m->rows, (uint64_t)D})))
		return -1;
	random_floats(b, h->data, (size_t)m->rows * (size_t)D);
	/* stages may drop it without waiting */
	return upload(b, f, "h", F32, (uint64_t)D) < 0 || (b->gpu && device_wait(b->stage.device) < 0) ? -1 : 0;
}

/* --- whole layers on a GPU --- */

int
bench_has_block(const struct bench *b)
{
	const unsigned whole = 1u << BENCH_ATTN | 1u << BENCH_ROUTE | 1u << BENCH_EXPERT;

	return b->gpu && (b->parts & whole) == whole && b->present >= b->stage.model->config.n_routed_experts;
}

/* Add the bytes and operations of a layer. One row reads K experts, whichever they are. */
static void
account_block(const struct bench *b, struct measured *m, const struct frame *f, int layer)
{
	const struct config *c = &b->stage.model->config;
	const struct bench_layer *l = &b->layers[layer];
	double K = c->num_experts_per_tok;

	m->all.bytes += l->attn.bytes + latent_bytes(b, f) + l->shared.bytes;
	m->all.operations += attn_operations(b, f, layer) + route_operations(b, f, layer) +
	    expert_operations(b, f, layer);
	if (config_is_moe(c, layer))
		m->all.bytes += l->route.bytes + (f->rows == 1 ? K * l->expert.bytes : NAN);
}

/* Consecutive layers are one call. */
static int
step_block(struct bench *b, struct measured *m, struct frame *f)
{
	const unsigned char *has = b->stage.layers.has;

	for (int i = 0; i < b->stage.model->config.num_layers; i++) {
		if (!has[i])
			continue;
		account_block(b, m, f, i);
		if (i > 0 && has[i - 1])
			continue;
		frame_set_at(f, AT_ATTN, i);
		if (bench_gpu_mark_start(b->gpu) < 0 || block_frame(&b->block, f, NULL, 0) < 0 ||
		    bench_gpu_mark_end(b->gpu, &m->all.seconds) < 0)
			return -1;
	}
	return bench_gpu_times(b->gpu);
}

/* --- steps --- */

/* Evict everything from the caches. */
static int
sweep(const struct bench *b)
{
	if (b->sweep)
		(void)sweep_read(b->sweep, b->stage.k, b->stage.pool);
	return b->gpu_sweep ? bench_gpu_sweep(b->gpu) : 0;
}

static int
step_stages(struct bench *b, struct frame *f, struct measured *m)
{
	const struct config *c = &b->stage.model->config;
	double wants = m->prefill ? 1 : m->rows, moe = 0;

	for (int i = 0; i < c->num_layers; i++) {
		if (b->stage.layers.has[i] && step_layer(b, m, f, i) < 0)
			return -1;
		moe += b->stage.layers.has[i] && config_is_moe(c, i);
	}
	m->experts = moe > 0 ? m->experts / moe : 0;
	frame_set_at(f, AT_HEAD, c->num_layers);
	account(b, m, BENCH_HEAD, b->head_weights.bytes, 2 * wants * b->head_weights.params);
	if (measure(b, m, BENCH_HEAD, head_frame, &b->head, f) < 0 || (b->gpu && bench_gpu_times(b->gpu) < 0))
		return -1;
	for (int i = 0; i < BENCH_STAGES; i++) {
		m->all.seconds += m->part[i].seconds;
		m->all.bytes += m->part[i].bytes;
		m->all.operations += m->part[i].operations;
	}
	return 0;
}

int
bench_step(struct bench *b, int block, struct measured *m)
{
	struct frame f;
	int r;

	frame_init(&f);
	stage_stamp(&b->stage, &f);
	r = make_frame(b, &f, m) < 0 || sweep(b) < 0 ? -1 : block ? step_block(b, m, &f) : step_stages(b, &f, m);
	frame_free(&f);
	return r;
}
