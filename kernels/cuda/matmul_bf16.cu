/*
 * The products of bf16 on the host's side: which kernel and shape of tiles, and the MLPs of
 * experts. bf16.cuh says how the sums are made.
 */
#include "gemm_bf16.cuh"
#include "gemv_bf16.cuh"

/* Outputs and rows of x that a block has. */
struct shape {
	int outs, rows;
};
static const struct shape GEMV = { 16, GEMV_ROWS }, GEMV_WIDE = { 32, GEMV_ROWS }, GEMM = { 64, 32 }, GEMM_WIDE = { 256, 64 };

/* Wide shapes are for what large checkpoints are stored in. */
static bool
has_wide(const struct mat *w)
{
	return w->dtype == F8_E4M3 || w->dtype == BF16;
}

/* The shape that fits to so many rows of x (an expert's on average) times so many outputs, `copies`
 * times. */
static struct shape
shape_of(const struct gpu *g, bool wide, int rows, int outs, long copies)
{
	const long all = gpu_processors(g), many = (long)(outs / GEMM_WIDE.outs) * ((rows + GEMM_WIDE.rows - 1) / GEMM_WIDE.rows) * copies;

	if (rows <= GEMV_ROWS)
		return wide && outs / GEMV_WIDE.outs * copies >= 4 * all ? GEMV_WIDE : GEMV;
	return wide && rows > GEMM.rows && many >= all && g->shared_most >= gemm_shared<8, 2, 8> ? GEMM_WIDE : GEMM;
}

template <enum dtype D> static int
launch_shape(struct gpu *g, struct shape s, dim3 grid, const struct bf16_args *j)
{
	if (s.rows == GEMV.rows && s.outs == GEMV.outs)
		return launch(g, gemv<D, 1>, grid, GEMV_THREADS, gemv_shared<1>, *j);
	if (s.rows == GEMM.rows)
		return launch(g, gemm<D, 4, 1, 4>, grid, 4 * 32, (gemm_shared<4, 1, 4>), *j);
	if constexpr (D == F8_E4M3 || D == BF16) {
		if (s.rows == GEMV_WIDE.rows)
			return launch(g, gemv<D, 2>, grid, GEMV_THREADS, gemv_shared<2>, *j);
		return launch(g, gemm<D, 8, 2, 8>, grid, 8 * 32, (gemm_shared<8, 2, 8>), *j);
	}
	return gpu_fail("a product of that type has no such shape");
}

static int
gemm_launch_shape(struct gpu *g, struct shape s, int ntiles, int heads, struct bf16_args *j)
{
	const int outs = j->end == END_SILU ? s.outs / 2 : s.outs;
	const dim3 grid((unsigned)((j->rows + outs - 1) / outs), (unsigned)ntiles, (unsigned)heads);

	j->w_slots = row_bytes(j->w.dtype, j->w.cols) % 16 == 0 && j->w.cols % QUANT_GROUP == 0;
	j->x_quads = (uintptr_t)j->x % 16 == 0 && j->ldx % 4 == 0 && j->x_step % 4 == 0 && j->w.cols % 4 == 0;
	return with_dtype(j->w.dtype, [=](auto t) { return launch_shape<decltype(t)::value>(g, s, grid, j); });
}

static int
matmul(struct gpu *g, const struct product *p)
{
	const struct shape s = shape_of(g, has_wide(&p->w), p->T, p->rows, p->H);
	struct bf16_args j = {*p, END_PLAIN, false, false};

	return gemm_launch_shape(g, s, (p->T + s.rows - 1) / s.rows, p->H, &j);
}

/* The inner numbers [pairs][width filled up to 4], then the tiles, at most as many as pairs. */
static size_t
inner_bytes(int width, int pairs)
{
	return ((size_t)pairs * (((size_t)width + 3) / 4 * 4) * sizeof(float) + 255) / 256 * 256;
}

static size_t
mlp_scratch(int, int width, int pairs)
{
	return inner_bytes(width, pairs) + (size_t)pairs * sizeof(struct expert_tile);
}

static int
mlp(struct gpu *g, int64_t *acc, const float *x, int D, const struct mlp *mlps, const struct mlp *like, const struct expert_pairs *c,
    int32_t *bad, float *each, void *scratch)
{
	const int width = like->gate.rows, rows = (c->pairs + c->E - 1) / c->E, used = min(c->E, c->pairs);
	const struct shape s = shape_of(g, has_wide(&like->gate) && has_wide(&like->down), rows, width, used);
	struct expert_tile *tiles = (struct expert_tile *)((char *)scratch + inner_bytes(width, c->pairs));
	const int ntiles = tiles_most(c->E, c->pairs, s.rows);
	struct bf16_args j = {};

	if (like->up.dtype != like->gate.dtype)
		return gpu_fail("gate and up of an expert are of different types");
	if (tiles_make(g, tiles, c, s.rows) < 0)
		return -1;
	j.tiles = tiles, j.mlps = mlps;
	j.epilogue = { acc, each, bad, c->row, c->slot, c->w, D };
	j.end = END_SILU;
	j.w = like->gate, j.rows = width;
	j.x = x, j.ldx = D;
	j.out = (float *)scratch, j.ldo = (width + 3) / 4 * 4;
	if (gemm_launch_shape(g, s, ntiles, 1, &j) < 0)
		return -1;
	j.end = END_ADD;
	j.w = like->down, j.rows = D;
	j.x = j.out, j.ldx = j.ldo;
	return gemm_launch_shape(g, s, ntiles, 1, &j);
}

const struct products products_bf16 = {matmul, matmul_t_bf16, mlp, mlp_scratch};
