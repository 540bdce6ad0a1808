/*
 * Q8 and Q4 in registers: a part of matmul_lanes.h.  A group's 16 columns are
 * one step of the 16 lanes, so a scale is one broadcast; the weight is made
 * exactly, code times scale, and then met as a float32 would be.
 */
enum {
	STEP = 512,             /* columns whose scales are made ready at once, */
	LINE = 128,             /* and those between requests for rows to come */
	SCALES = STEP / QUANT_GROUP
};
_Static_assert(QUANT_GROUP == LANES && STEP % LINE == 0, "groups are steps");

/* The scales of n <= SCALES groups; a NaN becomes a number. */
ALWAYS void
quant_scales(float to[SCALES], const unsigned char *p, int n, float factor)
{
	unsigned char some[SCALES] = {0};
	reg f = r_set(factor * 256);            /* r_load2_f8 gives numbers 256 times too small */

	if (n < SCALES)
		p = memcpy(some, p, (size_t)n);
	UNROLL
	for (int i = 0; i < SCALES; i += 2 * W) {
		reg a, b;

		r_load2_f8(p + i, &a, &b);
		r_store(to + i, r_mul(a, f));
		r_store(to + i + W, r_mul(b, f));
	}
}

/* The 32 weights from column k (a multiple of 32) on. */
ALWAYS void
quant_load32(reg to[2 * REGS], const unsigned char *row, int k, const float scale[2], enum dtype t)
{
	if (t == Q4)
		r_load32_q4(row + k / 2, to);
	UNROLL
	for (int j = 0; j < 2 * REGS; j++)
		to[j] = r_mul(t == Q4 ? to[j] : r_load_q8(row + k + j * W), r_set(scale[j / REGS]));
}

/* The same of a row that ends n < 32 columns further: zeros behind them. */
ALWAYS void
quant_load_n(reg to[2 * REGS], const unsigned char *row, int k, int n, const float scale[2], enum dtype t)
{
	if (t == Q4)
		r_load32_q4(row + k / 2, to);
	UNROLL
	for (int j = 0; j < 2 * REGS; j++)
		to[j] = r_first(r_mul(t == Q4 ? to[j] : r_load_q8_n(row + k + j * W, n - j * W),
		    r_set(scale[j / REGS])), n - j * W);
}

/* s += the columns k .. k+31 of T rows of x with nb rows of w, all there. */
ALWAYS void
quant_step(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const unsigned char *const row[ROWS],
    int k, float scale[ROWS][SCALES], enum dtype t)
{
	reg v[2 * REGS];

	UNROLL
	for (int i = 0; i < nb; i++) {
		quant_load32(v, row[i], k, scale[i] + k % STEP / QUANT_GROUP, t);
		UNROLL
		for (int m = 0; m < T; m++)
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				s[m][i][j % REGS] = r_fma(v[j], r_load(x + m * ldx + k + j * W), s[m][i][j % REGS]);
	}
}

/* The same where the row ends n < 32 columns further. */
ALWAYS void
quant_end(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const unsigned char *const row[ROWS],
    int k, int n, float scale[ROWS][SCALES], enum dtype t)
{
	reg v[2 * REGS];

	UNROLL
	for (int i = 0; i < nb; i++) {
		quant_load_n(v, row[i], k, n, scale[i] + k % STEP / QUANT_GROUP, t);
		for (int m = 0; m < T; m++)
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				if (j / REGS * LANES < n)       /* a step without columns would make a lane's -0 +0 */
					s[m][i][j % REGS] = r_fma(v[j], r_load_n(x + m * ldx + k + j * W, n - j * W),
					    s[m][i][j % REGS]);
	}
}

/* Mark the sums of rows that have a group whose scale is no number. */
ALWAYS void
quant_nan(reg sum[][REGS], int T, int nb, const unsigned char *const group[ROWS], int groups)
{
	bytes seen = b_zero();

	UNROLL
	for (int i = 0; i < nb; i++)
		for (int c = 0; c < groups; c += 64)
			seen = b_see(seen, group[i] + c, groups - c);
	if (b_nan(seen))
		nan_rows(sum, T, nb, group, groups);
}

/* As dot_rows.  Rows are short, so their streams end before the processor has learnt them: those of
 * the rows behind these are asked for early. */
ALWAYS void
quant_rows(reg sum[][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct mat *w, int n, int last,
    enum dtype t)
{
	const size_t stride = dtype_row(t, w->cols), groups = mat_groups(w);
	const unsigned char *row[ROWS], *group[ROWS];
	float scale[ROWS][SCALES] __attribute__((aligned(64)));
	reg s[FEW][ROWS][REGS];

	UNROLL
	for (int i = 0; i < nb; i++) {
		size_t r = (size_t)(n + i < last ? n + i : last);

		row[i] = (const unsigned char *)w->data + r * stride;
		group[i] = w->groups + r * groups;
		UNROLL
		for (int m = 0; m < T; m++)
			UNROLL
			for (int j = 0; j < REGS; j++)
				s[m][i][j] = r_zero();
	}
	for (int from = 0; from < w->cols; from += STEP) {
		int left = w->cols - from, to = left < STEP ? w->cols : from + STEP, k = from;

		UNROLL
		for (int i = 0; i < nb; i++) {
			quant_scales(scale[i], group[i] + from / QUANT_GROUP, (to - from + QUANT_GROUP - 1) / QUANT_GROUP, w->factor);
			__builtin_prefetch(group[i] + (size_t)nb * groups + from / QUANT_GROUP);
		}
		for (; k + LINE <= to; k += LINE) {
			UNROLL
			for (int i = 0; i < nb; i++)
				UNROLL
				for (int j = 0; j < LINE; j += t == Q4 ? 128 : 64)
					__builtin_prefetch(row[i] + (size_t)nb * stride + (t == Q4 ? (k + j) / 2 : k + j));
			for (int j = 0; j < LINE; j += 32)
				quant_step(s, T, nb, x, ldx, row, k + j, scale, t);
		}
		for (; k + 32 <= to; k += 32)
			quant_step(s, T, nb, x, ldx, row, k, scale, t);
		if (k < to)
			quant_end(s, T, nb, x, ldx, row, k, to - k, scale, t);
	}
	UNROLL
	for (int m = 0; m < T; m++)
		UNROLL
		for (int i = 0; i < nb; i++)
			UNROLL
			for (int j = 0; j < REGS; j++)
				sum[m * SUMS + i][j] = s[m][i][j];
	quant_nan(sum, T, nb, group, (int)groups);
}

/* As row_of, of row r. */
ALWAYS void
quant_row(float *to, ptrdiff_t step, const struct mat *w, int r, int c, int cols, int n, enum dtype t)
{
	const unsigned char *row = mat_at(w, r), *g = w->groups + (size_t)r * mat_groups(w) + c / QUANT_GROUP;
	float scale[SCALES] __attribute__((aligned(64)));
	int k = 0, groups = (c % QUANT_GROUP + cols + QUANT_GROUP - 1) / QUANT_GROUP;
	bytes seen = b_zero();
	reg v[2 * REGS];

	for (int i = 0; i < groups; i += 64)
		seen = b_see(seen, g + i, groups - i);
	if (c % 32 == 0 && !b_nan(seen))
		for (; k + 32 <= cols; k += 32) {
			if (k % STEP == 0) {
				int left = groups - k / QUANT_GROUP;

				quant_scales(scale, g + k / QUANT_GROUP, left < SCALES ? left : SCALES, w->factor);
			}
			quant_load32(v, row, c + k, scale + k % STEP / QUANT_GROUP, t);
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				r_store(to + (k / LANES + j / REGS) * step + j % REGS * W, v[j]);
		}
	for (; k < n; k++)
		to[k / LANES * step + k % LANES] = k < cols ? mat_quant(w, r, c + k) : 0;
}

/* As rows_of. */
ALWAYS void
quant_fill(float *to, ptrdiff_t pitch, ptrdiff_t step, const struct mat *w, int r, int last, int rows, int c, int cols, int n,
    enum dtype t)
{
	for (int i = 0; i < rows; i++)
		quant_row(to + i * pitch, step, w, r + i < last ? r + i : last, c, cols, n, t);
}
