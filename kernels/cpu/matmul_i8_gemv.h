/*
 * The products of i8 for a few rows of x: a part of matmul_i8_lanes.h.  Four rows of w, a quad, go
 * side by side, in units of columns; the sums of their groups stand in registers as [slots][4
 * rows].  Each block of x meets two quads while it is in L1, since x takes more room than w.
 */
enum {
	XBLOCKS = 1024,         /* blocks of columns of x that are kept, of all its rows */
	QUADS = 2,
	I8_AHEAD = 2048         /* bytes */
};

/* A block of columns of a row of x. */
struct i8_x {
	/* For each register of codes_of two, which have half of each lane, twice. */
	signed char code[2 * I8_BLOCK];
	int begin[CHUNKS][4];           /* what makes up for i8_more, for two rows of w */
	float scale[CHUNKS][4];         /* of the slots */
	float sum[CHUNKS / 2][4];       /* times that of the codes, where weights have minimums */
} __attribute__((aligned(64)));

/* Codes in registers become those of struct i8_x. */
INLINE void
x_twice(struct i8_x *to, const signed char code[I8_BLOCK], enum dtype t)
{
	const int each = i8_each(t), more = i8_more(t);

	UNROLL16
	for (int j = 0; j < CHUNKS / L / each; j++) {
		vec sum = v_zero();

		UNROLL
		for (int i = j * each; i < (j + 1) * each; i++) {
			vec c = v_load(code + i * L * CHUNK);

			v_store(to->code + 2 * i * L * CHUNK, v_low64(c, c));
			v_store(to->code + (2 * i + 1) * L * CHUNK, v_high64(c, c));
			if (more)
				sum = v_dot(sum, v_bytes(more), c);
		}
		if (more)
			v_store(to->begin[j * L], v_sub32(v_zero(), v_add32(sum, v_turn64(sum))));
	}
}

/* A block of n columns, n > 0, then zeros. */
ALWAYS void
x_block(struct i8_x *to, const float *x, int n, const struct i8_scaled *scales, int first,
    enum dtype t)
{
	const int each = i8_each(t), unit = 2 * each * L;
	const float *scale = scales->scale + first;
	signed char code[I8_BLOCK], *place[CHUNKS];
	int sum[2][I8_BLOCK / I8_GROUP];

	UNROLL16
	for (int i = 0; i < CHUNKS; i++)
		place[i / unit * unit + i8_chunk(i % unit / L, i % L, t)] = code + i * CHUNK;
	x_codes(place, i8_has_minimum(t) ? sum : NULL, x, n, scales->inverse + first);
	if (!scales->finite)
		x_nan(place, i8_has_minimum(t) ? sum : NULL, scale);
	x_twice(to, code, t);
	UNROLL16
	for (int s = 0; s < CHUNKS / each; s++) {
		const int g = i8_slot(s, t), of = each == 1 ? g / 2 : g;

		_mm_store_ps(to->scale[s], _mm_set1_ps(scale[of]));
		if (i8_has_minimum(t))
			_mm_store_ps(to->sum[s], _mm_set1_ps(scale[of] *
			    (float)(sum[0][of] + sum[1][of])));
	}
}

/* x [blocks][T] */
ALWAYS void
x_round(struct i8_x *to, const float *x, ptrdiff_t ldx, int T, int cols, enum dtype t)
{
	struct i8_scaled scales;

	for (int m = 0; m < T; m++)
		for (int k = 0; k < cols; k += I8_BLOCK) {
			if (k % I8_PART == 0)
				x_scales(&scales, x + m * ldx + k, cols - k);
			x_block(to + k / I8_BLOCK * T + m, x + m * ldx + k, cols - k, &scales,
			    k % I8_PART / I8_GROUP, t);
		}
}

/* Four rows of w, each of another stream (products.h). */
struct i8_quad {
	const unsigned char *row[4], *group[4];
};

/* A block that is cut, filled up with zeros. */
struct i8_cut {
	unsigned char row[4][I8_BLOCK / 32 * 34], group[4][CHUNKS];
};

static void __attribute__((noinline))
quad_cut(struct i8_quad *q, struct i8_cut *cut, const struct mat *w, int k)
{
	const size_t left = row_bytes(w->dtype, w->cols) - row_bytes(w->dtype, k);

	memset(cut, 0, sizeof(*cut));
	for (int r = 0; r < 4; r++) {
		memcpy(cut->row[r], q->row[r], left);
		q->row[r] = cut->row[r];
		if (w->groups)
			memcpy(cut->group[r], q->group[r], mat_groups(w) - (size_t)k / QUANT_GROUP);
		q->group[r] = cut->group[r];
	}
}

/* Slots that the row does not have add zeros. */
static void __attribute__((noinline))
scales_cut(struct i8_scales *s, int groups, int crossed)
{
	for (int i = 0; i < CHUNKS; i++)
		if (i8_slot(i, crossed ? Q4 : Q8) >= groups)
			memset(s->scale[i], 0, sizeof(s->scale[i]));
}

/* sum += a unit of four rows, v [pairs][halves of lanes], with a block of a row of x. */
INLINE void
unit_dots(reg sum[REGS], vec v[2][2][4], const struct i8_x *x, const struct i8_scales *s, int u,
    enum dtype t)
{
	const int each = i8_each(t);
	vec p[2];

	UNROLL
	for (int j = 0; j < 2; j++) {
		const signed char *code = x->code + 2 * (2 * u + j) * each * L * CHUNK;
		vec a[2];

		a[0] = a[1] = i8_more(t) ? v_load(x->begin[(2 * u + j) * L]) : v_zero();
		UNROLL
		for (int i = 0; i < 2 * each; i++) {
			vec c = v_load(code + i * L * CHUNK);

			UNROLL
			for (int r = 0; r < 2; r++) {
				vec w = v[r][i % 2][j * each + i / 2];

				a[r] = i8_full(t) ? v_dot_signed(a[r], w, c) : v_dot(a[r], w, c);
			}
		}
		p[j] = v_sums2(a[0], a[1]);
	}
	if (i8_crossed(t))
		v_mix(p);
	UNROLL
	for (int j = 0; j < 2; j++) {
		const int slot = (2 * u + j) * L, to = slot % 4 / L;
		reg f = r_mul(r_load(x->scale[slot]), v_float(p[j]));

		sum[to] = r_fma(r_load(s->scale[slot]), f, sum[to]);
		if (i8_has_minimum(t))
			sum[to] = r_fma(r_load(s->minimum[slot]), r_load(x->sum[slot]), sum[to]);
	}
}

/* sum [T][REGS] += a block, or the first units of it. */
INLINE void
block_dots(reg *sum, int T, const struct i8_x *x, const struct i8_quad *q, struct i8_scales *s,
    int units, enum dtype t)
{
	vec v[2][2][4], raw[2][4];

	UNROLL
	for (int u = 0; u < units; u++) {
		UNROLL
		for (int r = 0; r < 2; r++) {
			raw_units(raw[0], raw[1], q->row[2 * r], q->row[2 * r + 1], u, t);
			codes_of(v[r][0], raw[0], u, t);
			codes_of(v[r][1], raw[1], u, t);
		}
		for (int m = 0; m < T; m++)
			unit_dots(sum + m * REGS, v, x + m, s, u, t);
	}
}

/* Rows of w from streams i .. i+3. */
INLINE void
quad_begin(struct i8_quad *q, const struct mat *w, const struct streams *z, int i, int n)
{
	UNROLL
	for (int r = 0; r < 4; r++) {
		const int row = stream_row(z, i + r, n);

		q->row[r] = mat_at(w, row);
		q->group[r] = w->groups ? w->groups + (size_t)row * mat_groups(w) : NULL;
	}
}

/* A block further.  What follows in each stream is prefetched. */
INLINE void
quad_skip(struct i8_quad *q, enum dtype t)
{
	const int size = i8_bytes(t);

	UNROLL
	for (int r = 0; r < 4; r++) {
		prefetch(q->row[r] + I8_AHEAD, (size_t)size);
		q->row[r] += size;
		if (t == Q8 || t == Q4)
			prefetch(q->group[r] + I8_AHEAD / QUANT_GROUP, CHUNKS);
		q->group[r] += CHUNKS;
	}
}

/* sum [QUADS][T][REGS] of row n of all streams. */
ALWAYS void
quads_dots(reg *sum, const struct i8_x *x, int T, const struct mat *w, const struct streams *z,
    int n, enum dtype t)
{
	const int units = i8_units(t), blocks = w->cols / I8_BLOCK, cut = w->cols % I8_BLOCK;
	struct i8_quad q[QUADS];
	struct i8_scales s;

	for (int i = 0; i < QUADS; i++)
		quad_begin(&q[i], w, z, 4 * i, n);
	for (int i = 0; i < QUADS * T * REGS; i++)
		sum[i] = r_zero();
	for (int b = 0; b < blocks; b++, x += T)
		_Pragma("GCC unroll 1")
		for (int i = 0; i < QUADS; i++) {
			scales_of(&s, q[i].row, q[i].group, w->factor, t);
			block_dots(sum + i * T * REGS, T, x, &q[i], &s, units, t);
			quad_skip(&q[i], t);
		}
	for (int i = 0; i < QUADS && cut; i++) {
		const int groups = (cut + CHUNK * i8_each(t) - 1) / (CHUNK * i8_each(t));
		struct i8_cut zeros;

		quad_cut(&q[i], &zeros, w, w->cols - cut);
		scales_of(&s, q[i].row, q[i].group, w->factor, t);
		scales_cut(&s, groups, i8_crossed(t));
		block_dots(sum + i * T * REGS, T, x, &q[i], &s,
		    (groups + 2 * L - 1) / (2 * L), t);
	}
}

/* The lanes of row n of streams i .. i+3 as their sums. */
INLINE void
quad_store(float *out, const reg sum[REGS], const struct streams *z, int i, int n, enum dtype t)
{
	float l[4][4];

	UNROLL
	for (int j = 0; j < REGS; j++)
		r_store(l[0] + j * W, sum[j]);
	for (int r = 0; r < 4; r++) {
		const int row = z->n0 + (i + r) * z->rows + n;

		if (row < z->n1)
			out[row] = canonical((i8_crossed(t) ?
			    (l[0][r] + l[1][r]) + (l[2][r] + l[3][r]) :
			    (l[0][r] + l[2][r]) + (l[1][r] + l[3][r])) + 0);
	}
}

/* T <= I8_ROWS rows of x that XBLOCKS have room for. */
INLINE void
gemv(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1, enum dtype t)
{
	const struct streams z = streams_of(w, n0, n1, 4 * QUADS);
	struct i8_x rounded[XBLOCKS];
	reg sum[QUADS * I8_ROWS * REGS];

	x_round(rounded, x, ldx, T, w->cols, t);
	for (int n = 0; n < z.rows; n++) {
		if (T == 1)
			quads_dots(sum, rounded, 1, w, &z, n, t);
		else
			quads_dots(sum, rounded, T, w, &z, n, t);
		for (int i = 0; i < QUADS; i++)
			for (int m = 0; m < T; m++)
				quad_store(out + m * ldo, sum + (i * T + m) * REGS, &z, 4 * i, n,
				    t);
	}
}
