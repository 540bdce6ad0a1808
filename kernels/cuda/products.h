/*
 * What the files of the products share.  products.cu sets the functions of struct gpu_lib, and each
 * calls the function of the precision that it is called with.  The contracts of gpu.h hold here,
 * and no size is 0 (products.cu checks that).
 */
#ifndef DS_PRODUCTS_H
#define DS_PRODUCTS_H

#include "gpu.h"

struct product;

/* The products of one precision.  matmul and matmul_t compute all heads of p; mlp and mlp_scratch
 * are as in struct gpu_lib. */
struct products {
	int (*matmul)(struct gpu *g, const struct product *p);
	int (*matmul_t)(struct gpu *g, const struct product *p);        /* NULL in fp8 */
	int (*mlp)(struct gpu *g, int64_t *acc, const float *x, int D, const struct mlp *mlps,
	    const struct mlp *like, const struct expert_pairs *c, int32_t *bad, float *each, void *scratch);
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
int tiles_make(struct gpu *g, struct expert_tile *tiles, const struct expert_pairs *c, int rows);

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

/*
 * tiles NULL: the products of heads.  Head h has `rows` rows of w from first + h * step on, x + h *
 * x_step and out + h * out_step, all T rows. Else, for each tile, products with the matrices of its
 * expert.  With row: gate and up of rows row[i] of x.  row NULL: down of rows i of x into the
 * epilogue.
 */
struct product {
	float *out;
	ptrdiff_t ldo, out_step;
	const float *x;
	ptrdiff_t ldx, x_step;
	int T, H;
	struct mat w;                   /* with tiles: one like theirs */
	int first, step, rows;
	const struct expert_tile *tiles;
	int ntiles;
	const struct mlp *mlps;
	const int32_t *row;
	struct epilogue epilogue;
};

/* f called with a type whose `value` is the dtype t, so that it is known to the compiler. */
template <int T> struct dtype_constant {
	static constexpr enum dtype value = (enum dtype)T;
};

template <class F> static inline auto
with_dtype(enum dtype t, F f)
{
	switch (t) {
	case F32:
		return f(dtype_constant<F32>());
	case BF16:
		return f(dtype_constant<BF16>());
	case F16:
		return f(dtype_constant<F16>());
	case Q8:
		return f(dtype_constant<Q8>());
	case Q4:
		return f(dtype_constant<Q4>());
	default:
		return f(dtype_constant<F8_E4M3>());
	}
}

#endif
