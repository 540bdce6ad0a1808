/*
 * gemv of FP8 where one instruction looks up 64 bytes in a table of 128: AVX-512 with VBMI.  A code
 * without its sign is such an index, and what it stands for is a BF16 with nothing below it, NaNs
 * included.  The steps of each sum are those of matmul_lanes.h.
 */
#include "cpu/lanes_avx512.h"
#include "cpu/products.h"

enum { CODES = 64, CODE_REGS = CODES / LANES };   /* columns that are converted together */

/* The BF16 of codes 0 .. 127, four multiples of 2^-9 first. */
#define TINY(m) ((m) < 2 ? (m) * 118 << 7 : \
	(m) < 4 ? 119 << 7 | ((m) & 1) << 6 : 120 << 7 | ((m) & 3) << 5)
#define BF16_OF(c) ((c) == 127 ? 0x7fc0 : (c) < 8 ? TINY(c) : ((c) / 8 + 120) << 7 | (c) % 8 << 4)
#define LOW(c) (unsigned char)(BF16_OF(c) & 0xff)
#define HIGH(c) (unsigned char)(BF16_OF(c) >> 8)
#define FOUR(OF, c) OF(c), OF(c + 1), OF(c + 2), OF(c + 3)
#define SIXTEEN(OF, c) FOUR(OF, c), FOUR(OF, c + 4), FOUR(OF, c + 8), FOUR(OF, c + 12)
#define ALL(OF) SIXTEEN(OF, 0), SIXTEEN(OF, 16), SIXTEEN(OF, 32), SIXTEEN(OF, 48), \
	SIXTEEN(OF, 64), SIXTEEN(OF, 80), SIXTEEN(OF, 96), SIXTEEN(OF, 112)

/* Unpacking two registers of bytes takes 8 of each 16 in turn.  Column 16 r + 4 q + d must be byte
 * 16 q + 8 (r / 2) + 2 d + r % 2, so that it ends up in lane 4 q + d of register r. */
#define COLUMN(b) (unsigned char)((b) / 8 % 2 * 32 + (b) % 2 * 16 + (b) / 16 * 4 + (b) / 2 % 4)

static const unsigned char low_bytes[128] = { ALL(LOW) }, high_bytes[128] = { ALL(HIGH) };
static const unsigned char columns[CODES] = { SIXTEEN(COLUMN, 0), SIXTEEN(COLUMN, 16),
    SIXTEEN(COLUMN, 32), SIXTEEN(COLUMN, 48) };

/* What stays in registers. */
struct tables {
	bytes low[2], high[2], columns, sign, upper;
};

INLINE struct tables
tables(void)
{
	struct tables t = {
		{ _mm512_loadu_si512(low_bytes), _mm512_loadu_si512(low_bytes + 64) },
		{ _mm512_loadu_si512(high_bytes), _mm512_loadu_si512(high_bytes + 64) },
		_mm512_loadu_si512(columns), _mm512_set1_epi8((char)0x80),
		_mm512_set1_epi32((int)0xffff0000) };

	KEEP(t.low[0]);
	KEEP(t.low[1]);
	KEEP(t.high[0]);
	KEEP(t.high[1]);
	KEEP(t.columns);
	KEEP(t.sign);
	KEEP(t.upper);
	return t;
}

/* The weights of 64 codes. */
INLINE void
weights(reg to[CODE_REGS], const struct tables *t, bytes codes)
{
	bytes low, high, a, b;

	codes = _mm512_permutexvar_epi8(t->columns, codes);
	low = _mm512_permutex2var_epi8(t->low[0], codes, t->low[1]);
	high = _mm512_permutex2var_epi8(t->high[0], codes, t->high[1]);
	high = _mm512_ternarylogic_epi64(high, codes, t->sign, 0xf8);   /* high | (codes & sign) */
	a = _mm512_unpacklo_epi8(low, high);
	b = _mm512_unpackhi_epi8(low, high);
	to[0] = _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
	to[1] = _mm512_castsi512_ps(_mm512_and_si512(a, t->upper));
	to[2] = _mm512_castsi512_ps(_mm512_slli_epi32(b, 16));
	to[3] = _mm512_castsi512_ps(_mm512_and_si512(b, t->upper));
}

/* s += the first n <= CODES columns of T rows of x with nb rows of w; `whole` says n == CODES. */
ALWAYS void
step(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx,
    const unsigned char *const row[ROWS], int whole, int n, const struct tables *t)
{
	UNROLL
	for (int i = 0; i < nb; i++) {
		reg v[CODE_REGS];

		weights(v, t, whole ? _mm512_loadu_si512(row[i]) :
		    _mm512_maskz_loadu_epi8((1ull << n) - 1, row[i]));
		UNROLL
		for (int m = 0; m < T; m++)
			UNROLL
			for (int j = 0; j < CODE_REGS; j++) {
				const float *at = x + m * ldx + j * W;

				if (whole || j * W < n)
					s[m][i][0] = r_fma(v[j], whole ? r_load(at) :
					    r_load_n(at, n - j * W), s[m][i][0]);
			}
	}
}

/* s = the lanes of a block of the given columns.  What follows in each row is prefetched. */
ALWAYS void
block(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx,
    const unsigned char *const row[ROWS], int cols, size_t ahead, const struct tables *t)
{
	const unsigned char *at[ROWS];

	zero(s, T, nb);
	for (int k = 0; k < cols; k += CODES) {
		UNROLL
		for (int i = 0; i < nb; i++) {
			at[i] = row[i] + k;
			prefetch(at[i] + ahead, CODES);
		}
		if (cols - k >= CODES)
			step(s, T, nb, x + k, ldx, at, 1, CODES, t);
		else
			step(s, T, nb, x + k, ldx, at, 0, cols - k, t);
	}
}

/* sum[m * SUMS + i] = the lanes of row m of x with row n of stream i of w. */
ALWAYS void
dot_rows(reg sum[][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct mat *w,
    const struct streams *z, int n, const struct tables *t)
{
	const float *scale[ROWS], one = 1;
	const unsigned char *row[ROWS];
	reg s[GEMV_ROWS][ROWS][REGS], all[GEMV_ROWS][ROWS][REGS];

	UNROLL
	for (int i = 0; i < nb; i++) {
		int r = stream_row(z, i, n);
		size_t of = ((size_t)w->row0 + (size_t)r) / BLOCK;

		row[i] = mat_at(w, r);
		scale[i] = w->scale ? w->scale + of * (size_t)w->scale_cols : &one;
	}
	zero(all, T, nb);
	for (int k = 0; k < w->cols; k += BLOCK) {
		if (w->cols - k >= BLOCK)
			block(s, T, nb, x + k, ldx, row, BLOCK, z->ahead, t);
		else
			block(s, T, nb, x + k, ldx, row, w->cols - k, z->ahead, t);
		UNROLL
		for (int i = 0; i < nb; i++) {
			reg f = r_set(scale[i][w->scale ? k / BLOCK : 0]);

			UNROLL
			for (int m = 0; m < T; m++)
				all[m][i][0] = r_fma(f, s[m][i][0], all[m][i][0]);
			row[i] += BLOCK;
		}
	}
	keep(sum, all, T, nb);
}

/* T rows of x, known when compiled. */
ALWAYS void
dots(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1)
{
	const int half = T <= 4 ? T : (T + 1) / 2;      /* more have no room in registers */
	const struct streams z = streams_of(w, n0, n1, ROWS);
	const struct tables t = tables();
	reg sum[GEMV_ROWS * SUMS][REGS];

	sums_zero(sum, T);
	for (int n = 0; n < z.rows; n += SUMS / ROWS) {
		for (int i = 0; i < SUMS / ROWS && n + i < z.rows; i++) {
			reg (*to)[REGS] = sum + i * ROWS;

			dot_rows(to, half, ROWS, x, ldx, w, &z, n + i, &t);
			if (half < T)
				dot_rows(to + half * SUMS, T - half, ROWS, x + half * ldx, ldx, w,
				    &z, n + i, &t);
		}
		for (int m = 0; m < T; m++)
			streams_store(out + m * ldo, sum + m * SUMS, &z, n);
	}
}

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1)
{
	if (w->dtype != F8_E4M3 || T > GEMV_ROWS) {
		KERNELS_ISA(product)(out, ldo, x, ldx, T, w, n0, n1);
		return;
	}
	switch (T) {
#define DOTS(T, t) case (T): dots(out, ldo, x, ldx, (T), w, n0, n1); return
	EACH_GEMV(DOTS, F8_E4M3);
	}
}

void
matmul_vbmi(struct kernels *k)
{
	k->matmul = matmul;
}
