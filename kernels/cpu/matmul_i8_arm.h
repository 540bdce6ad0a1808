/*
 * The products of i8 in NEON: the body of matmul_i8_neon.c, and with I8_DOT or I8_MATRIX defined of
 * matmul_i8_dot.c and matmul_i8_i8mm.c.  Sums within a group are exact, so they have any order; the
 * lanes have that of matmul_i8_ref.c.
 *
 * Four rows of w go side by side: a register has a lane of the contract for each.  256 columns of
 * them become bytes and scales once for all rows of x.
 */
#include "cpu/lanes_neon.h"
#include "cpu/products.h"
#include "cpu/i8.h"
#include "cpu/blocks_unpack.h"

enum {
	PART = 256,             /* columns */
	XPARTS = 512,           /* parts of x that are kept, of at most */
	XROWS = 64              /* rows */
};

struct x_part {
	signed char code[PART];
	float scale[PART / I8_GROUP], sum[PART / I8_GROUP];     /* sum: scale times that of codes */
};

/* Four rows of w. */
struct quad {
	signed char code[4][PART];
#ifdef I8_MATRIX
	signed char pair[2][PART * 2];          /* of two rows each, 8 columns in turn */
#endif
	float scale[PART / 16][4];
	float minimum[PART / 32][4];
};

/* 32 numbers, all there, as i8_round. */
static float
round_group(signed char code[I8_GROUP], const float *x)
{
	int32x4_t c[8];
	reg most = r_zero();
	float m;

	for (int i = 0; i < 8; i++)
		most = vmaxq_f32(most, r_abs(r_load(x + i * W)));       /* a NaN stays one */
	m = vmaxvq_f32(most);
	memset(code, 0, I8_GROUP);
	if (!(m < INFINITY))
		return float_of_bits(0x7fc00000);
	if (m < I8_LEAST)
		return 0;
	for (int i = 0; i < 8; i++)
		c[i] = vcvtnq_s32_f32(r_mul(r_load(x + i * W), r_set(I8_MOST / m)));
	for (int i = 0; i < 8; i += 4) {
		int16x8_t a = vcombine_s16(vmovn_s32(c[i]), vmovn_s32(c[i + 1]));
		int16x8_t b = vcombine_s16(vmovn_s32(c[i + 2]), vmovn_s32(c[i + 3]));

		vst1q_s8(code + i * W, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
	}
	return m / I8_MOST;
}

/* The columns of a part, then zeros. */
static void
round_part(struct x_part *to, const float *x, int n)
{
	for (int g = 0; g < PART / I8_GROUP; g++) {
		signed char *code = to->code + g * I8_GROUP;
		int left = n - g * I8_GROUP, sum;

		if (left >= I8_GROUP)
			to->scale[g] = round_group(code, x + g * I8_GROUP);
		else
			to->scale[g] = i8_round(code, x + g * I8_GROUP, left);
		sum = vaddlvq_s8(vld1q_s8(code)) + vaddlvq_s8(vld1q_s8(code + 16));
		to->sum[g] = to->scale[g] * (float)sum;
	}
}

/* The scales of groups of Q8 and Q4. */
INLINE void
scales_f8(struct quad *q, int r, const unsigned char *group, int n, float factor)
{
	float scale[PART / 16];

	for (int g = 0; g < n; g += W)
		r_store(scale + g, r_mul(r_load_f8_n(group + g, n - g), r_set(factor)));
	for (int g = 0; g < n; g++)
		q->scale[g][r] = scale[g];
}

/* Row r of four: n columns of row `row` of w from column k on. */
INLINE void
quad_row(struct quad *q, int r, const struct mat *w, int row, int k, int n, enum dtype t)
{
	const unsigned char *p = mat_at(w, row) + row_bytes(t, k);
	const int columns = is_block(t) ? block_cols(t) : 32;
	signed char *code = q->code[r];

	if (t == Q8 || t == Q4)
		scales_f8(q, r, w->groups + (size_t)row * mat_groups(w) + k / QUANT_GROUP,
		    (n + QUANT_GROUP - 1) / QUANT_GROUP, w->factor);
	if (t == Q8) {
		memcpy(code, p, (size_t)n);
		memset(code + n, 0, (size_t)(PART - n));
		return;
	}
	for (int c = 0; c < n; c += columns, code += columns, p += row_bytes(t, columns)) {
		struct unpacked u;

		if (t == Q4) {
			store32(code, of_levels(quant_levels, halves(p)));
			continue;
		}
		unpack_scales(&u, p, t);
		memcpy(code, unpack_codes(&u, p, t), (size_t)columns);
		for (int g = 0; g < columns / i8_width(t); g++) {
			q->scale[c / i8_width(t) + g][r] = u.scale[g];
			if (i8_has_minimum(t))
				q->minimum[c / 32 + g][r] = -u.minimum[g];
		}
	}
}

#ifdef I8_MATRIX
static void
quad_pairs(struct quad *q)
{
	for (int i = 0; i < 2; i++)
		for (int c = 0; c < PART; c += 16) {
			int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(q->code[2 * i] + c));
			int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(q->code[2 * i + 1] + c));

			vst1q_s8(q->pair[i] + 2 * c, vreinterpretq_s8_s64(vzip1q_s64(a, b)));
			vst1q_s8(q->pair[i] + 2 * c + 16, vreinterpretq_s8_s64(vzip2q_s64(a, b)));
		}
}
#endif

/* sum + the products of 16 bytes each, in four parts */
INLINE int32x4_t
sixteen_products(int32x4_t sum, int8x16_t a, int8x16_t b)
{
#if defined(I8_DOT) || defined(I8_MATRIX)
	return vdotq_s32(sum, a, b);
#else                           /* two of at most 128 * 127 are no overflow */
	return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b));
#endif
}

/* lane += group g, whose sums of products for the four rows are p. */
INLINE void
lane_add(reg lane[I8_LANES], int32x4_t p, const struct quad *q, const struct x_part *x, int g,
    enum dtype t)
{
	const int of = g * i8_width(t) / I8_GROUP;
	reg f = r_mul(r_set(x->scale[of]), vcvtq_f32_s32(p)), *l = &lane[g % I8_LANES];

	*l = r_fma(r_load(q->scale[g]), f, *l);
	if (i8_has_minimum(t))
		*l = r_fma(r_load(q->minimum[of]), r_set(x->sum[of]), *l);
}

/* lane += the groups of a row of x */
ALWAYS void
row_dots(reg lane[I8_LANES], const struct quad *q, const struct x_part *x, int groups, enum dtype t)
{
	for (int g = 0; g < groups; g++) {
		int32x4_t p[4];

		for (int r = 0; r < 4; r++) {
			p[r] = vdupq_n_s32(0);
			for (int c = g * i8_width(t); c < (g + 1) * i8_width(t); c += 16)
				p[r] = sixteen_products(p[r], vld1q_s8(q->code[r] + c),
				    vld1q_s8(x->code + c));
		}
		lane_add(lane, vpaddq_s32(vpaddq_s32(p[0], p[1]), vpaddq_s32(p[2], p[3])), q, x, g,
		    t);
	}
}

#ifdef I8_MATRIX
/* The same for two rows of x: an instruction makes the four sums of two rows by two. */
ALWAYS void
two_dots(reg lane[2][I8_LANES], const struct quad *q, const struct x_part *x,
    const struct x_part *y, int groups, enum dtype t)
{
	for (int g = 0; g < groups; g++) {
		int32x4_t p[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};

		for (int c = g * i8_width(t); c < (g + 1) * i8_width(t); c += 16) {
			int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(x->code + c));
			int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(y->code + c));
			int8x16_t first = vreinterpretq_s8_s64(vzip1q_s64(a, b));
			int8x16_t second = vreinterpretq_s8_s64(vzip2q_s64(a, b));

			for (int i = 0; i < 2; i++) {
				p[i] = vmmlaq_s32(p[i], vld1q_s8(q->pair[i] + 2 * c), first);
				p[i] = vmmlaq_s32(p[i], vld1q_s8(q->pair[i] + 2 * c + 16), second);
			}
		}
		lane_add(lane[0], vuzp1q_s32(p[0], p[1]), q, x, g, t);
		lane_add(lane[1], vuzp2q_s32(p[0], p[1]), q, y, g, t);
	}
}
#endif

/* Four outputs from n on, none beyond `last`, of T rows of x [T][parts]. */
ALWAYS void
quad_dots(reg lane[XROWS][I8_LANES], const struct x_part *x, int T, const struct mat *w, int n,
    int last, enum dtype t)
{
	const int parts = (w->cols + PART - 1) / PART;
	struct quad q;

	for (int m = 0; m < T; m++)
		for (int l = 0; l < I8_LANES; l++)
			lane[m][l] = r_zero();
	for (int i = 0; i < parts; i++) {
		int cols = w->cols - i * PART < PART ? w->cols - i * PART : PART;
		int groups = (cols + i8_width(t) - 1) / i8_width(t), m = 0;

		for (int r = 0; r < 4; r++)
			quad_row(&q, r, w, n + r < last ? n + r : last, i * PART, cols, t);
#ifdef I8_MATRIX
		if (T > 1)
			quad_pairs(&q);
		for (; m + 2 <= T; m += 2)
			two_dots(lane + m, &q, x + m * parts + i, x + (m + 1) * parts + i, groups,
			    t);
#endif
		for (; m < T; m++)
			row_dots(lane[m], &q, x + m * parts + i, groups, t);
	}
}

/* T rows of x that XROWS and XPARTS have room for. */
ALWAYS void
rows_dots(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int n0, int n1, enum dtype t)
{
	const int parts = (w->cols + PART - 1) / PART;
	struct x_part rounded[XPARTS];
	reg lane[XROWS][I8_LANES];

	for (int m = 0; m < T; m++)
		for (int i = 0; i < parts; i++)
			round_part(&rounded[m * parts + i], x + m * ldx + i * PART,
			    w->cols - i * PART);
	for (int n = n0; n < n1; n += 4) {
		quad_dots(lane, rounded, T, w, n, n1 - 1, t);
		for (int m = 0; m < T; m++) {
			const reg *l = lane[m];
			reg sum = r_add(r_add(l[0], l[2]), r_add(l[1], l[3]));

			r_store_n(out + m * ldo + n, r_canon(r_add(sum, r_zero())), n1 - n);
		}
	}
}

#define ROWS_DOTS(t)                                                                            \
static void __attribute__((noinline))                                                           \
dots_##t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,  \
    int n0, int n1)                                                                             \
{                                                                                               \
	rows_dots(out, ldo, x, ldx, T, w, n0, n1, t);                                           \
}
ROWS_DOTS(Q8)
ROWS_DOTS(Q4)
#define DOTS_OF(name, shared, scale, minimum) ROWS_DOTS(name)
EACH_CODED_BLOCK(DOTS_OF)

static i8_product *
dots_of(enum dtype t)
{
	switch (t) {
	case Q8:
		return dots_Q8;
	case Q4:
		return dots_Q4;
#define CASE(name, shared, scale, minimum) case name: return dots_##name;
	EACH_CODED_BLOCK(CASE)
#undef CASE
	default:
		return NULL;
	}
}

static void
product(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int n0, int n1)
{
	const int parts = (w->cols + PART - 1) / PART, room = parts > 0 ? XPARTS / parts : 0;
	const int rows = room < XROWS ? room : XROWS;
	i8_product *dots = dots_of(w->dtype);

	if (!dots || rows == 0) {
		i8_ref()(out, ldo, x, ldx, T, w, n0, n1);
		return;
	}
	for (int t = 0; t < T; t += rows)
		dots(out + t * ldo, ldo, x + t * ldx, ldx, T - t < rows ? T - t : rows, w, n0, n1);
}
