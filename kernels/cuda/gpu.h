/*
 * What the GPU library offers: one table of functions, in libdspipe-cuda.so, which a program
 * loads when it is asked for a GPU, and not before (common/device).  ds-arithmetic(7) says which
 * of its results have the CPU's bits, and how far the others may differ.
 *
 * Every pointer to numbers is to device memory unless the contract says host.  What works on
 * numbers is put at the end of the device's stream and has not happened yet when the function
 * returns; `wait` waits for it.  Functions return 0, or -1 and a message (`error`).  None allocates but those that
 * say so; memory that a kernel needs for itself comes from the caller, who asks with ..._scratch how
 * many bytes.  Strides are in elements; inputs and outputs do not overlap.  A struct gpu belongs to one thread.
 *
 * Matrices (struct mat) are in device memory in all their parts, data and groups aligned to 256 bytes, and
 * their rows directly behind one another.  `prefetch` is ignored.
 *
 * Shapes: T rows, D hidden size, H query heads, E experts, K chosen; of keys and values struct kv_shape.
 */
#ifndef DS_GPU_LIB_H
#define DS_GPU_LIB_H

#include "kernels.h"

#define GPU_VERSION 1           /* of this table: library and program must be of one */
#define GPU_IPC 64              /* bytes of a handle by which another process finds memory */
#define GPU_NCCL_ID 128
#define GPU_SYMBOL "dspipe_gpu" /* const struct gpu_lib *dspipe_gpu(void), the one symbol that the library shows */

struct gpu;                     /* a GPU in use: its streams, its pinned memory */
struct gpu_peer;                /* a connection to another process's GPU */
struct gpu_graph;               /* work that was recorded, to be done again */

struct gpu_about {
	char name[128];
	int major, minor;               /* compute capability */
	int processors;
	size_t memory, free;            /* bytes */
};

/* Rows of a batch as attention sees them.  Page lists of the sequences stand one after another in
 * `pages`; row t's begins at list[t].  A page has CACHE_PAGE * gpu_kv_position() bytes. */
struct gpu_rows {
	int n;                          /* T */
	int most;                       /* pages that the longest has; work is laid out for so many */
	const uint32_t *pos;            /* [T] */
	const int32_t *list;            /* [T] */
	void *const *pages;
};

/* Bytes from a key or value of n numbers to the next in a page: F32 in PRECISION_F32, else BF16. */
static inline size_t
gpu_kv_pitch(int n, enum precision p)
{
	return ((size_t)n * (p == PRECISION_F32 ? 4 : 2) + 15) / 16 * 16;
}

/* Bytes of a position in the cache. */
static inline size_t
gpu_kv_position(const struct kv_shape *s, enum precision p)
{
	return (size_t)s->heads * (gpu_kv_pitch(s->key, p) + (s->shared ? 0 : gpu_kv_pitch(s->value, p)));
}

/* What T rows append to the cache, and their queries.  norm, v and query are NULL where not used. */
struct gpu_append {
	struct kv_shape kv;
	float *k;                       /* [T][heads][key]; the last 2 half numbers are rotated in place */
	const float *v;                 /* [T][heads][value]; NULL: shared */
	const float *norm;              /* [value]: RMSNorm of the first `value` numbers of k, in place */
	float eps;                      /* of norm */
	int H, width;                   /* query heads and the numbers of one in q */
	float *q;                       /* [T][H][width]; the last 2 half numbers are rotated in place, */
	float *query;                   /* and copied to the end of each of these, [T][H][key] */
	const float *cosine, *sine;     /* [T][half] */
	int half;
};

struct gpu_mlp {
	struct mat gate, up;            /* [width][D] */
	struct mat down;                /* [D][width] */
};

/* The pairs of a row and an expert it chose, by expert and then by row: expert e's are start[e] .. start[e+1]-1. */
struct gpu_chosen {
	int E, pairs;                   /* pairs: room for so many; start[E] says how many there are */
	int32_t *start;                 /* [E + 1] */
	int32_t *row, *slot;            /* [pairs]; slot: where in idx [T][K] the pair stands */
	float *w;                       /* [pairs] */
};

/* How rows choose experts: see stage/route.h. */
struct gpu_router {
	int E, K, n_group, topk_group;
	int sigmoid;                    /* scores by sigmoid, else by softmax */
	int groups;                     /* 0: the K best of all; 1: groups by their best; 2: by the sum of their two best */
	int norm;                       /* the weights are divided by their sum */
	float factor;
};

struct gpu_lib {
	int version;                    /* GPU_VERSION */
	const char *kind;               /* "cuda", or what stands in for it: "emulated" */

	/* The message of what failed last on this thread: one line, no full stop. */
	const char *(*error)(void);

	/* --- the device --- */
	int (*count)(int *n);                           /* how many there are; -1: no driver, or it does not fit */
	int (*open)(struct gpu **g, int ordinal);       /* allocates; refuses what is below compute capability 8.0 */
	void (*close)(struct gpu *g);
	int (*about)(struct gpu *g, struct gpu_about *a);

	/* --- memory --- */
	int (*alloc)(struct gpu *g, void **p, size_t bytes);    /* aligned to 256 bytes, not set */
	void (*free)(struct gpu *g, void *p);
	int (*pin)(struct gpu *g, void **p, size_t bytes);      /* host memory that the device copies to and from by itself */
	void (*unpin)(struct gpu *g, void *p);
	/* On the stream.  The host's side must stay as it is until the copy has happened; it is faster pinned. */
	int (*upload)(struct gpu *g, void *to, const void *host, size_t bytes);
	int (*download)(struct gpu *g, void *host, const void *from, size_t bytes);
	int (*copy)(struct gpu *g, void *to, const void *from, size_t bytes);
	int (*fill)(struct gpu *g, void *to, int byte, size_t bytes);
	int (*wait)(struct gpu *g);                             /* for all that was put there */

	/* Points in the stream, 0 .. GPU_MARKS-1: mark puts one, passed waits for it, between gives the
	 * time from one to another, both passed. */
	int (*mark)(struct gpu *g, int i);
	int (*passed)(struct gpu *g, int i);
	int (*between)(struct gpu *g, int from, int to, double *seconds);

	/* What is put on the stream between record and recorded is kept, not done; replay puts it all there.  Numbers
	 * are read again when it is replayed; pointers, sizes and strides are those of the recording. */
	int (*record)(struct gpu *g);
	int (*recorded)(struct gpu *g, struct gpu_graph **graph);       /* allocates; NULL where the recording failed */
	int (*replay)(struct gpu *g, struct gpu_graph *graph);
	void (*graph_free)(struct gpu_graph *graph);

	/* Memory of another process on this host's GPUs.  export makes a handle of memory from alloc (its beginning),
	 * open maps it in the other process, close unmaps it. */
	int (*ipc_export)(struct gpu *g, void *p, unsigned char handle[GPU_IPC]);
	int (*ipc_open)(struct gpu *g, const unsigned char handle[GPU_IPC], void **p);
	void (*ipc_close)(struct gpu *g, void *p);

	/* Connections to another process's GPU, by NCCL, whose library is loaded when one is begun.  One side makes the id and opens it as rank 0,
	 * the other as 1; that waits for the other, and so does nccl_wait, until what was sent or received is through.  While they wait they
	 * ask lost(arg) now and then, and fail where it says 1.  send and receive go onto the stream; the first ones may wait for
	 * the other side, and ask the lost of nccl_open. */
	int (*nccl_id)(unsigned char id[GPU_NCCL_ID]);
	int (*nccl_open)(struct gpu *g, struct gpu_peer **p, const unsigned char id[GPU_NCCL_ID], int rank, int (*lost)(void *arg), void *arg);
	int (*nccl_send)(struct gpu *g, struct gpu_peer *p, const void *from, size_t bytes);
	int (*nccl_receive)(struct gpu *g, struct gpu_peer *p, void *to, size_t bytes);
	int (*nccl_wait)(struct gpu *g, struct gpu_peer *p, int (*lost)(void *arg), void *arg);
	void (*nccl_close)(struct gpu_peer *p, int abort);      /* abort: at once, whatever is on its way */

	/* --- products --- */
	/* out[t][n] = sum over k of x[t][k] w[n][k], for all w->rows: out [T] rows of stride ldo, x [T][w->cols] of ldx. */
	int (*matmul)(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
	    const struct mat *w, enum precision p);

	/* For each head h below H, with the `rows` rows of w from first + h * step on: the product, or transposed, out[t][c] = sum over
	 * those rows r of x[t][r] w[r][c].  A head's x begins at x + h * x_step, its out at out + h * out_step. */
	int (*matmul_heads)(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
	    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H, enum precision p);
	int (*matmul_t_heads)(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
	    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H, enum precision p);

	/* acc[row[i]] += down(silu(gate x) * up x) * w[i] in fixed point for all pairs, x being row row[i] of x [T][D]; the mlps are
	 * an array [E] in device memory, and like (host) is one of them: all are of its shapes and dtypes (scales and factors are their own).
	 * *bad becomes the least i whose contribution is refused (kernels.h, fixed_add), if it is less than what *bad
	 * is.  each: NULL, or [..][D]: row slot[i] gets what was added.  acc [T][D]. */
	int (*mlp)(struct gpu *g, int64_t *acc, const float *x, int D, const struct gpu_mlp *mlps, const struct gpu_mlp *like,
	    const struct gpu_chosen *c, int32_t *bad, float *each, void *scratch, enum precision p);
	size_t (*mlp_scratch)(int D, int width, int pairs, enum precision p);

	/* --- vectors: the bits of the CPU's functions --- */
	int (*rmsnorm)(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, int n,
	    const float *weight, float eps);            /* out may be x */
	int (*add)(struct gpu *g, float *x, const float *y, size_t n);                  /* x += y */
	int (*gather)(struct gpu *g, float *out, const float *x, const int32_t *row, int T, int n);     /* out[t] = x[row[t]], both [..][n] */
	int (*fixed_finish)(struct gpu *g, float *h, const int64_t *acc, size_t n);     /* h += acc / 2^40 */

	/* --- attention over a KV cache --- */
	/* cosine, sine [T][half] of pos [T]: angles pos * freq[i], freq [half] in double, both times factor (attention/rope.h). */
	int (*angles)(struct gpu *g, float *cosine, float *sine, const uint32_t *pos, int T, const double *freq, int half, double factor);

	/* Norm and rotate what the rows append, rotate their queries, and write keys and values at
	 * the rows' positions in the cache. */
	int (*kv_append)(struct gpu *g, const struct gpu_append *a, const struct gpu_rows *rows, enum precision p);

	/* out [T][H][value] = attention of query [T][H][key] over positions 0 .. pos of the row's
	 * pages; max, sum [T][H]: of the scaled scores, and of exp(score - max). */
	int (*attend)(struct gpu *g, float *out, float *max, float *sum, const float *query,
	    const struct gpu_rows *rows, int H, const struct kv_shape *kv, float scale, void *scratch,
	    enum precision p);
	size_t (*attend_scratch)(const struct gpu *g, int T, int most, int H, const struct kv_shape *kv,
	    enum precision p);

	/* probs [T][H][positions]: the weight that attend used for each position, 0 after the row's own. */
	int (*probs)(struct gpu *g, float *probs, size_t positions, const float *max, const float *sum,
	    const float *query, const struct gpu_rows *rows, int H, const struct kv_shape *kv, float scale,
	    enum precision p);

	/* --- the router --- */
	/* scores [T][E] of the gate become what the router makes of them; choice [T][E], idx and w [T][K] as route_choose
	 * writes them; bias [E] or NULL. */
	int (*route)(struct gpu *g, float *scores, float *choice, int32_t *idx, float *w, const float *bias, int T,
	    const struct gpu_router *r);

	/* Sort idx, w [T][K] by expert; has [E] or NULL: those that are 0 there are left out. */
	int (*sort)(struct gpu *g, const struct gpu_chosen *c, const int32_t *idx, const float *w, int T, int K, const unsigned char *has);

	/* c is all T rows for one expert, with weight 1 (the shared experts, a dense layer's MLP): c->E 1, c->pairs T. */
	int (*all_rows)(struct gpu *g, const struct gpu_chosen *c, int T);

	/* --- to compare with --- */
	/* Operations per second, two for a multiply-add, of cuBLASLt's fastest out [n][n] = x w^T, x and w [n][n] of BF16, or in
	 * PRECISION_FP8 of E4M3 without scales; n is a multiple of 16.  Allocates, waits, and uses marks 0 and 1. */
	int (*peak)(struct gpu *g, float *out, const void *x, const void *w, int n, enum precision p, double *operations);
};

#define GPU_MARKS 64

#endif
