/*
 * Products in float32: which kernel does them.
 */
#include "f32.cuh"

/* Up to so many times GEMV_ROWS rows of x are several blocks of gemv: a block of GEMM_ROWS takes as
 * long for one row as for all. */
enum { GEMV_TIMES = 2 };

/* With so many experts for each pair hardly any expert gets two: tiles have one row. */
enum { ALONE = 16 };

static int
matmul(struct gpu *g, const struct product *k)
{
	if (k->T > GEMV_ROWS * GEMV_TIMES || !product_wide(k))
		return product_gemm(g, k);
	return product_gemv(g, k, k->T == 1 ? 1 : GEMV_ROWS);
}

/* Scratch: gate and up of all pairs, then the tiles, at most one a pair. */
static size_t
mlp_scratch(int D, int width, int pairs)
{
	(void)D;
	return (size_t)pairs * (size_t)width * 2 * sizeof(float) + (size_t)pairs * sizeof(struct expert_tile);
}

/* One of the two products of an mlp for all tiles. */
static int
mlp_product(struct gpu *g, struct product *k, const struct mat *like, int matrices, int rows)
{
	k->w = *like;
	k->rows = like->rows;
	k->H = matrices;
	return rows == GEMM_ROWS ? product_gemm(g, k) : product_gemv(g, k, rows);
}

/* Rows of a tile, by how many an expert has on average. */
static int
rows_of_tile(const struct expert_pairs *c)
{
	if (c->pairs == 1 || c->pairs <= c->E / ALONE)
		return 1;
	return c->pairs / GEMV_ROWS <= c->E ? GEMV_ROWS : GEMM_ROWS;
}

static int
mlp(struct gpu *g, int64_t *acc, const float *x, int D, const struct mlp *mlps, const struct mlp *like,
    const struct expert_pairs *c, int32_t *bad, float *each, void *scratch)
{
	const int width = like->gate.rows;
	const ptrdiff_t all = (ptrdiff_t)c->pairs * width;
	float *inner = (float *)scratch;
	struct expert_tile *tiles = (struct expert_tile *)(inner + 2 * all);
	const struct epilogue epilogue = { acc, each, bad, c->row, c->slot, c->w, D };
	struct product up = {}, down = {};
	int rows;

	up.x = x;
	up.ldx = D;
	up.w = like->gate;
	up.out = inner;
	up.ldo = width;
	up.out_step = all;
	up.row = c->row;
	up.mlps = mlps;
	up.tiles = tiles;
	down.x = inner;
	down.ldx = width;
	down.w = like->down;
	down.mlps = mlps;
	down.tiles = tiles;
	down.epilogue = epilogue;
	rows = product_wide(&up) && product_wide(&down) ? rows_of_tile(c) : (int)GEMM_ROWS;
	up.ntiles = down.ntiles = tiles_most(c->E, c->pairs, rows);
	if (tiles_make(g, tiles, c, rows) < 0 || mlp_product(g, &up, &like->gate, 2, rows) < 0 ||
	    silu_mul(g, inner, inner + all, (size_t)all) < 0)
		return -1;
	return mlp_product(g, &down, &like->down, 1, rows);
}

const struct products products_f32 = {matmul, product_gemm_t, mlp, mlp_scratch};
