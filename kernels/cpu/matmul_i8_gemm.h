/*
 * The products of i8 for many rows of x: a part of matmul_i8_lanes.h.  The weights of 16 outputs
 * and some columns are turned once, so that a register has four bytes of each output.  The rows of
 * x go past them, I8_MR at a time: codes of x are loaded as they are multiplied, in all places.
 *
 * The lanes of the contract are chains of groups; each runs by itself, in one register a row of x.
 */
enum {
	OUTPUTS = 16,                   /* of a panel */
	PANEL = 4 * I8_BLOCK,           /* columns of a panel */
	PANELS = 4,                     /* of other outputs, for which columns of x stay in L2 */
	XCODES = 1 << 20,               /* codes of x that are kept, of at most */
	XROWS = 256                     /* rows */
};

/* Some columns of 16 outputs. */
struct i8_panel {
	signed char code[PANEL / 4][OUTPUTS][4];
	float scale[PANEL / CHUNK][OUTPUTS], minimum[PANEL / I8_GROUP][OUTPUTS];
	int groups;                     /* that the row has */
} __attribute__((aligned(64)));

/* I8_MR rows of x: of each group of weights' columns. */
struct i8_tile {
	const signed char *code;        /* [groups][I8_MR][columns of a group] */
	const float *scale;             /* [groups of x][I8_MR] */
	const int *begin;               /* [groups][I8_MR]: what makes up for i8_more */
	const float *sum;               /* [groups][I8_MR]: scale times the sum of codes */
};

struct i8_gemm {
	signed char code[XCODES];
	float scale[XCODES / I8_GROUP];
	union {
		int begin[XCODES / CHUNK];
		float sum[XCODES / I8_GROUP];           /* of types with minima, which begin at 0 */
	};
	struct i8_panel panel;
	float lanes[PANELS][XROWS * I8_LANES * OUTPUTS];  /* [tiles][I8_LANES][I8_MR][OUTPUTS] */
} __attribute__((aligned(64)));

INLINE int
i8_columns(enum dtype t)
{
	return i8_each(t) * CHUNK;
}

/* Where the scales of x begin for a group of weights' columns. */
INLINE size_t
scale_at(size_t group, enum dtype t)
{
	return group * (size_t)i8_each(t) / 2 * I8_MR;
}

/* Row m of a tile: a block of n columns, n > 0, then zeros, from group `first` on. */
ALWAYS void
tile_block(struct i8_gemm *s, size_t group, int m, const float *x, int n,
    const struct i8_scaled *scales, int first, int more, enum dtype t)
{
	const int each = i8_each(t), columns = i8_columns(t);
	const float *scale = scales->scale + first;
	signed char *place[CHUNKS];
	int sum[2][I8_BLOCK / I8_GROUP];

	UNROLL16
	for (int c = 0; c < CHUNKS; c++)
		place[c] = s->code + ((group + (size_t)(c / each)) * I8_MR + (size_t)m) *
		    (size_t)columns + c % each * CHUNK;
	x_codes(place, more || i8_has_minimum(t) ? sum : NULL, x, n, scales->inverse + first);
	if (!scales->finite)
		x_nan(place, more || i8_has_minimum(t) ? sum : NULL, scale);
	UNROLL16
	for (int g = 0; g < CHUNKS / each; g++) {
		const size_t at = (group + (size_t)g) * I8_MR + (size_t)m;
		const int of = each == 1 ? g / 2 : g;
		const int codes = more || i8_has_minimum(t) ? each == 1 ? sum[g % 2][of] :
		    sum[0][of] + sum[1][of] : 0;

		s->scale[scale_at(group + (size_t)g, t) + (size_t)m] = scale[of];
		if (i8_has_minimum(t))
			s->sum[at] = scale[of] * (float)codes;
		else
			s->begin[at] = -more * codes;
	}
}

/* The rows of x in tiles, the last filled up with zeros. */
ALWAYS void
tiles_round_of(struct i8_gemm *s, const float *x, ptrdiff_t ldx, int T, int cols, int groups,
    int more, enum dtype t)
{
	const size_t last = (size_t)(T / I8_MR * groups) * I8_MR, n = (size_t)groups * I8_MR;
	struct i8_scaled scales;

	if (T % I8_MR) {
		memset(s->code + last * (size_t)i8_columns(t), 0, n * (size_t)i8_columns(t));
		memset(s->scale + scale_at(last / I8_MR, t), 0,
		    scale_at((size_t)groups, t) * sizeof(*s->scale));
		memset(s->begin + last, 0, n * sizeof(*s->begin));
	}
	for (int m = 0; m < T; m++)
		for (int k = 0; k < cols; k += I8_BLOCK) {
			const float *p = x + m * ldx + k;

			if (k % I8_PART == 0)
				x_scales(&scales, p, cols - k);
			/* (past the end of a row, the next one) */
			prefetch((const void *)(p + I8_PART), I8_BLOCK * sizeof(*p));
			tile_block(s, (size_t)(m / I8_MR) * (size_t)groups +
			    (size_t)(k / i8_columns(t)), m % I8_MR, p, cols - k, &scales,
			    k % I8_PART / I8_GROUP, more, t);
		}
}

#define TILES_ROUND_OF(t)                                                                       \
static void __attribute__((noinline))                                                           \
tiles_round_##t(struct i8_gemm *s, const float *x, ptrdiff_t ldx, int T, int cols, int groups,  \
    int more)                                                                                   \
{                                                                                               \
	tiles_round_of(s, x, ldx, T, cols, groups, more, t);                                    \
}
EACH_I8_X(TILES_ROUND_OF)

static void
tiles_round(struct i8_gemm *s, const float *x, ptrdiff_t ldx, int T, int cols, int groups,
    enum dtype t)
{
	switch (i8_x_kind(t)) {
#define CASE(kind) \
	case kind: \
		tiles_round_##kind(s, x, ldx, T, cols, groups, i8_more(t)); \
		return;
	EACH_I8_X(CASE)
#undef CASE
	default:
		return;
	}
}

/* The scales of four rows of a block, from row r of the panel and a group on. */
ALWAYS void
panel_scales(struct i8_panel *p, const struct i8_quad *q, float factor, int r, int group,
    enum dtype t)
{
	struct i8_scales scales;

	scales_of(&scales, q->row, q->group, factor, t);
	UNROLL16
	for (int i = 0; i < CHUNKS / i8_each(t); i++) {
		const int g = group + i8_slot(i, t);

		_mm_store_ps(p->scale[g] + r, _mm_load_ps(scales.scale[i]));
		if (i8_has_minimum(t))
			_mm_store_ps(p->minimum[g] + r, _mm_load_ps(scales.minimum[i]));
	}
}

/* Register i of codes of unit u of 16 rows goes to the panel, from chunk `to` on.  What has two
 * codes in a byte is turned first: then it has registers of both. */
ALWAYS void
panel_codes(struct i8_panel *p, const struct i8_quad *q, int to, int u, int i, enum dtype t)
{
	const int halved = i8_halved(t), low = t == Q4_K ? i : 2 * i;
	vec v[OUTPUTS], code[4];

	UNROLL16
	for (int r = 0; r < OUTPUTS; r++) {
		vec raw[4];

		raw_unit(raw, q[r / 4].row[r % 4], u, t);
		if (!halved)
			codes_of(code, raw, u, t);
		v[r] = halved ? raw[i] : code[i];
	}
	v_turn(v);
	UNROLL16
	for (int j = 0; j < OUTPUTS; j++) {
		const int column = j * L / 4, lane = column / 4, part = j % (4 / L) * 4 * L;
		const int at = 4 * (to + i8_chunk(halved ? low : i, lane, t)) + column % 4;

		if (halved) {
			const int high = 4 * (to + i8_chunk(low + (t == Q4_K ? 2 : 1), lane, t)) +
			    column % 4;

			codes_halves(&code[0], &code[1], v[j], t);
			v_store(p->code[at][part], code[0]);
			v_store(p->code[high][part], code[1]);
		} else {
			v_store(p->code[at][part], v[j]);
		}
	}
}

/* The columns k .. of the outputs from n on, none beyond `last`. */
ALWAYS void
panel_fill_of(struct i8_panel *p, const struct mat *w, int n, int last, int k, int cols,
    enum dtype t)
{
	const int each = i8_each(t), registers = i8_halved(t) ? each : 2 * each;
	struct i8_quad q[OUTPUTS / 4];

	for (int r = 0; r < OUTPUTS; r++) {
		const int row = n + r < last ? n + r : last;

		q[r / 4].row[r % 4] = mat_at(w, row) + row_bytes(t, k);
		q[r / 4].group[r % 4] = w->groups ? w->groups + (size_t)row * mat_groups(w) +
		    k / QUANT_GROUP : NULL;
	}
	for (int c = 0; c < cols; c += I8_BLOCK) {
		struct i8_cut zeros[OUTPUTS / 4];

		for (int r = 0; r < OUTPUTS / 4; r++) {
			if (cols - c < I8_BLOCK)
				quad_cut(&q[r], &zeros[r], w, k + c);
			panel_scales(p, &q[r], w->factor, 4 * r, c / i8_columns(t), t);
		}
		UNROLL
		for (int u = 0; u < i8_units(t); u++)
			UNROLL
			for (int i = 0; i < registers; i++)
				panel_codes(p, q, c / CHUNK + u * 2 * L * each, u, i, t);
		for (int r = 0; r < OUTPUTS; r++) {
			q[r / 4].row[r % 4] += i8_bytes(t);
			if (t == Q8 || t == Q4)
				q[r / 4].group[r % 4] += CHUNKS;
		}
	}
	p->groups = (cols + i8_columns(t) - 1) / i8_columns(t);
}

#define PANEL_FILL_OF(t)                                                                        \
static void __attribute__((noinline))                                                           \
panel_fill_##t(struct i8_panel *p, const struct mat *w, int n, int last, int k, int cols)       \
{                                                                                               \
	panel_fill_of(p, w, n, last, k, cols, t);                                               \
}
EACH_I8(PANEL_FILL_OF)

static void
panel_fill(struct i8_panel *p, const struct mat *w, int n, int last, int k, int cols)
{
	switch (w->dtype) {
#define CASE(t) case t: panel_fill_##t(p, w, n, last, k, cols); return;
	EACH_I8(CASE)
#undef CASE
	default:
		return;
	}
}

#ifdef I8_TILES
#include "cpu/matmul_i8_tiles.h"
#else
/* lanes [I8_LANES][I8_MR][OUTPUTS] += W outputs of the panel from output `at` on, times mr rows of
 * x. */
INLINE void
tile_dots(float *lanes, const struct i8_panel *w, const struct i8_tile *x, int mr, int at,
    int begin, enum dtype t)
{
	const int columns = i8_columns(t);

	for (int lane = 0; lane < I8_LANES; lane++, lanes += I8_MR * OUTPUTS) {
		reg sum[I8_MR];

		UNROLL16
		for (int m = 0; m < mr; m++)
			sum[m] = begin ? r_zero() : r_load(lanes + m * OUTPUTS + at);
		for (int g = lane; g < w->groups; g += I8_LANES) {
			const signed char *code = x->code + g * I8_MR * columns;
			const float *x_scale = x->scale + scale_at((size_t)g, t);
			reg scale = r_load(w->scale[g] + at);
			vec p[I8_MR];

			UNROLL16
			for (int m = 0; m < mr; m++)
				p[m] = i8_more(t) ? v_set32(x->begin + g * I8_MR + m) : v_zero();
			UNROLL
			for (int d = 0; d < columns / 4; d++) {
				vec v = v_load(w->code[g * columns / 4 + d][at]);

				UNROLL16
				for (int m = 0; m < mr; m++) {
					vec c = v_set32(code + m * columns + 4 * d);

					p[m] = i8_full(t) ? v_dot_signed(p[m], v, c) :
					    v_dot(p[m], v, c);
				}
			}
			UNROLL16
			for (int m = 0; m < mr; m++) {
				reg f = r_mul(r_set(x_scale[m]), v_float(p[m]));

				sum[m] = r_fma(scale, f, sum[m]);
				if (i8_has_minimum(t))
					sum[m] = r_fma(r_load(w->minimum[g] + at),
					    r_set(x->sum[g * I8_MR + m]), sum[m]);
			}
		}
		UNROLL16
		for (int m = 0; m < mr; m++)
			r_store(lanes + m * OUTPUTS + at, sum[m]);
	}
}

/* lanes += the panel times mr rows of x, or more */
ALWAYS void
tile_multiply_of(float *lanes, const struct i8_panel *w, const struct i8_tile *x, int mr, int begin,
    enum dtype t)
{
	for (int j = 0; j < OUTPUTS; j += W)
		if (mr > I8_MR / 2)
			tile_dots(lanes, w, x, I8_MR, j, begin, t);
		else
			tile_dots(lanes, w, x, I8_MR / 2, j, begin, t);
}

INLINE void
tiles_begin(enum dtype t)
{
	(void)t;
}

INLINE void
tiles_end(void)
{
}
#endif

#define TILE_MULTIPLY_OF(t)                                                                     \
static void __attribute__((noinline))                                                           \
tile_multiply_##t(float *lanes, const struct i8_panel *w, const struct i8_tile *x, int mr,      \
    int begin)                                                                                  \
{                                                                                               \
	tile_multiply_of(lanes, w, x, mr, begin, t);                                            \
}
EACH_I8_PRODUCT(TILE_MULTIPLY_OF)

static void
tile_multiply(float *lanes, const struct i8_panel *w, const struct i8_tile *x, int mr, int begin,
    enum dtype t)
{
	switch (i8_product_kind(t)) {
#define CASE(kind) case kind: tile_multiply_##kind(lanes, w, x, mr, begin); return;
	EACH_I8_PRODUCT(CASE)
#undef CASE
	default:
		return;
	}
}

/* The panel of the outputs from n on, none beyond `last`, and columns k .. */
struct i8_place {
	int n, last, k;
};

/* What rows from .. to-1 of a panel will be made from, into L2; it may begin within a line. */
static void
panel_prefetch(const struct mat *w, const struct i8_place *p, int from, int to)
{
	const int cols = w->cols - p->k < PANEL ? w->cols - p->k : PANEL;
	const size_t size = row_bytes(w->dtype, cols), groups = mat_groups(w);

	for (int r = from; r < to && r < OUTPUTS; r++) {
		const int row = p->n + r < p->last ? p->n + r : p->last;
		const unsigned char *q = mat_at(w, row) + row_bytes(w->dtype, p->k);

		for (size_t i = 0; i < size + 64; i += 64)
			prefetch(q + i, 64);
		if (w->groups)
			prefetch(w->groups + (size_t)row * groups + p->k / QUANT_GROUP, 128);
	}
}

/* The panel with T rows of x from `group` of all groups on, while what comes next is prefetched. */
static void
panel_dots(struct i8_gemm *s, float *lanes, int T, int group, int groups, const struct mat *w,
    const struct i8_place *next)
{
	const enum dtype t = w->dtype;
	const int tiles = (T + I8_MR - 1) / I8_MR, rows = (OUTPUTS + tiles - 1) / tiles;

	for (int i = 0; i < tiles; i++, lanes += I8_MR * I8_LANES * OUTPUTS) {
		const int left = T - i * I8_MR;
		const size_t at = (size_t)i * (size_t)groups + (size_t)group;
		const struct i8_tile x = { s->code + at * I8_MR * (size_t)i8_columns(t),
		    s->scale + scale_at(at, t), s->begin + at * I8_MR, s->sum + at * I8_MR };

		panel_prefetch(w, next, i * rows, (i + 1) * rows);
		tile_multiply(lanes, &s->panel, &x, left < I8_MR ? left : I8_MR, group == 0, t);
	}
}

/* The sums of T rows of x for n outputs. */
static void
lanes_store(float *out, ptrdiff_t ldo, const float *lanes, int T, int n)
{
	const int step = I8_MR * OUTPUTS;

	for (int m = 0; m < T; m++)
		for (int j = 0; j < OUTPUTS; j += W) {
			const float *p = lanes + m / I8_MR * I8_LANES * step +
			    m % I8_MR * OUTPUTS + j;
			reg even = r_add(r_load(p), r_load(p + 2 * step));
			reg odd = r_add(r_load(p + step), r_load(p + 3 * step));

			r_store_n(out + m * ldo + j, r_canon(r_add(r_add(even, odd), r_zero())),
			    n - j);
		}
}

/* Outputs from n on, at most PANELS panels, of all that there are. */
static void
panels(struct i8_gemm *s, int T, const struct mat *w, int n, int end)
{
	const int each = i8_each(w->dtype), last = n + PANELS * OUTPUTS;
	const int groups = (w->cols + I8_BLOCK - 1) / I8_BLOCK * (CHUNKS / each);
	struct i8_place p = { n, end - 1, 0 };

	while (p.k < w->cols) {
		const int cols = w->cols - p.k < PANEL ? w->cols - p.k : PANEL;
		const int j = (p.n - n) / OUTPUTS, group = p.k / i8_columns(w->dtype);
		struct i8_place next;

		panel_fill(&s->panel, w, p.n, end - 1, p.k, cols);
		p.n += OUTPUTS;
		if (p.n >= end || p.n >= last) {
			p.n = n;
			p.k += PANEL;
		}
		next = p.k < w->cols ? p : (struct i8_place){ last, end - 1, 0 };
		panel_dots(s, s->lanes[j], T, group, groups, w, &next);
	}
}

/* T <= XROWS rows of x that XCODES have room for. */
static void
gemm(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1)
{
	const enum dtype t = w->dtype;
	const int groups = (w->cols + I8_BLOCK - 1) / I8_BLOCK * (CHUNKS / i8_each(t));
	struct i8_gemm s;

	tiles_round(&s, x, ldx, T, w->cols, groups, t);
	tiles_begin(t);
	for (int n = n0; n < n1; n += PANELS * OUTPUTS) {
		panels(&s, T, w, n, n1);
		for (int j = n; j < n1 && j < n + PANELS * OUTPUTS; j += OUTPUTS)
			lanes_store(out + j, ldo, s.lanes[(j - n) / OUTPUTS], T, n1 - j);
	}
	tiles_end();
}
