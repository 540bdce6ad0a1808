/*
 * gemm: many rows of x; included by matmul_lanes.h.  NC outputs of TC rows at a time.  KC columns
 * of NR rows of w become a panel [KC / 16][NR][16] of float32 in L1, past which MR rows of x at a
 * time go, their lanes in registers.
 */
enum {
	KC = 640,               /* columns of a panel at most, whole blocks of FP8 */
	NC = 48,                /* outputs whose lanes wait between panels */
	TC = 64                 /* rows of x for which a panel is made */
};
_Static_assert(SUMS % ROWS == 0 && NC % SUMS == 0 && NC % NR == 0 && KC % BLOCK == 0, "blocks fit into one another");

/* Columns c .. c+cols-1 of a row as float32, then zeros up to n, a multiple of 16; every 16 of them
 * begin `step` after the 16 before. */
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
		r_store(to + k / LANES * step + k % LANES, t == F8_E4M3 ? r_mul(a, f) : a);
		r_store(to + (k + W) / LANES * step + (k + W) % LANES, t == F8_E4M3 ? r_mul(b, f) : b);
	}
	for (; k < n; k += W)
		r_store(to + k / LANES * step + k % LANES, weights_n(row, c + k, cols - k, t));
}

/* Rows r .. r+rows-1 of w, none beyond `last`, and columns c .. c+cols-1, each row `pitch` after
 * the one before. */
ALWAYS void
rows_of(float *to, ptrdiff_t pitch, ptrdiff_t step, const struct mat *w, int r, int last, int rows, int c, int cols,
    int n, enum dtype t)
{
	for (int i = 0; i < rows; i++, to += pitch)
		if (t == Q8 || t == Q4)
			quant_row(to, step, w, r + i < last ? r + i : last, c, cols, n, t);
		else
			row_of(to, step, (const unsigned char *)w->data +
			    (size_t)(r + i < last ? r + i : last) * (size_t)w->cols * size_of(t), c, cols, n, t);
}

static void
rows_in_order(float *to, ptrdiff_t pitch, ptrdiff_t step, const struct mat *w, int r, int last,
    int rows, int c, int cols, int n)
{
	if (is_block(w->dtype)) {
		for (int i = 0; i < rows; i++)
			KERNELS_ISA(block_row)(to + i * pitch, step, w, r + i < last ? r + i : last,
			    c, cols, n);
		return;
	}
#define ROWS_OF(t) rows_of(to, pitch, step, w, r, last, rows, c, cols, n, t)
	WITH_DTYPE(w->dtype, ROWS_OF);
}

/* Rows of one head of a turned matrix: of each column there is a row. */
static void
rows_turned(float *to, ptrdiff_t pitch, ptrdiff_t step, const struct mat *w, int r, int rows,
    int c, int cols, int n)
{
	enum { SIDE = 64 };
	float tile[LANES][SIDE] __attribute__((aligned(64)));
	struct mat m = mat_turned(w, r);
	int first = r % w->turned;

	for (int k = 0; k < n; k += LANES, to += step)
		for (int i = 0, deep; i < rows; i += deep) {
			int wide = cols - k < LANES ? cols - k : LANES;

			deep = rows - i < SIDE ? rows - i : SIDE;
			if (wide > 0)
				rows_in_order(tile[0], SIDE, LANES, &m, c + k, c + k + wide - 1, wide,
				    first + i, deep, deep);
			for (int a = 0; a < deep; a++)
				for (int b = 0; b < LANES; b++)
					to[(i + a) * pitch + b] = b < wide ? tile[b][a] : 0;
		}
}

static void
rows_fill(float *to, ptrdiff_t pitch, ptrdiff_t step, const struct mat *w, int r, int last,
    int rows, int c, int cols, int n)
{
	if (w->turned)
		rows_turned(to, pitch, step, w, r, rows, c, cols, n);
	else
		rows_in_order(to, pitch, step, w, r, last, rows, c, cols, n);
}

struct panel_prefetch {
	const unsigned char *row[2];
	ptrdiff_t step;
};

/* The size of the next group of rows of x: as few groups as `most` allows, of like size. */
static int
group_of(int left, int most)
{
	int groups = (left + most - 1) / most;

	return (left + groups - 1) / groups;
}

/* s += the lanes of mr rows of x with nr rows of a panel over kc columns.  Each step prefetches
 * weights of the next panel. */
ALWAYS void
lanes_of(reg s[MR][NR], const float *x, ptrdiff_t ldx, const float *w, int kc, int mr, int nr, struct panel_prefetch prefetch)
{
	for (int k = 0; k < kc; k += LANES, x += LANES, w += NR * LANES, prefetch.row[0] += prefetch.step, prefetch.row[1] += prefetch.step) {
		reg a[MR], b;

		__builtin_prefetch(prefetch.row[0], 0, 2);
		__builtin_prefetch(prefetch.row[1], 0, 2);
		UNROLL
		for (int m = 0; m < mr; m++) {
			a[m] = r_load(x + m * ldx);
			KEEP(a[m]);
		}
		UNROLL
		for (int n = 0; n < nr; n++) {
			b = r_load(w + n * LANES);
			KEEP(b);
			UNROLL
			for (int m = 0; m < mr; m++)
				s[m][n] = r_fma(b, a[m], s[m][n]);
		}
	}
}

ALWAYS void
sums_load(reg s[MR][NR], reg sum[][REGS], int mr, int nr, int j, int zero)
{
	UNROLL
	for (int m = 0; m < mr; m++)
		UNROLL
		for (int n = 0; n < nr; n++)
			s[m][n] = zero ? r_zero() : sum[m * NC + n][j];
}

ALWAYS void
sums_keep(reg sum[][REGS], reg s[MR][NR], int mr, int nr, int j)
{
	UNROLL
	for (int m = 0; m < mr; m++)
		UNROLL
		for (int n = 0; n < nr; n++)
			sum[m * NC + n][j] = s[m][n];
}

/* Register j of the lanes of mr rows of x with a panel, upon those in sum, which begin at 0 if
 * these are the `first`. */
ALWAYS void
block(reg sum[][REGS], const float *x, ptrdiff_t ldx, const float *w, int kc, int first, int mr, int j, struct panel_prefetch prefetch)
{
	reg s[MR][NR];

	sums_load(s, sum, mr, NR, j, first);
	lanes_of(s, x + j * W, ldx, w + j * W, kc, mr, NR, prefetch);
	sums_keep(sum, s, mr, NR, j);
}

/* The same where blocks of columns have lanes of their own and a scale [blocks][NR]: fewer rows of
 * w at a time, since both kinds of sums stay in registers. */
ALWAYS void
block_scaled(reg sum[][REGS], const float *x, ptrdiff_t ldx, const float *w, int kc, const float *scale, int first,
    int mr, int j, struct panel_prefetch prefetch)
{
	for (int c = 0; c < kc; c += BLOCK, prefetch.row[0] += (BLOCK / LANES) * prefetch.step,
	    prefetch.row[1] += (BLOCK / LANES) * prefetch.step) {
		reg s[MR][NR];
		int end = kc - c < BLOCK ? kc - c : BLOCK;

		sums_load(s, NULL, mr, NR, j, 1);
		lanes_of(s, x + c + j * W, ldx, w + c * NR + j * W, end, mr, NR, prefetch);
		UNROLL
		for (int n = 0; n < NR; n++)
			UNROLL
			for (int m = 0; m < mr; m++)
				sum[m * NC + n][j] = r_fma(r_set(scale[c / BLOCK * NR + n]), s[m][n],
				    first && c == 0 ? r_zero() : sum[m * NC + n][j]);
	}
}

/* T rows of x, in groups that differ by one row at most, with a panel; meanwhile the weights of the
 * next are prefetched, in rows `pitch` bytes apart and `step` bytes each 16 columns. */
static void
blocks(reg sum[][REGS], int T, const float *x, ptrdiff_t ldx, const float *w, int kc, const float *scale, int first,
    const unsigned char *next, size_t pitch, int step)
{
	int groups = (T + MR - 1) / MR, g = 0;

	for (int left = T, n; left > 0; left -= n, sum += n * NC, x += n * ldx, g++) {
		struct panel_prefetch prefetch = {{next + (size_t)(g * NR / groups) * pitch,
		    next + (size_t)(((g + 1) * NR - 1) / groups) * pitch}, step};

		n = group_of(left, MR);
		for (int j = 0; j < REGS; j++)
			switch (n) {
#define BLOCK_OF(mr) case (mr): \
				if (scale) \
					block_scaled(sum, x, ldx, w, kc, scale, first, (mr), j, prefetch); \
				else \
					block(sum, x, ldx, w, kc, first, (mr), j, prefetch); \
				break
			EACH_MR(BLOCK_OF);
			}
	}
}

/* Panels of like size, which cut no block of w. */
static int
panel_columns(const struct mat *w)
{
	int whole = is_block(w->dtype) ? BLOCK_COLS : BLOCK, most = KC / whole * whole;
	int panels = w->cols > most ? (w->cols + most - 1) / most : 1;

	return ((w->cols + panels - 1) / panels + whole - 1) / whole * whole;
}

/* T <= TC rows of x, the outputs n .. n1-1, at most NC. */
static void
gemm_outputs(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n, int n1)
{
	float xs[TC * KC] __attribute__((aligned(64))), panel[NR * KC] __attribute__((aligned(64)));
	float scale[NR * KC / BLOCK];
	reg sum[TC * NC][REGS];
	size_t pitch = dtype_row(w->dtype, w->cols);
	size_t step = dtype_row(w->dtype, BLOCK_COLS) * LANES / BLOCK_COLS;
	int f8 = w->dtype == F8_E4M3, most = panel_columns(w);

	for (int k = 0; k < w->cols; k += most) {
		int cols = w->cols - k < most ? w->cols - k : most, kc = (cols + LANES - 1) / LANES * LANES;

		if (kc != cols)
			for (int t = 0; t < T; t++)
				row_of(xs + t * kc, LANES, (const unsigned char *)(x + t * ldx), k, cols, kc, F32);
		for (int i = 0; i < NC && n + i < n1; i += NR) {
			int last = i + NR >= NC || n + i + NR >= n1;
			const unsigned char *next = (const unsigned char *)w->data + (size_t)(last ? n : n + i + NR) * pitch +
			    (size_t)(last ? k + most : k) / LANES * step;

			rows_fill(panel, LANES, NR * LANES, w, n + i, n1 - 1, NR, k, cols, kc);
			for (int c = 0; f8 && c < cols; c += BLOCK)
				for (int m = 0; m < NR; m++)
					scale[c / BLOCK * NR + m] = mat_scale(w, n + i + m < n1 ? n + i + m : n1 - 1, k + c);
			blocks(sum + i, T, kc != cols ? xs : x + k, kc != cols ? kc : ldx, panel, kc, f8 ? scale : NULL, k == 0,
			    next, pitch, (int)step);
		}
	}
	for (int i = 0; i < NC && n + i < n1; i += SUMS)
		for (int t = 0; t < T; t++)
			sums_store(out + t * ldo + n + i, sum + t * NC + i, n1 - n - i);
}

static void
gemm(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	for (int t = 0; t < T; t += TC)
		for (int n = n0; n < n1; n += NC)
			gemm_outputs(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TC ? T - t : TC, w, n,
			    n1 - n < NC ? n1 : n + NC);
}
