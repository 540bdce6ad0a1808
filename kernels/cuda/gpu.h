/*
 * The table of functions of the GPU library, libdspipe-cuda.so.  A program loads it only when it is
 * asked for a GPU.  ds-arithmetic(7) says which of its results have the CPU's bits, and how far the
 * others may differ.
 *
 * Pointers to numbers are to device memory unless the contract says host.  Computations and copies
 * are put at the end of the device's stream and are not finished when the function returns; `wait`
 * waits for them.  Functions return 0, or -1 and a message (`error`).  Functions that allocate say
 * so.  The caller passes the scratch memory of a kernel; ..._scratch tells its size in bytes.
 * Strides are in elements; inputs and outputs do not overlap.  A struct gpu belongs to one thread.
 *
 * All arrays of a matrix (struct mat) are in device memory; data and groups are aligned to 256
 * bytes. `prefetch` is ignored.
 *
 * Shapes: T rows, D hidden size, H query heads, E experts, K chosen; of keys and values struct
 * kv_shape.
 */
#ifndef DS_GPU_LIB_H
#define DS_GPU_LIB_H

#include "kernels.h"

#define GPU_VERSION 3           /* of this table: library and program must have the same */
#define GPU_IPC 64              /* bytes of a handle to memory for another process */
#define GPU_NCCL_ID 128
/* const struct gpu_lib *dspipe_gpu(void), the only symbol of the library */
#define GPU_SYMBOL "dspipe_gpu"

struct gpu;                     /* a GPU in use: its streams, its pinned memory */
struct gpu_peer;                /* a connection to another process's GPU */
struct gpu_graph;               /* a recorded sequence of calls */

struct gpu_about {
	char name[128];
	int major, minor;               /* compute capability */
	int processors;
	size_t memory, free;            /* bytes */
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

struct gpu_lib {
	int version;                    /* GPU_VERSION */
	const char *kind;               /* "cuda" or "emulated" */

	/* The message of the last failure on this thread: one line, no full stop. */
	const char *(*error)(void);

	/* --- the device --- */
	int (*count)(int *n);                           /* how many; -1: no driver, or too old a one */
	int (*open)(struct gpu **g, int ordinal);       /* allocates; refuses compute capability below 8.0 */
	void (*close)(struct gpu *g);
	int (*about)(struct gpu *g, struct gpu_about *a);

	/* --- memory --- */
	int (*alloc)(struct gpu *g, void **p, size_t bytes);    /* aligned to 256 bytes, not set */
	void (*free)(struct gpu *g, void *p);
	int (*pin)(struct gpu *g, void **p, size_t bytes);      /* host memory that the device copies by itself */
	void (*unpin)(struct gpu *g, void *p);
	/* On the stream.  Host memory must not change until the copy has happened; it is faster if
	 * pinned. */
	int (*upload)(struct gpu *g, void *to, const void *host, size_t bytes);
	int (*download)(struct gpu *g, void *host, const void *from, size_t bytes);
	int (*copy)(struct gpu *g, void *to, const void *from, size_t bytes);
	int (*fill)(struct gpu *g, void *to, int byte, size_t bytes);
	int (*wait)(struct gpu *g);                             /* for the whole stream */

	/* Points in the stream, 0 .. GPU_MARKS-1: mark sets one, passed waits for it, between
	 * returns the time from one to another; both have passed. */
	int (*mark)(struct gpu *g, int i);
	int (*passed)(struct gpu *g, int i);
	int (*between)(struct gpu *g, int from, int to, double *seconds);

	/* Calls between record and recorded are kept, not run; replay puts them on the stream.
	 * Numbers are read again when they run; pointers, sizes and strides are those of the
	 * recording. */
	int (*record)(struct gpu *g);
	int (*recorded)(struct gpu *g, struct gpu_graph **graph);       /* allocates; NULL if that failed */
	int (*replay)(struct gpu *g, struct gpu_graph *graph);
	void (*graph_free)(struct gpu_graph *graph);

	/* Memory of another process on this host's GPUs.  export makes a handle of memory from
	 * alloc (its beginning), open maps it in the other process, close unmaps it. */
	int (*ipc_export)(struct gpu *g, void *p, unsigned char handle[GPU_IPC]);
	int (*ipc_open)(struct gpu *g, const unsigned char handle[GPU_IPC], void **p);
	void (*ipc_close)(struct gpu *g, void *p);

	/* Connections to another process's GPU by NCCL, whose library is loaded with the first.
	 * One side makes the id and opens it as rank 0, the other as rank 1; each waits for the
	 * other.  send and receive are put on the stream; the first may wait for the other side.
	 * nccl_wait waits until all is sent or received.  While they wait, they call lost(arg), of
	 * nccl_open or nccl_wait, now and then, and fail if it returns 1. */
	int (*nccl_id)(unsigned char id[GPU_NCCL_ID]);
	int (*nccl_open)(struct gpu *g, struct gpu_peer **p, const unsigned char id[GPU_NCCL_ID], int rank,
	    int (*lost)(void *arg), void *arg);
	int (*nccl_send)(struct gpu *g, struct gpu_peer *p, const void *from, size_t bytes);
	int (*nccl_receive)(struct gpu *g, struct gpu_peer *p, void *to, size_t bytes);
	int (*nccl_wait)(struct gpu *g, struct gpu_peer *p, int (*lost)(void *arg), void *arg);
	void (*nccl_close)(struct gpu_peer *p, int abort);      /* abort: at once, also during a transfer */

	/* --- products --- */
	/* out[t][n] = sum over k of x[t][k] w[n][k], for all w->rows: out [T] rows of stride ldo, x
	 * [T][w->cols] of stride ldx. */
	int (*matmul)(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
	    const struct mat *w, enum precision p);

	/* For each head h below H, with `rows` rows of w from first + h * step on: the product; or
	 * transposed, out[t][c] = sum over these rows r of x[t][r] w[r][c].  A head's x begins at x
	 * + h * x_step, its out at out + h * out_step. */
	int (*matmul_heads)(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
	    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H, enum precision p);
	int (*matmul_t_heads)(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
	    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H, enum precision p);

	/* acc[row[i]] += down(silu(gate x) * up x) * w[i] in fixed point for all pairs, where x is
	 * row row[i] of x [T][D], and acc is [T][D].  mlps [E] is in device memory; like (host) is
	 * one of them, and all have its shapes and dtypes.  *bad becomes the least i with a
	 * contribution that fixed_add of kernels.h refuses, if that is less than *bad.  each
	 * [..][D] or NULL: row slot[i] receives what was added. */
	int (*mlp)(struct gpu *g, int64_t *acc, const float *x, int D, const struct mlp *mlps, const struct mlp *like,
	    const struct expert_pairs *c, int32_t *bad, float *each, void *scratch, enum precision p);
	size_t (*mlp_scratch)(int D, int width, int pairs, enum precision p);

	/* --- vectors: the bits of the CPU's functions --- */
	int (*rmsnorm)(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, int n,
	    const float *weight, float eps);            /* out may be x */
	int (*add)(struct gpu *g, float *x, const float *y, size_t n);                  /* x += y */
	/* x[t] += bias, x [T][n] */
	int (*bias)(struct gpu *g, float *x, const float *bias, int T, int n);
	/* out[t] = x[row[t]], both [..][n] */
	int (*gather)(struct gpu *g, float *out, const float *x, const int32_t *row, int T, int n);
	int (*fixed_finish)(struct gpu *g, float *h, const int64_t *acc, size_t n);     /* h += acc / 2^40 */

	/* --- attention over a KV cache --- */
	/* cosine, sine [T][half] of pos [T]: of the angles pos * freq[i], freq [half] in double;
	 * both times factor. */
	int (*angles)(struct gpu *g, float *cosine, float *sine, const uint32_t *pos, int T, const double *freq,
	    int half, double factor);

	/* Make the heads that the rows append and their queries, as struct kv_append says, and
	 * write keys and values at the rows' positions in the cache. */
	int (*kv_append)(struct gpu *g, const struct kv_append *a, const struct kv_rows *rows, enum precision p);

	/* out [T][H][value] = attention of query [T][H][key] over positions 0 .. pos of the row's
	 * pages, or the last rows->window of them; max, sum [T][H]: of the scaled scores, and of
	 * exp(score - max). */
	int (*attend)(struct gpu *g, float *out, float *max, float *sum, const float *query,
	    const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale, void *scratch,
	    enum precision p);
	size_t (*attend_scratch)(const struct gpu *g, int T, int most, int H, const struct kv_shape *kv,
	    enum precision p);

	/* probs [T][H][positions]: the weight that attend used for each position, 0 where the row
	 * does not see it. */
	int (*probs)(struct gpu *g, float *probs, size_t positions, const float *max, const float *sum,
	    const float *query, const struct kv_rows *rows, int H, const struct kv_shape *kv, float scale,
	    enum precision p);

	/* --- the router --- */
	/* scores [T][E] of the gate become those of the router; choice [T][E], idx and w [T][K] are
	 * as in stage/route.h; bias [E] or NULL. */
	int (*route)(struct gpu *g, float *scores, float *choice, int32_t *idx, float *w, const float *bias, int T,
	    const struct router *r);

	/* Sort idx, w [T][K] by expert; has [E] or NULL: experts with 0 there are left out. */
	int (*sort)(struct gpu *g, const struct expert_pairs *c, const int32_t *idx, const float *w, int T, int K,
	    const unsigned char *has);

	/* c becomes all T rows for one expert with weight 1, for shared experts or a dense layer's
	 * MLP: c->E is 1, c->pairs T. */
	int (*all_rows)(struct gpu *g, const struct expert_pairs *c, int T);

	/* --- to compare with --- */
	/* Operations per second (a multiply-add is two) of cuBLASLt's fastest out [n][n] = x w^T.
	 * x and w [n][n] are BF16, or in PRECISION_FP8 E4M3 without scales; n is a multiple of 16.
	 * Allocates, waits, and uses marks 0 and 1. */
	int (*peak)(struct gpu *g, float *out, const void *x, const void *w, int n, enum precision p, double *operations);
};

#define GPU_MARKS 64

#endif
