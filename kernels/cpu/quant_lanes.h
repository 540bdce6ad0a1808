/*
 * Q8 and Q4 in registers: a part of matmul_lanes.h.  A group's 16 columns are
 * one step of the 16 lanes, so a scale is one broadcast; the weight is made
 * exactly, code times scale, and then met as a float32 would be.
 */
enum {
	LINE = 128,             /* columns between prefetches */
	SCALES = 32             /* that quant_row makes ready at once */
};
_Static_assert(QUANT_GROUP == LANES, "groups are steps");

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

/* The scales that a byte can name. */
ALWAYS void
quant_table(float scale[256], float factor)
{
	unsigned char all[256];

	for (int g = 0; g < 256; g++)
		all[g] = (unsigned char)g;
	for (int g = 0; g < 256; g += W)
		r_store(scale + g, r_mul(r_load_f8(all + g), r_set(factor)));
}

/* The 16 levels of Q4 by each of the 256 scales, as LEVELS says. */
ALWAYS void
quant_levels_of(reg *level, const float scale[256])
{
	float v[LANES];
	reg l;

	for (int i = 0; i < LANES; i++)
		v[i] = quant_levels[i];
	l = r_load(v);
	for (int g = 0; g < LEVELS; g++)
		level[g] = r_mul(l, r_set(scale[g]));
}

/* What the groups of a matrix may name. */
struct quant_names {
	float scale[256];
	reg level[LEVELS ? LEVELS : 1];         /* Q4: used instead of scale, if LEVELS */
};

/* Some rows of Q8 or Q4 beside each other, from a column on that is a multiple of 32. */
struct quant {
	const unsigned char *row[ROWS], *group[ROWS];
	const struct quant_names *names;
};

/* `columns` further. */
ALWAYS void
quant_skip(struct quant *q, int nb, int columns, enum dtype t)
{
	UNROLL
	for (int i = 0; i < nb; i++) {
		q->row[i] += t == Q4 ? columns / 2 : columns;
		q->group[i] += columns / QUANT_GROUP;
	}
}

/* 32 weights, or the first n of them, with the scales a and b of their groups. */
ALWAYS void
quant_scaled32(reg to[2 * REGS], const unsigned char *row, float a, float b, int n, enum dtype t)
{
	if (t == Q4)
		r_load32_q4(row, to);
	UNROLL
	for (int j = 0; j < 2 * REGS; j++) {
		if (t == Q8)
			to[j] = n == 32 ? r_load_q8(row + j * W) : r_load_q8_n(row + j * W, n - j * W);
		to[j] = r_mul(to[j], r_set(j < REGS ? a : b));
	}
}

/* The 32 weights of row i from column k (a multiple of 32) on, or the first n of them and zeros. */
ALWAYS void
quant_load32(reg to[2 * REGS], const struct quant *q, int i, int k, int n, enum dtype t)
{
	const unsigned char *row = q->row[i] + (t == Q4 ? k / 2 : k), *g = q->group[i] + k / QUANT_GROUP;
	unsigned char a = g[0], b = g[n > QUANT_GROUP];

	if (t == Q4 && LEVELS != 0)
		r_load32_q4_of(row, q->names->level + a, q->names->level + b, to);
	else
		quant_scaled32(to, row, q->names->scale[a], q->names->scale[b], n, t);
	if (n < 32)
		UNROLL
		for (int j = 0; j < 2 * REGS; j++)
			to[j] = r_first(to[j], n - j * W);
}

/* s += W columns from x on, of T rows of x with row i of w. */
ALWAYS void
quant_products(reg s[][ROWS][REGS], int T, int i, int j, const float *x, ptrdiff_t ldx, reg weights)
{
	UNROLL
	for (int m = 0; m < T; m++)
		s[m][i][j] = r_fma(weights, r_load(x + m * ldx), s[m][i][j]);
}

/* s += the columns k .. k+31 of T rows of x with nb rows of w, all there.  With one row of x, Q8 is
 * multiplied as soon as it is converted: two registers at a time are slower. */
ALWAYS void
quant_step(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct quant *q, int k, enum dtype t)
{
	UNROLL
	for (int i = 0; i < nb; i++) {
		const unsigned char *row = q->row[i] + k, *g = q->group[i] + k / QUANT_GROUP;
		reg v[2 * REGS];

		if (t == Q4 || T > 1)
			quant_load32(v, q, i, k, 32, t);
		UNROLL
		for (int j = 0; j < 2 * REGS; j++) {
			if (t == Q8 && T == 1)
				v[j] = r_mul(r_load_q8(row + j * W), r_set(q->names->scale[g[j / REGS]]));
			quant_products(s, T, i, j % REGS, x + k + j * W, ldx, v[j]);
		}
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

/* As dot_rows. */
ALWAYS void
quant_rows(reg sum[][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct mat *w, const struct streams *z,
    int n, const struct quant_names *names, enum dtype t)
{
	const size_t stride = dtype_row(t, w->cols), groups = mat_groups(w);
	struct quant q = { .names = names };
	reg s[GEMV_ROWS][ROWS][REGS];
	int cols = w->cols;

	UNROLL
	for (int i = 0; i < nb; i++) {
		size_t r = (size_t)stream_row(z, i, n);

		q.row[i] = (const unsigned char *)w->data + r * stride;
		q.group[i] = w->groups + r * groups;
	}
	zero(s, T, nb);
	for (; cols >= LINE; cols -= LINE, x += LINE) {
		UNROLL
		for (int i = 0; i < nb; i++) {
			prefetch(q.row[i] + z->ahead, t == Q4 ? LINE / 2 : LINE);
			prefetch(q.group[i] + z->ahead / QUANT_GROUP, 1);
		}
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
	keep(sum, s, T, nb);
}

/* As row_of, of row r. */
ALWAYS void
quant_row(float *to, ptrdiff_t step, const struct mat *w, int r, int c, int cols, int n, enum dtype t)
{
	const unsigned char *g = w->groups + (size_t)r * mat_groups(w) + c / QUANT_GROUP;
	const unsigned char *p = mat_at(w, r) + (t == Q4 ? c / 2 : c);
	float scale[SCALES] __attribute__((aligned(64)));
	int k = 0, groups = (c % QUANT_GROUP + cols + QUANT_GROUP - 1) / QUANT_GROUP;
	bytes seen = b_zero();
	reg v[2 * REGS];

	for (int i = 0; i < groups; i += 64)
		seen = b_see(seen, g + i, groups - i);
	if (c % 32 == 0 && !b_nan(seen))
		for (; k + 32 <= cols; k += 32) {
			int at = k / QUANT_GROUP, left = groups - at;

			if (at % SCALES == 0)
				quant_scales(scale, g + at, left < SCALES ? left : SCALES, w->factor);
			quant_scaled32(v, p + (t == Q4 ? k / 2 : k), scale[at % SCALES],
			    scale[at % SCALES + 1], 32, t);
			UNROLL
			for (int j = 0; j < 2 * REGS; j++)
				r_store(to + (k / LANES + j / REGS) * step + j % REGS * W, v[j]);
		}
	for (; k < n; k++)
		to[k / LANES * step + k % LANES] = k < cols ? mat_quant(w, r, c + k) : 0;
}
