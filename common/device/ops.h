/*
 * What stages compute with: one table of functions, implemented by ops_cpu.c over the thread pool
 * and the kernels, and by ops_cuda.c over the GPU library. Both have the bits that man
 * ds-arithmetic(7) states for them.
 *
 * Pointers are to memory of the device unless the contract says host; the CPU's memory is the
 * host's. A GPU only queues work: it has happened when `wait`, `send` or `fetch` returns.
 * Functions return 0 or a pointer, or -1 or NULL and a message. Strides are in elements; inputs
 * and outputs do not overlap.
 *
 * Shapes: T rows, D hidden size, H query heads, E experts, K chosen; of keys and values struct
 * kv_shape. Pass no rows (T 0) to none of the functions that compute.
 */
#ifndef DS_OPS_H
#define DS_OPS_H

#include "device/device.h"
#include "device/mirror.h"
#include "frame/frame.h"

/* Experts of a layer and the rows that chose them. */
struct expert_group {
	const struct mlp *mlps;     /* [chosen.E] */
	/* host: one that is open; all have its shapes and dtypes on a GPU */
	const struct mlp *like;
	struct expert_pairs chosen;
	/* becomes the least pair whose contribution is refused (kernels.h, fixed_add) */
	int32_t *bad;
	float *each;                    /* NULL, or [..][D]: row slot[i] gets what pair i adds */
	/* CPU: NULL, or [pairs][width]: row i gets the products of pair i with these matrices */
	float *gate, *up;
};

struct ops {
	int attend_rows;        /* rows of a batch that attention computes together */

	/* --- memory --- */
	/* Like scratch_reserve and scratch_free; the address stays the same while d->moves does. */
	void *(*reserve)(struct device *d, struct scratch *s, size_t bytes);
	void (*release)(struct device *d, struct scratch *s);

	/* m->p holds a copy of the host's n bytes from here on: 1, or 0 where it did already
	 * (device/mirror.h). */
	int (*mirror)(struct device *d, struct mirror *m, const void *data, size_t n);
	void (*mirror_free)(struct device *d, struct mirror *m);

	/* A page of a cache, aligned to 64 bytes, not set. Freed pages come back with the
	 * device's end. */
	void *(*page)(struct device *d, size_t bytes);
	void (*page_free)(struct device *d, void *page);

	int (*copy)(struct device *d, void *to, const void *from, size_t bytes);
	int (*clear)(struct device *d, void *p, size_t bytes);                  /* to zeros */
	int (*send)(struct device *d, void *to, const void *host, size_t bytes);
	int (*fetch)(struct device *d, void *host, const void *from, size_t bytes);
	int (*wait)(struct device *d);

	/* --- tensors of frames, for the device to read and write (device/tensor.h) --- */
	/* f's tensor, of that dtype and shape as for frame_require; after writing to it, call
	 * wrote. */
	void *(*tensor)(struct device *d, struct frame *f, const char *name, enum dtype t,
	    uint64_t rows, uint64_t cols);
	void (*wrote)(struct frame *f, const char *name);
	/* A new tensor, not set (an old one of the name is dropped). */
	void *(*tensor_add)(struct device *d, struct frame *f, const char *name, enum dtype t,
	    int rank, const uint64_t *shape);

	/* --- products --- */
	/* out[t][n] = sum over k of x[t][k] w[n][k]: out [T][w->rows] of stride ldo, x
	 * [T][w->cols] of stride ldx. */
	int (*product)(struct device *d, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx,
	    int T, const struct mat *w, enum precision p);

	/* For each head h below H, with the `rows` rows of w from first + h * step on: the
	 * product, or transposed, out[t][c] = sum over those rows r of x[t][r] w[r][c]. A head's
	 * x begins at x + h * x_step, its out at out + h * out_step. */
	int (*heads)(struct device *d, float *out, ptrdiff_t ldo, ptrdiff_t out_step,
	    const float *x, ptrdiff_t ldx, ptrdiff_t x_step, int T, const struct mat *w, int first,
	    int step, int rows, int H);
	int (*heads_t)(struct device *d, float *out, ptrdiff_t ldo, ptrdiff_t out_step,
	    const float *x, ptrdiff_t ldx, ptrdiff_t x_step, int T, const struct mat *w, int first,
	    int step, int rows, int H);

	/* --- rows --- */
	/* RMSNorm of each row: out and x [T][n], weight [n]; out may be x. */
	int (*norm)(struct device *d, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx,
	    int T, int n, const float *weight, float eps);
	int (*add)(struct device *d, float *x, const float *y, size_t n);               /* x += y */
	/* x[t] += bias: x [T][n], bias [n]. */
	int (*bias)(struct device *d, float *x, const float *bias, int T, int n);
	/* out[t] = x[row[t]], both [..][n]. */
	int (*gather)(struct device *d, float *out, const float *x, const int32_t *row, int T,
	    int n);
	/* h += acc / 2^40 */
	int (*finish)(struct device *d, float *h, const int64_t *acc, size_t n);

	/* --- attention --- */
	/* cosine, sine [T][half] of the angles pos[t] * freq[i], times factor: pos [T], freq
	 * [half]. */
	int (*angles)(struct device *d, float *cosine, float *sine, const uint32_t *pos, int T,
	    const double *freq, int half, double factor);

	/* Make the heads that the rows append to the cache and their queries, as struct kv_append
	 * says, and write keys and values at the rows' positions. */
	int (*kv_append)(struct device *d, const struct kv_append *a, const struct kv_rows *rows);

	/* Append the indexer's keys at the rows' positions, and choose what rows see, chosen
	 * [T][topk]: the positions with the best scores, ascending, -1 after the last.  Only the
	 * CPU has it. */
	int (*index)(struct device *d, int32_t *chosen, const struct indexer *x,
	    const struct kv_rows *rows);

	/* out [T][H][value] = attention of query [T][H][key] over positions 0 .. pos of the row's
	 * pages, or the last rows->window of them, or those chosen; max, sum [T][H]: of the scaled
	 * scores, and of exp(score - max). */
	int (*attend)(struct device *d, float *out, float *max, float *sum, const float *query,
	    const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale);

	/* probs [T][H][positions]: the weight that attend used for each position, 0 where the row
	 * does not see it. */
	int (*probs)(struct device *d, float *probs, size_t positions, const float *max,
	    const float *sum, const float *query, const struct kv_rows *rows, int H,
	    const struct kv_shape *kv, float scale);

	/* --- router and experts --- */
	/* scores [T][E], the gate's products, become probabilities; choice [T][E] is what the K
	 * best were chosen by; idx [T][K] ascending, w [T][K] in the same order; bias [E] or
	 * NULL. See stage/route.h. */
	int (*route)(struct device *d, float *scores, float *choice, int32_t *idx, float *w,
	    const float *bias, int T, const struct router *r);

	/* Sort idx, w [T][K] by expert, then row; has [E] or NULL: those that are 0 there are
	 * left out. */
	int (*sort)(struct device *d, const struct expert_pairs *c, const int32_t *idx,
	    const float *w, int T, int K, const unsigned char *has);
	/* c is all T rows for one expert, with weight 1 (the shared experts, a dense layer's
	 * MLP): c->E 1, c->pairs T. */
	int (*all_rows)(struct device *d, const struct expert_pairs *c, int T);

	/* *bad [n] of groups: no contribution is refused. */
	int (*bad_clear)(struct device *d, int32_t *bad, int n);

	/* acc[row[i]] += down(silu(gate x) * up x) * w[i] in fixed point for all pairs i of each
	 * group, x being row row[i] of x [T][D]; acc [T][D]. The groups may run side by side. */
	int (*experts)(struct device *d, int64_t *acc, const float *x, int D,
	    const struct expert_group *g, int n);
	/* that it uses besides, at most */
	size_t (*experts_bytes)(const struct device *d, int D, int width, int pairs);

	/* --- what is queued between record and recorded can be done again: NULL where nothing is
	 * queued --- */
	int (*record)(struct device *d);
	/* allocates; NULL where the recording failed */
	int (*recorded)(struct device *d, struct gpu_graph **graph);
	int (*replay)(struct device *d, struct gpu_graph *graph);
	void (*graph_free)(struct device *d, struct gpu_graph *graph);
};

#define ROUTER_MAX 4096         /* experts that a router may have */
#define BAD_NONE 0x7f7f7f7f     /* in *bad: no contribution was refused */

extern const struct ops ops_cpu, ops_cuda;

/* How rows choose experts, on the CPU: ops->route after the scores of one row are probabilities. */
void cpu_choose(const struct router *r, const float *scores, const float *bias, float *choice,
    int32_t *idx, float *w);

#endif
