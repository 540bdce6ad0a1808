/*
 * Q8 and Q4 in registers: a part of matmul_lanes.h.  A group's 16 columns are
 * one step of the 16 lanes, so a scale is one broadcast; the weight is made
 * exactly, code times scale, and then met as a float32 would be.
 */

/* The scales of n <= 32 groups; a NaN becomes a number. */
ALWAYS void
quant_scales(float to[QUANT_STEP / QUANT_GROUP], const unsigned char *p, int n, float factor)
{
	unsigned char some[QUANT_STEP / QUANT_GROUP] = {0};
	reg f = r_set(factor * 256);         /* r_load2_f8 gives numbers 256 times too small */

	if (n < QUANT_STEP / QUANT_GROUP)
		p = memcpy(some, p, (size_t)n);
	UNROLL
	for (int i = 0; i < QUANT_STEP / QUANT_GROUP; i += 2 * W) {
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

/* s += 32 columns from k on; x and the weights are whole there. */
ALWAYS void
quant_step(reg s[ROWS][REGS], const float *x, const unsigned char *const row[ROWS], int k,
    float scale[ROWS][QUANT_STEP / QUANT_GROUP], enum dtype t)
{
	reg v[2 * REGS], xs[2 * REGS];

	UNROLL
	for (int j = 0; j < 2 * REGS; j++)
		xs[j] = r_load(x + k + j * W);
	UNROLL
	for (int i = 0; i < ROWS; i++) {
		quant_load32(v, row[i], k, scale[i] + k % QUANT_STEP / QUANT_GROUP, t);
		UNROLL
		for (int j = 0; j < 2 * REGS; j++)
			s[i][j % REGS] = r_fma(v[j], xs[j], s[i][j % REGS]);
	}
}

/* The same where the row ends n < 32 columns further. */
ALWAYS void
quant_end(reg s[ROWS][REGS], const float *x, const unsigned char *const row[ROWS], int k, int n,
    float scale[ROWS][QUANT_STEP / QUANT_GROUP], enum dtype t)
{
	reg v[2 * REGS];

	UNROLL
	for (int i = 0; i < ROWS; i++) {
		quant_load_n(v, row[i], k, n, scale[i] + k % QUANT_STEP / QUANT_GROUP, t);
		UNROLL
		for (int j = 0; j < 2 * REGS; j++)
			if (j / REGS * LANES < n)       /* a step without columns would make a lane's -0 +0 */
				s[i][j % REGS] = r_fma(v[j], r_load_n(x + k + j * W, n - j * W), s[i][j % REGS]);
	}
}

/* s = the lanes of x with ROWS rows of w from n on, none beyond `last`.  Rows are short, so their
 * streams end before the processor has learnt them: those of the next ROWS are asked for early. */
ALWAYS void
quant_dot(reg s[ROWS][REGS], const float *x, const struct mat *w, int n, int last, enum dtype t)
{
	const size_t stride = dtype_row(t, w->cols);
	const unsigned char *row[ROWS];
	float scale[ROWS][QUANT_STEP / QUANT_GROUP] __attribute__((aligned(64)));

	UNROLL
	for (int i = 0; i < ROWS; i++) {
		row[i] = (const unsigned char *)w->data + (size_t)(n + i < last ? n + i : last) * stride;
		UNROLL
		for (int j = 0; j < REGS; j++)
			s[i][j] = r_zero();
	}
	for (int from = 0; from < w->cols; from += QUANT_STEP) {
		int left = w->cols - from, to = left < QUANT_STEP ? w->cols : from + QUANT_STEP, k = from;

		UNROLL
		for (int i = 0; i < ROWS; i++) {
			const unsigned char *g = w->groups + (size_t)(n + i < last ? n + i : last) * mat_groups(w);

			quant_scales(scale[i], g + from / QUANT_GROUP, (to - from + QUANT_GROUP - 1) / QUANT_GROUP, w->factor);
			__builtin_prefetch(g + ROWS * mat_groups(w) + from / QUANT_GROUP);
		}
		for (; k + QUANT_LINE <= to; k += QUANT_LINE) {
			UNROLL
			for (int i = 0; i < ROWS; i++)
				for (int j = 0; j < QUANT_LINE; j += t == Q4 ? 128 : 64)
					__builtin_prefetch(row[i] + ROWS * stride + (t == Q4 ? (k + j) / 2 : k + j));
			UNROLL
			for (int j = 0; j < QUANT_LINE; j += 32)
				quant_step(s, x, row, k + j, scale, t);
		}
		for (; k + 32 <= to; k += 32)
			quant_step(s, x, row, k, scale, t);
		if (k < to)
			quant_end(s, x, row, k, to - k, scale, t);
	}
}

/* Mark the sums of rows that have a group whose scale is no number. */
ALWAYS void
quant_nan(reg s[ROWS][REGS], const struct mat *w, int n, int last)
{
	const unsigned char *row[ROWS];
	bytes seen = b_zero();
	int groups = (int)mat_groups(w);

	for (int i = 0; i < ROWS; i++) {
		row[i] = w->groups + (size_t)(n + i < last ? n + i : last) * (size_t)groups;
		for (int c = 0; c < groups; c += 64)
			seen = b_see(seen, row[i] + c, groups - c);
	}
	if (b_nan(seen))
		nan_rows(s, row, groups);
}

ALWAYS void
quant_matvec(float *out, const float *x, const struct mat *w, int n0, int n1, enum dtype t)
{
	reg sum[SUMS][REGS];

	for (int n = n0; n < n1; n += SUMS) {
		for (int i = 0; i < SUMS; i += ROWS) {
			int r = n + i < n1 ? n + i : n1 - 1;

			quant_dot(sum + i, x, w, r, n1 - 1, t);
			quant_nan(sum + i, w, r, n1 - 1);
		}
		sums_store(out + n, sum, n1 - n);
	}
}

/* Columns c .. c+cols-1 of row r as float32, behind them zeros up to n, a multiple of 16. */
ALWAYS void
quant_row(float *to, int n, const struct mat *w, int r, int c, int cols, enum dtype t)
{
	const unsigned char *row = mat_at(w, r), *g = w->groups + (size_t)r * mat_groups(w) + c / QUANT_GROUP;
	float scale[QUANT_STEP / QUANT_GROUP] __attribute__((aligned(64)));
	int k = 0, groups = (cols + QUANT_GROUP - 1) / QUANT_GROUP;
	bytes seen = b_zero();
	reg v[2 * REGS];

	for (int i = 0; i < groups; i += 64)
		seen = b_see(seen, g + i, groups - i);
	if (c % 32 == 0 && !b_nan(seen))
		for (; k + 32 <= cols; k += 32) {
			if (k % QUANT_STEP == 0)
				quant_scales(scale, g + k / QUANT_GROUP, groups - k / QUANT_GROUP, w->factor);
			quant_load32(v, row, c + k, scale + k % QUANT_STEP / QUANT_GROUP, t);
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				r_store(to + k + j * W, v[j]);
		}
	for (; k < n; k++)
		to[k] = k < cols ? mat_quant(w, r, c + k) : 0;
}

/* As tile_of. */
ALWAYS void
quant_tile(float *tile, int ldt, const struct mat *w, int r, int last, int rows, int c, int cols, enum dtype t)
{
	for (int i = 0; i < rows; i++)
		quant_row(tile + i * ldt, ldt, w, r + i < last ? r + i : last, c, cols, t);
}
