/*
 * The products in registers; included after lanes_avx2.h or lanes_avx512.h.  For a few rows of x
 * (gemv) weights stream past them (dot_rows); for more, matmul_gemm.h converts each weight once.
 * Each lane of each sum has the operations of matmul_ref.c in their order.
 */
#include "cpu/products.h"

INLINE size_t
size_of(enum dtype t)
{
	return t == F32 ? 4 : t == F8_E4M3 ? 1 : 2;
}

/* W elements of the row from k on, or the first n < W of them. */
INLINE reg
weights(const unsigned char *row, int k, enum dtype t)
{
	const unsigned char *p = row + (size_t)k * size_of(t);

	return t == F32 ? r_load((const void *)p) : t == BF16 ? r_load_bf16(p) : t == F16 ? r_load_f16(p) : r_load_f8(p);
}

INLINE reg
weights_n(const unsigned char *row, int k, int n, enum dtype t)
{
	const unsigned char *p = row + (size_t)k * size_of(t);

	return t == F32 ? r_load_n((const void *)p, n) : t == BF16 ? r_load_bf16_n(p, n) :
	    t == F16 ? r_load_f16_n(p, n) : r_load_f8_n(p, n);
}

/*
 * gemv: a few rows of x.
 */

/* Two registers of the row from column k on, whole.  FP8 comes 256 times too small, what is not a
 * number unmarked. */
INLINE void
weights2(reg *a, reg *b, const unsigned char *row, int k, enum dtype t)
{
	if (t == F8_E4M3) {
		r_load2_f8(row + k, a, b);
	} else {
		*a = weights(row, k, t);
		*b = weights(row, k + W, t);
	}
}

/* s += the lanes of T rows of x with nb rows of w, two registers of each from column k on, the
 * lanes of registers j and j + 1.  FP8 is
 * 256 times too small: one row of x is made 256 times larger, for more the weights are: the
 * products are the same. */
INLINE void
lanes2_of(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const unsigned char *const row[ROWS], int k,
    int j, enum dtype t)
{
	reg a[ROWS], b[ROWS];

	_Pragma("GCC unroll 8")
	for (int i = 0; i < nb; i++) {
		weights2(&a[i], &b[i], row[i], k, t);
		if (t == F8_E4M3 && T > 1) {
			a[i] = r_mul(a[i], r_set(256));
			b[i] = r_mul(b[i], r_set(256));
		}
	}
	_Pragma("GCC unroll 8")
	for (int m = 0; m < T; m++) {
		reg xa = r_load(x + m * ldx + k), xb = r_load(x + m * ldx + k + W);

		if (t == F8_E4M3 && T == 1) {
			xa = r_mul(xa, r_set(256));
			xb = r_mul(xb, r_set(256));
		}
		_Pragma("GCC unroll 8")
		for (int i = 0; i < nb; i++) {
			s[m][i][j % REGS] = r_fma(a[i], xa, s[m][i][j % REGS]);
			s[m][i][(j + 1) % REGS] = r_fma(b[i], xb, s[m][i][(j + 1) % REGS]);
		}
	}
}

ALWAYS void
lanes2(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const unsigned char *const row[ROWS], int k,
    int j, enum dtype t)
{
#ifdef __SANITIZE_ADDRESS__     /* one row of x is the most frequent */
	if (T == 1 && nb == ROWS && t == F8_E4M3) {
		lanes2_of(s, 1, ROWS, x, ldx, row, k, j, F8_E4M3);
		return;
	}
	if (T == 1 && nb == 1 && t != F8_E4M3) {
		lanes2_of(s, 1, 1, x, ldx, row, k, j, t);
		return;
	}
#endif
	lanes2_of(s, T, nb, x, ldx, row, k, j, t);
}

/* The same over the first `cols` columns: at most BLOCK, but all of a single row that is not FP8.
 * What follows in each row is prefetched. */
ALWAYS void
lanes(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const unsigned char *const row[ROWS], int cols,
    size_t ahead, enum dtype t)
{
	const int step = STEP_REGS * W;
	int k = 0;

	if (cols == BLOCK && (nb > 1 || t == F8_E4M3)) {
		UNROLL
		for (; k < BLOCK; k += step) {
			UNROLL
			for (int i = 0; i < nb; i++)
				if ((size_t)k * size_of(t) % 64 == 0)
					prefetch(row[i] + ahead + (size_t)k * size_of(t),
					    (size_t)step * size_of(t));
			UNROLL
			for (int j = 0; j < STEP_REGS; j += 2)
				lanes2(s, T, nb, x, ldx, row, k + j * W, j, t);
		}
		return;
	}
	_Pragma("GCC unroll 1")         /* one row is read in its order: compilers would mix the loads of several steps */
	for (; k + step <= cols; k += step) {
		if (nb == 1 && t != F8_E4M3)
			prefetch(row[0] + ahead + (size_t)k * size_of(t), (size_t)step * size_of(t));
		UNROLL
		for (int j = 0; j < STEP_REGS; j += 2)
			lanes2(s, T, nb, x, ldx, row, k + j * W, j, t);
	}
	for (; k < cols; k += LANES)
		UNROLL
		for (int j = 0; j < REGS; j++) {
			int n = cols - k - j * W;
			reg a[ROWS];

			UNROLL
			for (int i = 0; i < nb; i++)
				a[i] = weights_n(row[i], k + j * W, n, t);
			UNROLL
			for (int m = 0; m < T; m++) {
				reg v = r_load_n(x + m * ldx + k + j * W, n);

				UNROLL
				for (int i = 0; i < nb; i++)
					s[m][i][j] = r_fma(a[i], v, s[m][i][j]);
			}
		}
}

/* b_see of all n <= BLOCK bytes. */
ALWAYS bytes
see(bytes b, const unsigned char *p, int n)
{
	if (n == BLOCK) {
		UNROLL
		for (int c = 0; c < BLOCK; c += 64)
			b = b_see(b, p + c, 64);
		return b;
	}
	for (int c = 0; c < n; c += 64)
		b = b_see(b, p + c, n - c);
	return b;
}

/* Mark the sums of the rows whose FP8 holds a NaN. */
static void __attribute__((noinline, cold))
nan_rows(reg sum[][REGS], int T, int nb, const unsigned char *const row[ROWS], int n)
{
	for (int i = 0; i < nb; i++)
		for (int k = 0; k < n; k++)
			if ((row[i][k] & 0x7f) == 0x7f)
				for (int m = 0; m < T; m++)
					for (int j = 0; j < REGS; j++)
						sum[m * SUMS + i][j] = r_set(NAN);
}

/* sum[m * SUMS + i] = the lanes of row m of x with row n of stream i of w. */
ALWAYS void
dot_rows(reg sum[][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct mat *w, const struct streams *z,
    int n, enum dtype t)
{
	const size_t stride = (size_t)w->cols * size_of(t);
	const unsigned char *row[ROWS], *at[ROWS];
	const float *scale[ROWS], one = 1;
	bytes seen = b_zero();
	reg s[GEMV_ROWS][ROWS][REGS];

	UNROLL
	for (int i = 0; i < nb; i++) {
		int r = stream_row(z, i, n);

		at[i] = row[i] = (const unsigned char *)w->data + (size_t)r * stride;
		if (t == F8_E4M3)
			scale[i] = w->scale ? w->scale + ((size_t)w->row0 + (size_t)r) / BLOCK * (size_t)w->scale_cols : &one;
	}
	zero(s, T, nb);
	for (int k = 0, step = nb > 1 || t == F8_E4M3 ? BLOCK : w->cols; k < w->cols; k += step) {
		int cols = w->cols - k < step ? w->cols - k : step;

		if (t == F8_E4M3)
			zero(s, T, nb);
		lanes(s, T, nb, x + k, ldx, at, cols, z->ahead, t);
		UNROLL
		for (int i = 0; i < nb; i++) {
			if (t == F8_E4M3) {
				reg f = r_set(scale[i][w->scale ? k / BLOCK : 0]);

				seen = see(seen, at[i], cols);
				UNROLL
				for (int m = 0; m < T; m++)
					UNROLL
					for (int j = 0; j < REGS; j++)
						sum[m * SUMS + i][j] = r_fma(f, s[m][i][j], k ? sum[m * SUMS + i][j] : r_zero());
			}
			at[i] += BLOCK * size_of(t);
		}
	}
	if (t != F8_E4M3)
		keep(sum, s, T, nb);
	if (b_nan(seen))
		nan_rows(sum, T, nb, row, w->cols);
}

#include "cpu/quant_lanes.h"

/* As dot_rows, for all types. */
ALWAYS void
beside(reg sum[][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct mat *w,
    const struct streams *z, int n, const struct quant_names *names, enum dtype t)
{
	if (t == Q8 || t == Q4)
		quant_rows(sum, T, nb, x, ldx, w, z, n, names, t);
	else
		dot_rows(sum, T, nb, x, ldx, w, z, n, t);
}

/* T <= GEMV_ROWS rows of x, known when compiled: so are the rows of w that go side by side. */
ALWAYS void
dots(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1, enum dtype t)
{
	struct quant_names names;
	reg sum[GEMV_ROWS * SUMS][REGS];
	const int half = GEMV_HALF(T, t), nb = GEMV_BESIDE(half);
	const struct streams z = streams_of(w, n0, n1, nb);

	if (t == Q4 || t == Q8)
		quant_table(names.scale, w->factor);
	if (t == Q4)
		quant_levels_of(names.level, names.scale);
	sums_zero(sum, T);
	for (int n = 0; n < z.rows; n += SUMS / nb) {
		for (int i = 0; i < SUMS / nb && n + i < z.rows; i++) {
			reg (*to)[REGS] = sum + i * nb;

			beside(to, half, nb, x, ldx, w, &z, n + i, &names, t);
			if (half < T)
				beside(to + half * SUMS, T - half, nb, x + half * ldx, ldx, w, &z,
				    n + i, &names, t);
		}
		for (int m = 0; m < T; m++)
			streams_store(out + m * ldo, sum + m * SUMS, &z, n);
	}
}

#define DOTS(T, t) case (T): dots(out, ldo, x, ldx, (T), w, n0, n1, (t)); return
#define GEMV_OF(NAME, t)                                                                                         \
static void                                                                                                     \
NAME(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)      \
{                                                                                                               \
	switch (T) {                                                                                            \
	EACH_GEMV(DOTS, t);                                                                                      \
	}                                                                                                       \
}
GEMV_OF(gemv_f32, F32)
GEMV_OF(gemv_bf16, BF16)
GEMV_OF(gemv_f16, F16)
GEMV_OF(gemv_f8, F8_E4M3)
GEMV_OF(gemv_q8, Q8)
GEMV_OF(gemv_q4, Q4)

/* Whether 256 x might overflow. */
static int
huge(const float *x, int n)
{
	reg m = r_zero();
	float l[W];
	int i, yes = 0;

	for (i = 0; i < n; i += W)
		m = r_max(r_abs(r_load_n(x + i, n - i)), m);
	r_store(l, m);
	for (i = 0; i < W; i++)
		yes |= l[i] >= 0x1p120f;
	return yes;
}

#include "cpu/matmul_gemm.h"
#include "cpu/matmul_gemm_cached.h"

/* Whether w is, or may well be, in a cache, and read several times. */
static int
is_cached(int T, const struct mat *w)
{
	return w->cols <= KC && ((w->prefetch && T > 1 && (w->dtype == F32 || w->dtype == BF16)) ||
	    (w->dtype == F32 && T > GEMV_ROWS));
}

void
KERNELS_ISA(product)(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, int n0, int n1)
{
	void (*const gemv[])(float *, ptrdiff_t, const float *, ptrdiff_t, int, const struct mat *, int, int) = {
		[F32] = gemv_f32, [BF16] = gemv_bf16, [F16] = gemv_f16, [F8_E4M3] = gemv_f8, [Q8] = gemv_q8, [Q4] = gemv_q4};
	struct kernels ref;

	if (is_cached(T, w) && n1 - n0 >= CN) {
		gemm_cached(out, ldo, x, ldx, T, w, n0, n1);
	} else if (T == 1 && w->dtype == F8_E4M3 && huge(x, w->cols)) {
		matmul_ref(&ref);
		ref.matmul(out, ldo, x, ldx, T, w, n0, n1);
	} else if (T <= GEMV_ROWS && is_block(w->dtype)) {
		KERNELS_ISA(gemv_blocks)(out, ldo, x, ldx, T, w, n0, n1);
	} else if (T <= GEMV_ROWS) {
		gemv[w->dtype](out, ldo, x, ldx, T, w, n0, n1);
	} else {
		gemm(out, ldo, x, ldx, T, w, n0, n1);
	}
}

#include "cpu/matmul_t_lanes.h"

static void
row(float *out, const struct mat *w, int r)
{
	const int most = is_block(w->dtype) ? BLOCK_COLS : BLOCK;

	r = mat_zipped(w, r);
	for (int c = 0; c < w->cols; c += most) {
		int n = w->cols - c < most ? w->cols - c : most;
		float tile[BLOCK_COLS];
		reg scale = r_set(w->dtype == F8_E4M3 ? mat_scale(w, r, c) : 1);

		rows_fill(tile, 0, LANES, w, r, r, 1, c, n, most);
		for (int i = 0; i < n; i += W)
			r_store_n(out + c + i, r_canon(r_mul(r_load(tile + i), scale)), n - i);
	}
}

void
KERNELS_ISA(matmul)(struct kernels *k)
{
	k->matmul = KERNELS_ISA(product);
	k->matmul_t = matmul_t;
	k->row = row;
}
