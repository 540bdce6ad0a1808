/*
 * The kernels: one table of functions, filled in by instruction set.
 *
 * ds-arithmetic(7) is the arithmetic contract: for every function here, the one order of IEEE
 * operations that all instruction sets follow, so that each gives the same bits.  cpu/ *_ref.c is
 * that contract in plain C.
 *
 * Kernels allocate nothing, keep no state, and may be called from any thread.  Strides are in
 * elements.  Unless a function says otherwise, pointers need only the alignment of their type,
 * inputs and outputs do not overlap, and no byte outside the stated shapes is read or written.  A
 * result that is not a number is written as the bits 0x7fc00000.
 *
 * Shapes: T rows, K and N the sides of a matrix, D hidden size, E experts.
 */
#ifndef DS_KERNELS_H
#define DS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __FAST_MATH__
#error "-ffast-math changes the order of operations, and with it the results: leave it out of CFLAGS"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights and frames are little-endian, and are used as they are: dspipe needs such a machine"
#endif

/* The block types of GGUF: X(name, its number in GGUF, columns and bytes of a block). */
#define EACH_BLOCK_TYPE(X) \
	X(Q8_0, 8, 32, 34) X(Q4_0, 2, 32, 18) X(Q4_1, 3, 32, 20) X(Q5_0, 6, 32, 22) \
	X(Q5_1, 7, 32, 24) X(IQ4_NL, 20, 32, 18) X(MXFP4, 39, 32, 17) X(Q2_K, 10, 256, 84) \
	X(Q3_K, 11, 256, 110) \
	X(Q4_K, 12, 256, 144) X(Q5_K, 13, 256, 176) X(Q6_K, 14, 256, 210) X(IQ4_XS, 23, 256, 136) \
	X(IQ2_XXS, 16, 256, 66) X(IQ2_XS, 17, 256, 74) X(IQ2_S, 22, 256, 82) \
	X(IQ3_XXS, 18, 256, 98) \
	X(IQ3_S, 21, 256, 110) X(IQ1_S, 19, 256, 50) X(IQ1_M, 29, 256, 56) X(TQ1_0, 34, 256, 54) \
	X(TQ2_0, 35, 256, 66)

/* What follows DTYPES are kinds of matrices only; no tensor of safetensors or of a frame has such a
 * dtype. */
#define DTYPE_VALUE(name, type, cols, bytes) name,
enum dtype { F32, BF16, F16, F8_E4M3, I32, I64, U8, DTYPES, Q8 = DTYPES, Q4,
	EACH_BLOCK_TYPE(DTYPE_VALUE) DTYPES_ALL };
#undef DTYPE_VALUE

size_t dtype_size(enum dtype t);                /* bytes of an element; 0: several share bytes */
size_t dtype_row(enum dtype t, int cols);       /* bytes of a matrix's row */
int dtype_cols(enum dtype t);                   /* what the columns of a matrix are a multiple of */
const char *dtype_name(enum dtype t);           /* as in safetensors or GGUF: "BF16", "Q4_K" */
int dtype_parse(const char *name, size_t len);  /* an enum dtype below DTYPES, or -1 */

/*
 * A weight matrix as the checkpoint stores it, row-major [rows][cols] without gaps: element (i, j)
 * is
 *	data[i * cols + j] * scale[(row0 + i) / 128 * scale_cols + j / 128]
 * scale is for F8_E4M3 only, and NULL otherwise; an F8_E4M3 matrix without scales has scale 1.
 * row0 is the first row of this matrix in the one that its scales belong to, so a slice of rows
 * keeps them.
 *
 * In Q8 and Q4 element (i, j) is code(i, j) * (groups[i * G + j / 16] * factor), G = ceil(cols /
 * 16), groups in E4M3.  Q8: the code is the signed byte data[i * cols + j].  Q4: a row has 16 bytes
 * for each 32 columns; the low halves of the bytes are columns 0..15, the high ones 16..31, and the
 * code is quant_levels[half].  What a row of Q4 has after its last column is ignored.
 *
 * In a block type of GGUF a row is cols / dtype_cols(dtype) blocks without gaps, of any alignment.
 * An element is the float32 that ds-arithmetic(7) defines; there is no scale beside the blocks.
 *
 * A GGUF file stores two kinds of matrices in another order than the model has; both are 0
 * elsewhere:
 * - zipped, of q and k of its llama architecture: the rows of a head of `zipped` rows stand in
 *   pairs.  With half = zipped / 2, the model's rows h * zipped + i and h * zipped + half + i, i <
 *   half, are rows h * zipped + 2 i and h * zipped + 2 i + 1 of data.  matmul multiplies the rows of
 *   data, and kv_append sorts its outputs (struct kv_append); row() takes the model's row.
 * - turned, of the keys' half of MLA's kv_b: each head of `turned` rows is stored transposed.
 *   Element (h * turned + i, j) is element i of row h * cols + j of data, whose rows have `turned`
 *   columns of dtype.  matmul_t of the rows of one head and row() read it, with the bits of the
 *   matrix in order; matmul does not.  from and n of mat_rows() are multiples of turned.
 */
struct mat {
	const void *data;
	const float *scale;             /* [ceil((row0+rows)/128)][scale_cols], or NULL */
	int rows, cols, row0, scale_cols;
	enum dtype dtype;               /* F32, BF16, F16, F8_E4M3, Q8, Q4 or a block type */
	float factor;                   /* Q8, Q4: a power of two, QUANT_FACTOR_MIN..QUANT_FACTOR_MAX, or 0 */
	const unsigned char *groups;    /* Q8, Q4: [rows][ceil(cols/16)], NULL otherwise */
	int zipped, turned;             /* rows of a head; 0: in order */
	const void *prefetch;           /* not NULL: the matrix is in a cache, and a product may */
	size_t prefetch_bytes;          /* prefetch so many bytes of what is read next from here */
};

#define FP8_BLOCK 128                   /* side of the squares of F8_E4M3 that share a scale */
#define QUANT_GROUP 16                  /* columns that share a scale in Q8 and Q4 */
#define QUANT_FACTOR_MIN 0x1p-100f
#define QUANT_FACTOR_MAX 0x1p113f

/* The codes of Q4: those of the least squared error over groups of 16 with their best scale, of
 * weights of tiny-r1 and of normal and Student's t distributions (tests/bench/README.md). */
#define QUANT_LEVELS -127, -102, -81, -64, -48, -34, -21, -9, 2, 13, 24, 36, 49, 64, 83, 110
extern const signed char quant_levels[16];

/* FP8 blocks along a side of n; the last may be cut. */
static inline size_t
fp8_blocks(size_t n)
{
	return (n + FP8_BLOCK - 1) / FP8_BLOCK;
}

/* Rows from .. from+n-1 of w. */
struct mat mat_rows(const struct mat *w, int from, int n);

#define CACHE_PAGE 64                   /* positions of a page of the KV cache */

/*
 * What a position leaves in the KV cache: `heads` keys of `key` numbers, each with a value of
 * `value` numbers.  With `shared` a value is the first `value` numbers of its key and is not stored
 * again: MLA is {1, R + rope, R, 1}.  Grouped-query attention of G key heads is {G, d, d, 0}.
 *
 * Of H query heads, a multiple of `heads`, query head h reads key head h / (H / heads).
 *
 * A page is, for each key head in turn, its keys [CACHE_PAGE][key] and then, unless shared, its
 * values [CACHE_PAGE][value].  Key head g begins at element
 *	g * CACHE_PAGE * kv_numbers
 * so a head's keys and its values are plain matrices.  A GPU rounds the stride of both up to 16
 * bytes (gpu.h).
 */
struct kv_shape {
	int heads, key, value, shared;
};

/* What a key head stores of a position: its key and, unless shared, its value. */
static inline int
kv_numbers(const struct kv_shape *s)
{
	return s->key + (s->shared ? 0 : s->value);
}

/* --- what the functions over whole batches take, on the CPU (common/device) and on a GPU (cuda/gpu.h) --- */

/* Rows of a batch as attention sees them.  Page lists of the sequences stand one after another in
 * `pages`; row t's begins at list[t].  A page has CACHE_PAGE * the bytes of a position. */
struct kv_rows {
	int n;                          /* T */
	int most;                       /* pages of the longest row, or more */
	const uint32_t *pos;            /* [T] */
	const int32_t *list;            /* [T] */
	void *const *pages;
	enum dtype dtype;               /* of the numbers in pages, on the CPU: F32, or BF16 as */
	                                /* factors of bf16 are; on a GPU the precision decides */
	int window;                     /* how many last positions a row sees; 0: all */
	/* [T][topk], or NULL: row t with pos[t] >= topk sees its topk positions here, ascending. */
	const int32_t *chosen;
	int topk;
};

/* What T rows append to the cache, and their queries: heads of k, v and q, all changed in place.
 * In this order, where they are given: zipped, biases, norms, the rotation of the last 2 half
 * numbers of k and q.  What is not used is NULL. */
struct kv_append {
	struct kv_shape kv;
	float *k;                       /* [T][heads][key] */
	float *v;                       /* [T][heads][value]; NULL: shared */
	const float *k_bias, *v_bias;   /* [heads][key], [heads][value] */
	const float *norm;              /* [value]: RMSNorm of the first `value` numbers of k */
	int H, width;                   /* query heads and the numbers of one in q */
	float *q;                       /* [T][H][width] */
	const float *q_bias, *q_norm;   /* [H][width]; [width]: RMSNorm of a head */
	float *query;                   /* [T][H][key]: each ends in the rotated numbers of q */
	float eps;                      /* of norms */
	const float *cosine, *sine;     /* [T][half] */
	int half;
	int halves;                     /* pairs are (x[i], x[half + i]), else (x[2i], x[2i+1]) */
	int zipped;                     /* sort heads of k and q: x[2i] becomes x[i], and x[2i+1] */
	                                /* x[n/2 + i] of all n (struct mat) */
};

/*
 * DeepSeek-V3.2's indexer over T rows: each has a query for each of `heads` heads and appends one
 * key to the cache.  A page's keys are [CACHE_PAGE][width], after what attention stores there.
 */
struct indexer {
	int heads, width, topk;
	ptrdiff_t at;                   /* where the keys begin in a page, in numbers */
	float *k;                       /* [T][width]: normed, and rotated as q, in place */
	const float *norm, *bias;       /* [width] of the keys' LayerNorm */
	float eps;
	float *q;                       /* [T][heads][width]: its first 2 half numbers are rotated */
	float *weight;                  /* [T][heads]: multiplied by scale in place */
	float scale;
	const float *cosine, *sine;     /* [T][half] */
	int half;
};

/* An expert, the shared experts or a dense MLP: down(silu(gate x) * up x). */
struct mlp {
	struct mat gate, up;            /* [width][D] */
	struct mat down;                /* [D][width] */
};

/* Pairs of a row and an expert that it chose, by expert, then by row: those of e are start[e] ..
 * start[e+1]-1. */
struct expert_pairs {
	int E, pairs;                   /* pairs: room; start[E] is their number */
	int32_t *start;                 /* [E + 1] */
	int32_t *row, *slot;            /* [pairs]; slot: the index of the pair in idx [T][K] */
	float *w;                       /* [pairs] */
};

/* How rows choose experts: see stage/route.h. */
struct router {
	int E, K, n_group, topk_group;
	int sigmoid;                    /* scores by sigmoid, else by softmax */
	int groups;                     /* 0: none; 1: by their best expert; 2: by the sum of their two best */
	int norm;                       /* the weights are divided by their sum */
	float factor;
};

/* The factors of products: as they are; both as BF16; x as F8_E4M3 too where the weights are, else
 * as BF16 (only on GPUs); x as integers of 8 bits where the weights are integers times a scale,
 * else as it is (only on CPUs).  Sums are float32.
 * X(name, text, what stands before it in PRECISION_WORDS). */
#define EACH_PRECISION(X) \
	X(F32, "f32", "") X(BF16, "bf16", ", ") X(FP8, "fp8", ", ") X(I8, "i8", " or ")

#define PRECISION_VALUE(name, text, before) PRECISION_##name,
enum precision { EACH_PRECISION(PRECISION_VALUE) PRECISIONS };
#undef PRECISION_VALUE

#define PRECISION_WORD(name, text, before) before text
#define PRECISION_WORDS EACH_PRECISION(PRECISION_WORD)  /* "f32, ... or i8" */

const char *precision_name(enum precision p);   /* "f32" ... */
int precision_parse(const char *name);          /* an enum precision, or -1 */
int precision_on(enum precision p, int gpu);    /* GPUs have it, or with 0 CPUs */

/* The numbers in KV caches on the CPU: F32 or BF16.  By default F32 where products take them as
 * they are, in f32 and i8.  In the others BF16: their products round factors to BF16 anyway, so
 * either type gives the same bits. */
const char *cache_type_name(enum dtype t);      /* "f32", "bf16" */
int cache_type_parse(const char *name);         /* F32, BF16, or -1 */
enum dtype cache_type_default(enum precision p);

/* What results depend on: "bf16", "f32", "f32, cache bf16". */
const char *precision_text(enum precision p, enum dtype cache_type);

struct kernels {
	const char *name;               /* of its instruction set, as kernels_set says */
	enum precision precision;       /* of matmul and matmul_t; all else has one.  In i8,
	                                 * matmul_t is that of f32 */

	/* out[t][n] = sum over k of x[t][k] w[n][k], for t < T and n0 <= n < n1:
	 * out is [T] rows of stride ldo, indexed by the same n; x is [T][w->cols],
	 * stride ldx.  The order of summation does not depend on T, n0, n1. */
	void (*matmul)(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx,
	    int T, const struct mat *w, int n0, int n1);

	/* The transposed product: out[t][c] = sum over r of x[t][r] w[r][c], for
	 * c0 <= c < c1; x is [T][w->rows].  One chain of additions over r. */
	void (*matmul_t)(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx,
	    int T, const struct mat *w, int c0, int c1);

	/* out[i] = row `row` of w as float32, scales applied; out [w->cols]. */
	void (*row)(float *out, const struct mat *w, int row);

	/* The row w [n] of finite numbers in Q8 or Q4: codes has dtype_row(t, n) bytes, groups
	 * ceil(n / 16).  Of a few scales near the largest magnitude, each group has the one with
	 * the least squared error.  factor is quant_factor(the largest |w| of the matrix), and
	 * that |w| is at most 2^126. */
	void (*quantize)(unsigned char *codes, unsigned char *groups, const float *w, int n,
	    float factor, enum dtype t);

	/* RMSNorm (Zhang and Sennrich 2019): out[i] = x[i] / sqrt(mean(x^2) + eps)
	 * * weight[i]; out may be x. */
	void (*rmsnorm)(float *out, const float *x, const float *weight, int n, float eps);

	/* LayerNorm (Ba and others 2016): out[i] = (x[i] - mean(x)) / sqrt(var(x) + eps) *
	 * weight[i] + bias[i]; out may be x. */
	void (*layernorm)(float *out, const float *x, const float *weight, const float *bias, int n,
	    float eps);

	/* The scores of DeepSeek-V3.2's indexer: out[i] = sum over h of weight[h] max(p[h][i], 0),
	 * p [H][n] of stride ldp, weight [H], out [n]. */
	void (*index_scores)(float *out, const float *p, ptrdiff_t ldp, const float *weight, int H,
	    int n);

	/* Rotate the pairs (x[2i], x[2i+1]) by the angle whose cosine and sine are
	 * given, in place: x [2 * half]. */
	void (*rope)(float *x, const float *cosine, const float *sine, int half);

	/* The same with the pairs (x[i], x[half + i]). */
	void (*rope_half)(float *x, const float *cosine, const float *sine, int half);

	/* A block of attention: p[i] = exp(scale * p[i] - m) with m the largest
	 * scale * p[i]; *max = m, *sum = the sum of the new p. */
	void (*softmax_block)(float *p, int n, float scale, float *max, float *sum);

	/* Join a block's output to those before it (Milakov and Gimelshein 2018):
	 * with m = max(*max, bmax), a = exp(*max - m), b = exp(bmax - m):
	 * o = a o + b bo [n], *sum = a *sum + b bsum, *max = m.
	 * The first block is joined to o = 0, *sum = 0, *max = -inf. */
	void (*softmax_join)(float *o, float *max, float *sum, const float *bo,
	    float bmax, float bsum, int n);

	void (*scale)(float *x, float factor, int n);                   /* x *= factor */
	void (*add)(float *x, const float *y, int n);                   /* x += y */
	void (*silu_mul)(float *gate, const float *up, int n);          /* gate = silu(gate) up */
	void (*sigmoid)(float *x, int n);                               /* 1 / (1 + exp(-x)) */
	void (*softmax)(float *x, int n);                               /* over all of x */
	void (*exp)(float *x, int n);

	/* The sum of fixed_exp(x[i] - m), added in the order of i. */
	double (*fixed_exp_sum)(const float *x, int n, double m);

	/* acc[i] += y[i] * weight in fixed point: 40 fractional bits, rounded to
	 * nearest even.  0, or -1 if a contribution is not finite or not below
	 * 2^18 in magnitude; acc must not be used then. */
	int (*fixed_add)(int64_t *acc, const float *y, float weight, int n);

	/* h[i] += acc[i] / 2^40, added in double, rounded once to float. */
	void (*fixed_finish)(float *h, const int64_t *acc, int n);

	/*
	 * Backward passes.  grad_outer and grad_columns add to the gradient of a weight what T rows
	 * of a page contribute: a chain over the rows, then fixed point as in fixed_add.  0, or -1
	 * if a contribution is not finite or not below 2^18 in magnitude, or if a sum leaves -2^62
	 * .. 2^62-1; acc must not be used then.
	 */

	/* acc[n][k] += sum over t of dy[t][n] x[t][k]: acc [N] rows of stride lda, dy [T][N], x
	 * [T][K], T <= GRAD_ROWS. */
	int (*grad_outer)(int64_t *acc, ptrdiff_t lda, const float *dy, ptrdiff_t ldy, int N,
	    const float *x, ptrdiff_t ldx, int K, int T);

	/* acc[i] += sum over t of dy[t][i] z[t][i], i < n; z NULL: of dy[t][i]. */
	int (*grad_columns)(int64_t *acc, const float *dy, ptrdiff_t ldy, const float *z,
	    ptrdiff_t ldz, int T, int n);

	/* The gradient dx of x from dy, the gradient of rmsnorm(x, weight); and xhat[i] = x[i] /
	 * sqrt(mean(x^2) + eps), by which dy is the gradient of the weight.  xhat may be x, dx may
	 * be dy or x. */
	void (*rmsnorm_back)(float *dx, float *xhat, const float *x, const float *weight,
	    const float *dy, int n, float eps);

	/* The gradient of softmax's input, times scale, from its output p and the gradient dp of p:
	 * dp[i] = p[i] (dp[i] - sum over j of p[j] dp[j]) scale. */
	void (*softmax_back)(float *dp, const float *p, int n, float scale);

	/* With g = gate, u = up and da = a, the gradient of silu(g) u, as they come: gate and up
	 * become the gradients of g and u, a becomes silu_mul(g, u). */
	void (*silu_back)(float *gate, float *up, float *a, int n);
};

#define GRAD_ROWS CACHE_PAGE            /* rows of a page in grad_outer, at most */
#define FIXED_TERMS_MAX 31      /* contributions below 2^18 that cannot overflow 2^63 */

/* The name of instruction set i of this architecture, "ref" first and each faster than the one
 * before; NULL where there are no more.  A machine may lack those from one on. */
const char *kernels_set(int i);

/* The fastest table that this machine runs, of PRECISION_F32, but none above the set that
 * DS_KERNELS names; NULL if DS_KERNELS is anything else. */
const struct kernels *kernels_choose(void);

/* The table of that name, or NULL if this machine does not run it. */
const struct kernels *kernels_named(const char *name);

/* The table of k's name with products of precision p; all else is the same.  In that of
 * PRECISION_FP8 matmul and matmul_t are NULL. */
const struct kernels *kernels_precision(const struct kernels *k, enum precision p);

/* The factor of a matrix in Q8 or Q4 with largest magnitude `most`, a finite number. */
float quant_factor(float most);

/* The project's own double-precision functions, the same bits everywhere:
 * fixed sequences of IEEE operations within 2 ulp.  |x| < 2^30 for sin and
 * cos; log for finite positive x; exp for |x| < 700. */
double fixed_sin(double x);
double fixed_cos(double x);
double fixed_log(double x);
double fixed_exp(double x);

#endif
