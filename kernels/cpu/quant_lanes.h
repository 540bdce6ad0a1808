/*
 * Q8 and Q4 in registers: a part of matmul_lanes.h.  A group's 16 columns are
 * one step of the 16 lanes, so a scale is one broadcast; the weight is made
 * exactly, code times scale, and then met as a float32 would be.
 */
enum {
	STEP = 512,             /* columns whose scales are made ready at once, */
	LINE = 128,             /* and columns between prefetches */
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

/* The 16 levels of Q4 by each of the 256 scales, as LEVELS says. */
ALWAYS void
quant_levels_of(reg *level, float factor)
{
	float scale[256], v[LANES];
	reg l;

	for (int g = 0; g < LEVELS; g++)
		scale[g] = float_of_f8((unsigned char)g) * factor;
	for (int i = 0; i < LANES; i++)
		v[i] = quant_levels[i];
	l = r_load(v);
	for (int g = 0; g < LEVELS; g++)
		level[g] = r_mul(l, r_set(scale[g]));
}

/* Some rows of Q8 or Q4 beside each other, from a column on that is a multiple of 32. */
struct quant {
	const unsigned char *row[ROWS], *group[ROWS];
	const float *scale[ROWS];
	const reg *level;               /* Q4: used instead of scale, or NULL */
};

/* `columns` further. */
ALWAYS void
quant_skip(struct quant *q, int nb, int columns, enum dtype t)
{
	UNROLL
	for (int i = 0; i < nb; i++) {
		q->row[i] += t == Q4 ? columns / 2 : columns;
		q->group[i] += columns / QUANT_GROUP;
		q->scale[i] += columns / QUANT_GROUP;
	}
}

/* The 32 weights of row i from column k (a multiple of 32) on, or the first n of them and zeros. */
ALWAYS void
quant_load32(reg to[2 * REGS], const struct quant *q, int i, int k, int n, enum dtype t)
{
	const unsigned char *row = q->row[i], *g = q->group[i] + k / QUANT_GROUP;

	if (t == Q4 && q->level)
		r_load32_q4_of(row + k / 2, q->level + g[0], q->level + g[n > QUANT_GROUP], to);
	else if (t == Q4)
		r_load32_q4(row + k / 2, to);
	UNROLL
	for (int j = 0; j < 2 * REGS; j++) {
		if (t == Q8)
			to[j] = n == 32 ? r_load_q8(row + k + j * W) : r_load_q8_n(row + k + j * W, n - j * W);
		if (t == Q8 || !q->level)
			to[j] = r_mul(to[j], r_set(q->scale[i][k / QUANT_GROUP + j / REGS]));
		if (n < 32)
			to[j] = r_first(to[j], n - j * W);
	}
}

/* s += the columns k .. k+31 of T rows of x with nb rows of w, all there. */
ALWAYS void
quant_step(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct quant *q, int k, enum dtype t)
{
	reg v[2 * REGS];

	UNROLL
	for (int i = 0; i < nb; i++) {
		quant_load32(v, q, i, k, 32, t);
		UNROLL
		for (int m = 0; m < T; m++)
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				s[m][i][j % REGS] = r_fma(v[j], r_load(x + m * ldx + k + j * W), s[m][i][j % REGS]);
	}
}

/* The same where the row ends n < 32 columns further. */
ALWAYS void
quant_end(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct quant *q, int n, enum dtype t)
{
	reg v[2 * REGS];

	UNROLL
	for (int i = 0; i < nb; i++) {
		quant_load32(v, q, i, 0, n, t);
		for (int m = 0; m < T; m++)
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				if (j / REGS * LANES < n)       /* a step without columns would make a lane's -0 +0 */
					s[m][i][j % REGS] = r_fma(v[j], r_load_n(x + m * ldx + j * W, n - j * W),
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

/* s += up to STEP columns; meanwhile those of the next rows, `further` bytes on, are prefetched. */
ALWAYS void
quant_steps(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, struct quant q, int cols,
    size_t further, enum dtype t)
{
	for (; cols >= LINE; cols -= LINE, x += LINE) {
		UNROLL
		for (int i = 0; i < nb; i++)
			UNROLL
			for (int j = 0; j < LINE; j += t == Q4 ? 128 : 64)
				__builtin_prefetch(q.row[i] + further + (t == Q4 ? j / 2 : j));
		UNROLL
		for (int j = 0; j < LINE; j += 32)
			quant_step(s, T, nb, x, ldx, &q, j, t);
		quant_skip(&q, nb, LINE, t);
	}
	for (; cols >= 32; cols -= 32, x += 32) {
		quant_step(s, T, nb, x, ldx, &q, 0, t);
		quant_skip(&q, nb, 32, t);
	}
	if (cols > 0)
		quant_end(s, T, nb, x, ldx, &q, cols, t);
}

/* As dot_rows.  Rows are short: their streams end before the hardware prefetches them.  So the next
 * rows are prefetched here. */
ALWAYS void
quant_rows(reg sum[][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct mat *w, int n, int last,
    const reg *level, enum dtype t)
{
	const size_t stride = dtype_row(t, w->cols), groups = mat_groups(w), further = n + nb <= last ? (size_t)nb : 0;
	const unsigned char *group[ROWS];
	float scale[ROWS][SCALES] __attribute__((aligned(64)));
	struct quant q;
	reg s[GEMV_ROWS][ROWS][REGS];

	q.level = level;
	UNROLL
	for (int i = 0; i < nb; i++) {
		size_t r = (size_t)(n + i < last ? n + i : last);

		q.row[i] = (const unsigned char *)w->data + r * stride;
		q.group[i] = group[i] = w->groups + r * groups;
		q.scale[i] = scale[i];
	}
	zero(s, T, nb);
	for (int k = 0; k < w->cols; k += STEP) {
		int cols = w->cols - k < STEP ? w->cols - k : STEP;

		UNROLL
		for (int i = 0; i < nb; i++) {
			if (!level)
				quant_scales(scale[i], q.group[i], (cols + QUANT_GROUP - 1) / QUANT_GROUP, w->factor);
			__builtin_prefetch(q.group[i] + further * groups);
			q.scale[i] = scale[i];
		}
		quant_steps(s, T, nb, x + k, ldx, q, cols, further * stride, t);
		quant_skip(&q, nb, STEP, t);
	}
	keep(sum, s, T, nb);
	if (!level)
		quant_nan(sum, T, nb, group, (int)groups);
}

/* As row_of, of row r. */
ALWAYS void
quant_row(float *to, ptrdiff_t step, const struct mat *w, int r, int c, int cols, int n, enum dtype t)
{
	const unsigned char *g = w->groups + (size_t)r * mat_groups(w) + c / QUANT_GROUP;
	float scale[SCALES] __attribute__((aligned(64)));
	struct quant q = {{mat_at(w, r) + (t == Q4 ? c / 2 : c)}, {g}, {NULL}, NULL};
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
				q.scale[0] = scale;
			}
			quant_load32(v, &q, 0, 0, 32, t);
			quant_skip(&q, 1, 32, t);
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				r_store(to + (k / LANES + j / REGS) * step + j % REGS * W, v[j]);
		}
	for (; k < n; k++)
		to[k / LANES * step + k % LANES] = k < cols ? mat_quant(w, r, c + k) : 0;
}
