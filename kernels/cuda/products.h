/*
 * What the files of the products share.  products.cu sets the functions of struct gpu_lib, and each
 * calls the function of the precision that it is called with.  The contracts of gpu.h hold here,
 * and no size is 0 (products.cu checks that).
 */
#ifndef DS_PRODUCTS_H
#define DS_PRODUCTS_H

#include "gpu.h"

/* The products of one precision: as in struct gpu_lib, without the last parameter. */
struct products {
	int (*matmul)(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w);
	int (*matmul_heads)(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
	    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H);
	int (*matmul_t_heads)(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
	    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H);
	int (*mlp)(struct gpu *g, int64_t *acc, const float *x, int D, const struct gpu_mlp *mlps, const struct gpu_mlp *like,
	    const struct gpu_chosen *c, int32_t *bad, float *each, void *scratch);
	size_t (*mlp_scratch)(int D, int width, int pairs);
};

extern const struct products products_f32;      /* matmul_f32.cu */
extern const struct products products_bf16;     /* matmul_bf16.cu */
extern const struct products products_fp8;      /* matmul_fp8.cu */

/* Pairs first .. first+n-1, all of one expert: what a block of a grouped gemm computes. */
struct expert_tile {
	int expert, first, n;
};

/*
 * Cut the pairs of each expert into tiles of `rows`, experts ascending; the last tile of an expert
 * may be shorter.  tiles (device memory) has room for tiles_most() of them, and unused ones get n =
 * 0. A grid has that size too, since the host does not know how many rows each expert got.
 */
int tiles_most(int E, int pairs, int rows);
int tiles_make(struct gpu *g, struct expert_tile *tiles, const struct gpu_chosen *c, int rows);

/* gate = silu(gate) up, for all n; n may be 0. */
int silu_mul(struct gpu *g, float *gate, const float *up, size_t n);

/* Epilogue of the down products: add them to acc in fixed point, and copy what was added to `each`
 * unless it is NULL. */
struct epilogue {
	int64_t *acc;                   /* [..][D] */
	float *each;                    /* [..][D] or NULL */
	int32_t *bad;
	const int32_t *row, *slot;      /* [pairs] */
	const float *weight;            /* [pairs] */
	int D;
};

#endif
