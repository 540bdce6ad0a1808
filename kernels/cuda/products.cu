/*
 * The products of the table: each calls that of its precision.
 */
#include "launch.cuh"
#include "lt.h"
#include "table.h"
#include "products.h"

static const struct products *
of(enum precision p)
{
	static const struct products *const all[PRECISIONS] = {&products_f32, &products_bf16, &products_fp8};

	return all[p];
}

/* Products of heads are bf16 in fp8 too: that would cost attention its accuracy, for little. */
static const struct products *
of_heads(enum precision p)
{
	return of(p == PRECISION_FP8 ? PRECISION_BF16 : p);
}

static int
gpu_matmul(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, enum precision p)
{
	const struct product k = {out, ldo, 0, x, ldx, 0, T, 1, *w, 0, 0, w->rows, NULL, 0, NULL, NULL, {}};

	if (T == 0 || w->rows == 0)
		return 0;
	return lt_supports(g, w, p) ? lt_matmul(g, out, ldo, x, ldx, T, w, p) : of(p)->matmul(g, &k);
}

static int
gpu_matmul_heads(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H, enum precision p)
{
	const struct product k = {out, ldo, out_step, x, ldx, x_step, T, H, *w, first, step, rows, NULL, 0, NULL, NULL, {}};

	return T == 0 || rows == 0 || H == 0 ? 0 : of_heads(p)->matmul(g, &k);
}

static int
gpu_matmul_t_heads(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx,
    ptrdiff_t x_step, int T, const struct mat *w, int first, int step, int rows, int H, enum precision p)
{
	const struct product k = {out, ldo, out_step, x, ldx, x_step, T, H, *w, first, step, rows, NULL, 0, NULL, NULL, {}};

	return T == 0 || w->cols == 0 || H == 0 ? 0 : of_heads(p)->matmul_t(g, &k);
}

static int
gpu_mlp(struct gpu *g, int64_t *acc, const float *x, int D, const struct mlp *mlps, const struct mlp *like,
    const struct expert_pairs *c, int32_t *bad, float *each, void *scratch, enum precision p)
{
	return c->pairs == 0 ? 0 : of(p)->mlp(g, acc, x, D, mlps, like, c, bad, each, scratch);
}

static size_t
gpu_mlp_scratch(int D, int width, int pairs, enum precision p)
{
	return of(p)->mlp_scratch(D, width, pairs);
}

void
products_fill(struct gpu_lib *l)
{
	l->matmul = gpu_matmul;
	l->matmul_heads = gpu_matmul_heads;
	l->matmul_t_heads = gpu_matmul_t_heads;
	l->mlp = gpu_mlp;
	l->mlp_scratch = gpu_mlp_scratch;
}
