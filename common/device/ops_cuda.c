/*
 * A GPU as a device: each function is one of the library's, put on the stream.
 */
#include <string.h>

#include "device/device_internal.h"
#include "device/ops.h"
#include "device/tensor.h"

/* The result of a call of the library, with what it was for the message. */
static int
done(const struct device *d, int r, const char *what)
{
	return r < 0 ? device_fail(d, what) : 0;
}

/* --- memory --- */

static int
copy(struct device *d, void *to, const void *from, size_t bytes)
{
	return done(d, bytes ? d->lib->copy(d->gpu, to, from, bytes) : 0, "a copy");
}

static int
clear(struct device *d, void *p, size_t bytes)
{
	return done(d, bytes ? d->lib->fill(d->gpu, p, 0, bytes) : 0, "a fill");
}

/* (the host's memory may be freed once these return) */
static int
send(struct device *d, void *to, const void *host, size_t bytes)
{
	if (bytes == 0)
		return 0;
	return d->lib->upload(d->gpu, to, host, bytes) < 0 ? device_fail(d, "a copy") :
	    device_wait(d);
}

static int
fetch(struct device *d, void *host, const void *from, size_t bytes)
{
	if (bytes == 0)
		return 0;
	return d->lib->download(d->gpu, host, from, bytes) < 0 ? device_fail(d, "a copy") :
	    device_wait(d);
}

static void
page_free(struct device *d, void *page)
{
	(void)d, (void)page;            /* device_close frees it */
}

/* --- products and rows --- */

static int
product(struct device *d, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, enum precision p)
{
	return done(d, d->lib->matmul(d->gpu, out, ldo, x, ldx, T, w, p), "a product");
}

static int
heads(struct device *d, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x,
    ptrdiff_t ldx, ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows,
    int H)
{
	return done(d, d->lib->matmul_heads(d->gpu, out, ldo, out_step, x, ldx, x_step, T, w, first,
	    step, rows, H,
	    d->k->precision), "the products of heads");
}

static int
heads_t(struct device *d, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x,
    ptrdiff_t ldx, ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows,
    int H)
{
	return done(d, d->lib->matmul_t_heads(d->gpu, out, ldo, out_step, x, ldx, x_step, T, w,
	    first, step, rows, H,
	    d->k->precision), "the products of heads");
}

static int
norm(struct device *d, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, int n,
    const float *weight, float eps)
{
	return done(d, d->lib->rmsnorm(d->gpu, out, ldo, x, ldx, T, n, weight, eps), "a norm");
}

static int
add(struct device *d, float *x, const float *y, size_t n)
{
	return done(d, d->lib->add(d->gpu, x, y, n), "a sum");
}

static int
bias(struct device *d, float *x, const float *b, int T, int n)
{
	return done(d, d->lib->bias(d->gpu, x, b, T, n), "a bias");
}

static int
gather(struct device *d, float *out, const float *x, const int32_t *row, int T, int n)
{
	return done(d, d->lib->gather(d->gpu, out, x, row, T, n), "rows");
}

static int
finish(struct device *d, float *h, const int64_t *acc, size_t n)
{
	return done(d, d->lib->fixed_finish(d->gpu, h, acc, n), "the sum of the experts");
}

/* --- attention --- */

static int
angles(struct device *d, float *cosine, float *sine, const uint32_t *pos, int T, const double *freq,
    int half, double factor)
{
	return done(d, d->lib->angles(d->gpu, cosine, sine, pos, T, freq, half, factor), "angles");
}

static int
kv_append(struct device *d, const struct kv_append *a, const struct kv_rows *rows)
{
	return done(d, d->lib->kv_append(d->gpu, a, rows, d->k->precision), "attention");
}

static int
attend(struct device *d, float *out, float *max, float *sum, const float *query,
    const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale)
{
	enum precision p = d->k->precision;
	void *scratch = device_reserve(d, &d->attend, d->lib->attend_scratch(d->gpu, rows->n,
	    rows->most, H, kv, p));

	if (!scratch)
		return -1;
	return done(d, d->lib->attend(d->gpu, out, max, sum, query, rows, H, kv, scale, scratch, p),
	    "attention");
}

static int
probs(struct device *d, float *to, size_t positions, const float *max, const float *sum,
    const float *query, const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale)
{
	return done(d, d->lib->probs(d->gpu, to, positions, max, sum, query, rows, H, kv, scale,
	    d->k->precision), "attention");
}

/* --- router and experts --- */

static int
route(struct device *d, float *scores, float *choice, int32_t *idx, float *w, const float *bias,
    int T, const struct router *r)
{
	return done(d, d->lib->route(d->gpu, scores, choice, idx, w, bias, T, r), "the router");
}

static int
sort(struct device *d, const struct expert_pairs *c, const int32_t *idx, const float *w, int T,
    int K, const unsigned char *has)
{
	return done(d, d->lib->sort(d->gpu, c, idx, w, T, K, has), "experts");
}

static int
all_rows(struct device *d, const struct expert_pairs *c, int T)
{
	return done(d, d->lib->all_rows(d->gpu, c, T), "experts");
}

static int
bad_clear(struct device *d, int32_t *bad, int n)
{
	return done(d, d->lib->fill(d->gpu, bad, BAD_NONE & 0xff, (size_t)n * sizeof(*bad)),
	    "experts");
}

static size_t
experts_bytes(const struct device *d, int D, int width, int pairs)
{
	/* before the library is loaded: x gathered, gate, up and down */
	return d->lib ? d->lib->mlp_scratch(D, width, pairs, d->k->precision) :
	    (size_t)pairs * 2 * (size_t)(D + width) * sizeof(float);
}

static int
experts(struct device *d, int64_t *acc, const float *x, int D, const struct expert_group *g, int n)
{
	for (; n > 0; n--, g++) {
		size_t bytes = experts_bytes(d, D, g->like->gate.rows, g->chosen.pairs);
		void *scratch = device_reserve(d, &d->experts, bytes);

		if (!scratch)
			return -1;
		if (d->lib->mlp(d->gpu, acc, x, D, g->mlps, g->like, &g->chosen, g->bad, g->each,
		    scratch, d->k->precision) < 0)
			return device_fail(d, "experts");
	}
	return 0;
}

/* --- graphs --- */

static int
record(struct device *d)
{
	return done(d, d->lib->record(d->gpu), "a graph");
}

static int
recorded(struct device *d, struct gpu_graph **graph)
{
	return done(d, d->lib->recorded(d->gpu, graph), "a graph");
}

static int
replay(struct device *d, struct gpu_graph *graph)
{
	return done(d, d->lib->replay(d->gpu, graph), "a graph");
}

static void
graph_free(struct device *d, struct gpu_graph *graph)
{
	d->lib->graph_free(graph);
}

const struct ops ops_cuda = {
	.attend_rows = 512,
	.reserve = device_reserve, .release = device_release, .mirror = mirror_set,
	    .mirror_free = mirror_free,
	.page = device_page, .page_free = page_free, .copy = copy, .clear = clear, .send = send,
	    .fetch = fetch,
	.wait = device_wait,
	.tensor = device_tensor, .wrote = device_wrote, .tensor_add = device_add,
	.product = product, .heads = heads, .heads_t = heads_t,
	.norm = norm, .add = add, .bias = bias, .gather = gather, .finish = finish,
	.angles = angles, .kv_append = kv_append, .attend = attend, .probs = probs,
	.route = route, .sort = sort, .all_rows = all_rows, .bad_clear = bad_clear,
	    .experts = experts,
	.experts_bytes = experts_bytes,
	.record = record, .recorded = recorded, .replay = replay, .graph_free = graph_free,
};
