/*
 * Products in float32: which kernel does them.
 */
#include "f32.cuh"

/* More rows of x than FEW, up to so many times: rather several blocks of FEW than one of MANY, which takes as long for one
 * row as for all of them. */
enum { FEW_TIMES = 2 };

/* With so many experts for each pair hardly any gets two, and its pieces are of one row. */
enum { ALONE = 16 };

static struct task
heads_of(float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx, ptrdiff_t x_step, int T,
    const struct mat *w, int first, int step, int rows, int H)
{
	struct task k = {};

	k.out = out;
	k.ldo = ldo;
	k.out_step = out_step;
	k.x = x;
	k.ldx = ldx;
	k.x_step = x_step;
	k.T = T;
	k.H = H;
	k.w = *w;
	k.first = first;
	k.step = step;
	k.rows = rows;
	return k;
}

static int
matmul_heads(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx, ptrdiff_t x_step,
    int T, const struct mat *w, int first, int step, int rows, int H)
{
	const struct task k = heads_of(out, ldo, out_step, x, ldx, x_step, T, w, first, step, rows, H);

	if (T > FEW * FEW_TIMES || !task_wide(&k))
		return task_many(g, &k);
	return task_few(g, &k, T == 1 ? 1 : FEW);
}

static int
matmul(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w)
{
	return matmul_heads(g, out, ldo, 0, x, ldx, 0, T, w, 0, 0, w->rows, 1);
}

static int
matmul_t_heads(struct gpu *g, float *out, ptrdiff_t ldo, ptrdiff_t out_step, const float *x, ptrdiff_t ldx, ptrdiff_t x_step,
    int T, const struct mat *w, int first, int step, int rows, int H)
{
	const struct task k = heads_of(out, ldo, out_step, x, ldx, x_step, T, w, first, step, rows, H);

	return task_chains(g, &k);
}

/* Scratch: gate and up of all pairs, then the pieces, of which there are most if each has one row. */
static size_t
mlp_scratch(int D, int width, int pairs)
{
	(void)D;
	return (size_t)pairs * (size_t)width * 2 * sizeof(float) + (size_t)pairs * sizeof(struct piece);
}

/* One of the two products of an mlp for all pieces. */
static int
product(struct gpu *g, struct task *k, const struct mat *like, int matrices, int rows)
{
	k->w = *like;
	k->rows = like->rows;
	k->H = matrices;
	return rows == MANY ? task_many(g, k) : task_few(g, k, rows);
}

/* Rows of a piece, by how many an expert gets on average. */
static int
piece_rows(const struct gpu_chosen *c)
{
	if (c->pairs == 1 || c->pairs <= c->E / ALONE)
		return 1;
	return c->pairs / FEW <= c->E ? FEW : MANY;
}

static int
mlp(struct gpu *g, int64_t *acc, const float *x, int D, const struct gpu_mlp *mlps, const struct gpu_mlp *like,
    const struct gpu_chosen *c, int32_t *bad, float *each, void *scratch)
{
	const int width = like->gate.rows;
	const ptrdiff_t all = (ptrdiff_t)c->pairs * width;
	float *inner = (float *)scratch;
	struct piece *pieces = (struct piece *)(inner + 2 * all);
	const struct sink sink = { acc, each, bad, c->row, c->slot, c->w, D };
	struct task up = {}, down = {};
	int rows;

	up.x = x;
	up.ldx = D;
	up.w = like->gate;
	up.out = inner;
	up.ldo = width;
	up.out_step = all;
	up.row = c->row;
	up.mlps = mlps;
	up.pieces = pieces;
	down.x = inner;
	down.ldx = width;
	down.w = like->down;
	down.mlps = mlps;
	down.pieces = pieces;
	down.sink = sink;
	rows = task_wide(&up) && task_wide(&down) ? piece_rows(c) : (int)MANY;
	up.npieces = down.npieces = pieces_most(c->E, c->pairs, rows);
	if (pieces_make(g, pieces, c, rows) < 0 || product(g, &up, &like->gate, 2, rows) < 0 ||
	    silu_mul(g, inner, inner + all, (size_t)all) < 0)
		return -1;
	return product(g, &down, &like->down, 1, rows);
}

const struct products products_f32 = { matmul, matmul_heads, matmul_t_heads, mlp, mlp_scratch };
