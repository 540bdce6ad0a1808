/*
 * Many rows of x, behind matmul_lanes.h: NC outputs of TC rows at a time.  KC columns of NR rows of w become
 * a panel of float32 in the nearest cache, past which MR rows of x at a time go, their lanes in registers.
 * Panels and x are stored lanes after lanes, the rows of each side by side: [KC / 16][NR][16].
 */
enum {
	KC = 1024,              /* columns of a panel, whole blocks of FP8 */
	NC = 48,                /* outputs whose lanes wait between panels */
	TC = 64                 /* rows of x for which a panel is made */
};
_Static_assert(SUMS % ROWS == 0 && NC % SUMS == 0 && NC % NR == 0 && KC % BLOCK == 0, "blocks fit into one another");

/* Columns c .. c+cols-1 of a row as float32, behind them zeros up to n, a multiple of 16; each 16 of them
 * are `step` behind those before. */
ALWAYS void
row_of(float *to, ptrdiff_t step, const unsigned char *row, int c, int cols, int n, enum dtype t)
{
	bytes seen = b_zero();
	int k = 0;

	for (int i = 0; t == F8_E4M3 && i < cols; i += 64)
		seen = b_see(seen, row + c + i, cols - i);
	for (; !b_nan(seen) && k + 2 * W <= cols; k += 2 * W) {
		reg a, b, f = r_set(256);

		weights2(&a, &b, row, c + k, t);
		r_store(to + k / LANES * step, t == F8_E4M3 ? r_mul(a, f) : a);
		r_store(REGS == 1 ? to + (k / LANES + 1) * step : to + k / LANES * step + W, t == F8_E4M3 ? r_mul(b, f) : b);
	}
	for (; k < n; k += LANES)
		UNROLL
		for (int j = 0; j < LANES; j += W)
			r_store(to + k / LANES * step + j, weights_n(row, c + k + j, cols - k - j, t));
}

/* Rows r .. r+rows-1 of w, none beyond `last`, and columns c .. c+cols-1, each row `pitch` behind the last. */
ALWAYS void
rows_of(float *to, ptrdiff_t pitch, ptrdiff_t step, const struct mat *w, int r, int last, int rows, int c, int cols, int n,
    enum dtype t)
{
	for (int i = 0; i < rows; i++)
		row_of(to + i * pitch, step, (const unsigned char *)w->data +
		    (size_t)(r + i < last ? r + i : last) * (size_t)w->cols * size_of(t), c, cols, n, t);
}

static void
rows_fill(float *to, ptrdiff_t pitch, ptrdiff_t step, const struct mat *w, int r, int last, int rows, int c, int cols, int n)
{
	switch (w->dtype) {
	case F32:
		rows_of(to, pitch, step, w, r, last, rows, c, cols, n, F32);
		break;
	case BF16:
		rows_of(to, pitch, step, w, r, last, rows, c, cols, n, BF16);
		break;
	case F16:
		rows_of(to, pitch, step, w, r, last, rows, c, cols, n, F16);
		break;
	case Q8:
		quant_fill(to, pitch, step, w, r, last, rows, c, cols, n, Q8);
		break;
	case Q4:
		quant_fill(to, pitch, step, w, r, last, rows, c, cols, n, Q4);
		break;
	default:
		rows_of(to, pitch, step, w, r, last, rows, c, cols, n, F8_E4M3);
	}
}

/* The size of the next group of rows of x: as few groups as MR allows, of like size. */
static int
group_of(int left)
{
	int groups = (left + MR - 1) / MR;

	return (left + groups - 1) / groups;
}

/* T rows of x, group after group: [kc / 16][rows of the group][16], zeros behind their columns. */
static void
x_fill(float *to, const float *x, ptrdiff_t ldx, int T, int cols, int kc)
{
	for (int left = T, n; left > 0; left -= n, x += n * ldx, to += n * kc) {
		n = group_of(left);
		for (int m = 0; m < n; m++)
			row_of(to + m * LANES, n * LANES, (const unsigned char *)(x + m * ldx), 0, cols, kc, F32);
	}
}

/* The lanes of mr rows of x with a panel over kc columns.  Without scale [blocks][NR] they begin with those
 * in sum, or at 0 where they are the first; with it, each block of columns has lanes of its own, which are
 * added to sum. */
ALWAYS void
block(reg sum[][REGS], const float *x, const float *w, int kc, const float *scale, int first, int mr, int j)
{
	int step = scale ? BLOCK : kc;

	for (int c = 0; c < kc; c += step) {
		int end = kc - c < step ? kc - c : step;
		reg s[MR][NR], a[MR], b;

		UNROLL
		for (int m = 0; m < mr; m++)
			UNROLL
			for (int n = 0; n < NR; n++)
				s[m][n] = scale || first ? r_zero() : sum[m * NC + n][j];
		for (int k = 0; k < end; k += LANES, x += mr * LANES, w += NR * LANES) {
			UNROLL
			for (int m = 0; m < mr; m++) {
				a[m] = r_load(x + m * LANES + j * W);
				KEEP(a[m]);
			}
			UNROLL
			for (int n = 0; n < NR; n++) {
				b = r_load(w + n * LANES + j * W);
				KEEP(b);
				UNROLL
				for (int m = 0; m < mr; m++)
					s[m][n] = r_fma(b, a[m], s[m][n]);
			}
		}
		UNROLL
		for (int n = 0; n < NR; n++)
			UNROLL
			for (int m = 0; m < mr; m++)
				sum[m * NC + n][j] = !scale ? s[m][n] : r_fma(r_set(scale[c / BLOCK * NR + n]), s[m][n],
				    first && c == 0 ? r_zero() : sum[m * NC + n][j]);
	}
}

/* T rows of x, in groups that differ by one row at most, with a panel. */
static void
blocks(reg sum[][REGS], int T, const float *x, const float *w, int kc, const float *scale, int first)
{
	for (int left = T, n; left > 0; left -= n, sum += n * NC, x += n * kc) {
		n = group_of(left);
		for (int j = 0; j < REGS; j++)
			switch (n) {
#define BLOCK_OF(mr) case (mr): \
				if (scale) \
					block(sum, x, w, kc, scale, first, (mr), j); \
				else \
					block(sum, x, w, kc, NULL, first, (mr), j); \
				break
			EACH_MR(BLOCK_OF);
			}
	}
}

/* T <= TC rows of x, the outputs n .. n1-1, at most NC. */
static void
many_outputs(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n, int n1)
{
	float xs[TC * KC] __attribute__((aligned(64))), panel[NR * KC] __attribute__((aligned(64)));
	float scale[NR * KC / BLOCK];
	reg sum[TC * NC][REGS];
	int f8 = w->dtype == F8_E4M3;

	for (int k = 0; k < w->cols; k += KC) {
		int cols = w->cols - k < KC ? w->cols - k : KC, kc = (cols + LANES - 1) / LANES * LANES;

		x_fill(xs, x + k, ldx, T, cols, kc);
		for (int i = 0; i < NC && n + i < n1; i += NR) {
			rows_fill(panel, LANES, NR * LANES, w, n + i, n1 - 1, NR, k, cols, kc);
			for (int c = 0; f8 && c < cols; c += BLOCK)
				for (int m = 0; m < NR; m++)
					scale[c / BLOCK * NR + m] = mat_scale(w, n + i + m < n1 ? n + i + m : n1 - 1, k + c);
			blocks(sum + i, T, xs, panel, kc, f8 ? scale : NULL, k == 0);
		}
	}
	for (int i = 0; i < NC && n + i < n1; i += SUMS)
		for (int t = 0; t < T; t++)
			sums_store(out + t * ldo + n + i, sum + t * NC + i, n1 - n - i);
}

static void
many(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	for (int t = 0; t < T; t += TC)
		for (int n = n0; n < n1; n += NC)
			many_outputs(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TC ? T - t : TC, w, n,
			    n1 - n < NC ? n1 : n + NC);
}
