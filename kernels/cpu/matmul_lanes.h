/*
 * The products in registers: to be included behind lanes_avx2.h or
 * lanes_avx512.h.  One row of x streams the weights past it (dot_rows); more
 * share each tile of weights, converted once (matmul_tiles).  Either way each
 * lane of each sum sees the operations of matmul_ref.c in their order.
 */
#define ALWAYS static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define KEEP(r) __asm__("" : "+v"(r))   /* in a register: compilers would load it for each use */

enum {
	REGS = LANES / W,
	SUMS = 16,              /* outputs whose lanes are added up together */
	ROWS = 4,               /* rows of w beside each other in dot_rows */
	TC = 16,                /* rows of x that share a tile */
	KC = 256,               /* columns of matmul's tile, BLOCK in FP8 */
	RC = 64,                /* rows of matmul_t's tile, a part of BLOCK */
	TW = 64,                /* columns of matmul_t's tile, */
	TR = TW / W,            /* and registers */
	QUANT_STEP = 512,       /* Q8 and Q4: columns whose scales are made ready at once */
	QUANT_LINE = 128        /* and those between requests for the next rows */
};
_Static_assert(SUMS % NB == 0 && SUMS % ROWS == 0 && TC % TB == 0 && KC % BLOCK == 0 && BLOCK % RC == 0 && TR % CB == 0 &&
    QUANT_STEP % QUANT_LINE == 0 && QUANT_GROUP == LANES,
    "blocks fit into one another");

ALWAYS size_t
size_of(enum dtype t)
{
	return t == F32 ? 4 : t == F8_E4M3 ? 1 : 2;
}

/* Element k of the row, and those behind it; n < W of them in the second. */
ALWAYS reg
weights(const unsigned char *row, int k, enum dtype t)
{
	const unsigned char *p = row + (size_t)k * size_of(t);

	return t == F32 ? r_load((const void *)p) : t == BF16 ? r_load_bf16(p) : t == F16 ? r_load_f16(p) : r_load_f8(p);
}

ALWAYS reg
weights_n(const unsigned char *row, int k, int n, enum dtype t)
{
	const unsigned char *p = row + (size_t)k * size_of(t);

	return t == F32 ? r_load_n((const void *)p, n) : t == BF16 ? r_load_bf16_n(p, n) :
	    t == F16 ? r_load_f16_n(p, n) : r_load_f8_n(p, n);
}

ALWAYS reg
r_canon(reg x)
{
	return r_nan(x, x);
}

/* The sums of up to 16 outputs next to one another, written. */
static inline void
sums_store(float *out, reg sum[SUMS][REGS], int n)
{
	reg to[REGS];

	r_tree16(to, sum);
	UNROLL
	for (int j = 0; j < REGS; j++)
		r_store_n(out + j * W, r_canon(to[j]), n - j * W);
}

/*
 * One row of x.
 */

/* s = the lanes of x with each row over the columns from .. to-1.  The FP8 of
 * whole steps comes 256 times too small, for which x is made 256 times larger:
 * the products are the same. */
ALWAYS void
lanes(reg s[ROWS][REGS], const float *x, const unsigned char *const row[ROWS], int from, int to, enum dtype t)
{
	int k;

	UNROLL
	for (int i = 0; i < ROWS; i++)
		UNROLL
		for (int j = 0; j < REGS; j++)
			s[i][j] = r_zero();
	for (k = from; k + 2 * W <= to; k += 2 * W) {
		reg xa = r_load(x + k), xb = r_load(x + k + W), a, b;

		if (t == F8_E4M3) {
			xa = r_mul(xa, r_set(256));
			xb = r_mul(xb, r_set(256));
		}
		UNROLL
		for (int i = 0; i < ROWS; i++) {
			if (t == F8_E4M3) {
				r_load2_f8(row[i] + k, &a, &b);
			} else {
				a = weights(row[i], k, t);
				b = weights(row[i], k + W, t);
			}
			s[i][0] = r_fma(a, xa, s[i][0]);
			s[i][1 % REGS] = r_fma(b, xb, s[i][1 % REGS]);
		}
	}
	for (; k < to; k += LANES)
		UNROLL
		for (int j = 0; j < REGS; j++) {
			reg xj = r_load_n(x + k + j * W, to - k - j * W);

			UNROLL
			for (int i = 0; i < ROWS; i++)
				s[i][j] = r_fma(weights_n(row[i], k + j * W, to - k - j * W, t), xj, s[i][j]);
		}
}

/* Mark the sums of the FP8 rows that hold a NaN. */
static void __attribute__((noinline, cold))
nan_rows(reg sum[ROWS][REGS], const unsigned char *const row[ROWS], int n)
{
	for (int i = 0; i < ROWS; i++)
		for (int k = 0; k < n; k++)
			if ((row[i][k] & 0x7f) == 0x7f)
				for (int j = 0; j < REGS; j++)
					sum[i][j] = r_set(NAN);
}

/* sum = the lanes of x with the rows n, n+1, ... of w, none beyond `last`. */
ALWAYS void
dot_rows(reg sum[ROWS][REGS], const float *x, const struct mat *w, int n, int last, enum dtype t)
{
	const unsigned char *row[ROWS];
	const float *scale[ROWS];
	bytes seen = b_zero();
	reg s[ROWS][REGS];
	float one = 1;

	UNROLL
	for (int i = 0; i < ROWS; i++) {
		int r = n + i < last ? n + i : last;

		row[i] = (const unsigned char *)w->data + (size_t)r * (size_t)w->cols * size_of(t);
		if (t == F8_E4M3)
			scale[i] = w->scale ? w->scale + ((size_t)w->row0 + (size_t)r) / BLOCK * (size_t)w->scale_cols : &one;
	}
	if (t != F8_E4M3) {
		lanes(s, x, row, 0, w->cols, t);
		UNROLL
		for (int i = 0; i < ROWS; i++)
			UNROLL
			for (int j = 0; j < REGS; j++)
				sum[i][j] = s[i][j];
		return;
	}
	UNROLL
	for (int i = 0; i < ROWS; i++)
		UNROLL
		for (int j = 0; j < REGS; j++)
			sum[i][j] = r_zero();
	for (int k = 0; k < w->cols; k += BLOCK) {
		int to = w->cols - k < BLOCK ? w->cols : k + BLOCK;

		lanes(s, x, row, k, to, t);
		UNROLL
		for (int i = 0; i < ROWS; i++) {
			for (int c = k; c < to; c += 64)
				seen = b_see(seen, row[i] + c, to - c);
			UNROLL
			for (int j = 0; j < REGS; j++)
				sum[i][j] = r_fma(r_set(scale[i][w->scale ? k / BLOCK : 0]), s[i][j], sum[i][j]);
		}
	}
	if (b_nan(seen))
		nan_rows(sum, row, w->cols);
}

ALWAYS void
matvec_of(float *out, const float *x, const struct mat *w, int n0, int n1, enum dtype t)
{
	reg sum[SUMS][REGS];

	for (int n = n0; n < n1; n += SUMS) {
		for (int i = 0; i < SUMS; i += ROWS)
			dot_rows(sum + i, x, w, n + i < n1 ? n + i : n1 - 1, n1 - 1, t);
		sums_store(out + n, sum, n1 - n);
	}
}

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

#include "cpu/quant_lanes.h"

/*
 * Several rows of x.
 */

/* Columns c .. c+cols-1 of a row as float32, behind them zeros up to n. */
ALWAYS void
row_of(float *to, int n, const unsigned char *row, int c, int cols, enum dtype t)
{
	int k = 0;

	if (t == F8_E4M3) {
		bytes seen = b_zero();

		for (int i = 0; i < cols; i += 64)
			seen = b_see(seen, row + c + i, cols - i);
		for (; !b_nan(seen) && k + 2 * W <= cols; k += 2 * W) {
			reg a, b;

			r_load2_f8(row + c + k, &a, &b);
			r_store(to + k, r_mul(a, r_set(256)));
			r_store(to + k + W, r_mul(b, r_set(256)));
		}
	}
	for (; k + 4 * W <= cols; k += 4 * W)
		UNROLL
		for (int i = 0; i < 4 * W; i += W)
			r_store(to + k + i, weights(row, c + k + i, t));
	for (; k + W <= cols; k += W)
		r_store(to + k, weights(row, c + k, t));
	for (; k < n; k += W)
		r_store(to + k, weights_n(row, c + k, cols - k, t));
}

/* Rows r .. r+rows-1 of w, none beyond `last`, and columns c .. c+cols-1. */
ALWAYS void
tile_of(float *tile, int ldt, const struct mat *w, int r, int last, int rows, int c, int cols, enum dtype t)
{
	for (int i = 0; i < rows; i++)
		row_of(tile + i * ldt, ldt, (const unsigned char *)w->data +
		    (size_t)(r + i < last ? r + i : last) * (size_t)w->cols * size_of(t), c, cols, t);
}

static void
tile_fill(float *tile, int ldt, const struct mat *w, int r, int last, int rows, int c, int cols)
{
	switch (w->dtype) {
	case F32:
		tile_of(tile, ldt, w, r, last, rows, c, cols, F32);
		break;
	case BF16:
		tile_of(tile, ldt, w, r, last, rows, c, cols, BF16);
		break;
	case F16:
		tile_of(tile, ldt, w, r, last, rows, c, cols, F16);
		break;
	case Q8:
		quant_tile(tile, ldt, w, r, last, rows, c, cols, Q8);
		break;
	case Q4:
		quant_tile(tile, ldt, w, r, last, rows, c, cols, Q4);
		break;
	default:
		tile_of(tile, ldt, w, r, last, rows, c, cols, F8_E4M3);
	}
}

/* sum[t * SUMS + n] of tb rows of x and NB of w, kc columns further; in FP8
 * by way of a block's own lanes. */
ALWAYS void
block(reg sum[][REGS], const float *x, ptrdiff_t ldx, const float *w, ptrdiff_t ldw, int kc,
    const float *scale, int first, int tb)
{
	UNROLL
	for (int j = 0; j < REGS; j++) {
		reg s[TB][NB], b[NB], a;

		UNROLL
		for (int t = 0; t < tb; t++)
			UNROLL
			for (int n = 0; n < NB; n++)
				s[t][n] = scale || first ? r_zero() : sum[t * SUMS + n][j];
		for (int k = j * W; k < kc; k += LANES) {
			UNROLL
			for (int n = 0; n < NB; n++)
				b[n] = r_load(w + n * ldw + k);
			UNROLL
			for (int t = 0; t < tb; t++) {
				a = r_load(x + t * ldx + k);
				KEEP(a);
				UNROLL
				for (int n = 0; n < NB; n++)
					s[t][n] = r_fma(b[n], a, s[t][n]);
			}
		}
		UNROLL
		for (int t = 0; t < tb; t++)
			UNROLL
			for (int n = 0; n < NB; n++)
				sum[t * SUMS + n][j] = !scale ? s[t][n] : r_fma(r_set(scale[n]), s[t][n],
				    first ? r_zero() : sum[t * SUMS + n][j]);
	}
}

ALWAYS void
blocks(reg sum[][REGS], int T, const float *x, ptrdiff_t ldx, const float *w, ptrdiff_t ldw,
    int kc, const float *scale, int first)
{
	for (int t = 0; t < T; t += TB)
		switch (T - t) {
		case 3:
			block(sum + t * SUMS, x + t * ldx, ldx, w, ldw, kc, scale, first, 3);
			break;
		case 2:
			block(sum + t * SUMS, x + t * ldx, ldx, w, ldw, kc, scale, first, 2);
			break;
		case 1:
			block(sum + t * SUMS, x + t * ldx, ldx, w, ldw, kc, scale, first, 1);
			break;
		default:
			block(sum + t * SUMS, x + t * ldx, ldx, w, ldw, kc, scale, first, TB);
		}
}
_Static_assert(TB == 4, "blocks() and blocks_t() have what remains of TB");

/* T <= TC rows of x, up to 16 outputs from n on.  x is copied beside the tile
 * where its rows end raggedly, or would push each other out of the cache
 * because they lie a multiple of 4096 bytes apart. */
static void
matmul_tiles(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n, int n1)
{
	reg sum[TC * SUMS][REGS];
	float tile[NB * KC] __attribute__((aligned(64))), xt[TC * KC] __attribute__((aligned(64))), scale[NB];
	int step = w->dtype == F8_E4M3 ? BLOCK : KC, packed = T > TC / 2 && ldx % 1024 == 0;

	for (int k = 0; k < w->cols; k += step) {
		int cols = w->cols - k < step ? w->cols - k : step, kc = (cols + LANES - 1) / LANES * LANES;
		const float *xs = x + k;
		ptrdiff_t ldxs = ldx;

		if (packed || kc != cols) {
			for (int t = 0; t < T; t++)
				row_of(xt + t * kc, kc, (const void *)(x + t * ldx), k, cols, F32);
			xs = xt;
			ldxs = kc;
		}
		for (int i = 0; i < SUMS && n + i < n1; i += NB) {
			if (w->dtype == F32 && kc == cols && n + i + NB <= n1) {
				blocks(sum + i, T, xs, ldxs, (const float *)w->data + (size_t)(n + i) * (size_t)w->cols + k,
				    w->cols, kc, NULL, k == 0);
				continue;
			}
			tile_fill(tile, kc, w, n + i, n1 - 1, NB, k, cols);
			if (w->dtype != F8_E4M3) {
				blocks(sum + i, T, xs, ldxs, tile, kc, kc, NULL, k == 0);
				continue;
			}
			for (int m = 0; m < NB; m++)
				scale[m] = mat_scale(w, n + i + m < n1 ? n + i + m : n1 - 1, k);
			blocks(sum + i, T, xs, ldxs, tile, kc, kc, scale, k == 0);
		}
	}
	for (int t = 0; t < T; t++)
		sums_store(out + t * ldo + n, sum + t * SUMS, n1 - n);
}

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	struct kernels ref;

	if (T == 1 && w->dtype == F8_E4M3 && huge(x, w->cols)) {
		matmul_ref(&ref);
		ref.matmul(out, ldo, x, ldx, T, w, n0, n1);
	} else if (T == 1) {
		switch (w->dtype) {
		case F32:
			matvec_of(out, x, w, n0, n1, F32);
			break;
		case BF16:
			matvec_of(out, x, w, n0, n1, BF16);
			break;
		case F16:
			matvec_of(out, x, w, n0, n1, F16);
			break;
		case Q8:
			quant_matvec(out, x, w, n0, n1, Q8);
			break;
		case Q4:
			quant_matvec(out, x, w, n0, n1, Q4);
			break;
		default:
			matvec_of(out, x, w, n0, n1, F8_E4M3);
		}
	} else {
		for (int t = 0; t < T; t += TC)
			for (int n = n0; n < n1; n += SUMS)
				matmul_tiles(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TC ? T - t : TC, w, n, n1);
	}
}

/*
 * The transposed product: lanes are columns, each a chain over the rows.
 */

/* chain[t][at ..] of tb rows of x, the tile's rows further. */
ALWAYS void
block_t(reg chain[][TR], int at, const float *x, ptrdiff_t ldx, const float *tile, ptrdiff_t ldt, int rows, int tb)
{
	reg s[TB][CB], b[CB], a;

	UNROLL
	for (int t = 0; t < tb; t++)
		UNROLL
		for (int j = 0; j < CB; j++)
			s[t][j] = chain[t][at + j];
	for (int r = 0; r < rows; r++) {
		UNROLL
		for (int j = 0; j < CB; j++)
			b[j] = r_load(tile + r * ldt + (at + j) * W);
		UNROLL
		for (int t = 0; t < tb; t++) {
			a = r_set(x[t * ldx + r]);
			KEEP(a);
			UNROLL
			for (int j = 0; j < CB; j++)
				s[t][j] = r_fma(b[j], a, s[t][j]);
		}
	}
	UNROLL
	for (int t = 0; t < tb; t++)
		UNROLL
		for (int j = 0; j < CB; j++)
			chain[t][at + j] = s[t][j];
}

static void
blocks_t(reg chain[][TR], int T, const float *x, ptrdiff_t ldx, const float *tile, ptrdiff_t ldt, int rows)
{
	for (int t = 0; t < T; t += TB)
		for (int j = 0; j < TR; j += CB)
			switch (T - t) {
			case 3:
				block_t(chain + t, j, x + t * ldx, ldx, tile, ldt, rows, 3);
				break;
			case 2:
				block_t(chain + t, j, x + t * ldx, ldx, tile, ldt, rows, 2);
				break;
			case 1:
				block_t(chain + t, j, x + t * ldx, ldx, tile, ldt, rows, 1);
				break;
			default:
				block_t(chain + t, j, x + t * ldx, ldx, tile, ldt, rows, TB);
			}
}

/* A block of FP8 ends: sum += scale chain, and the chains begin anew. */
static void
fold(reg sum[][TR], reg chain[][TR], int T, const struct mat *w, int r, int c, int cols)
{
	float scale[TW];

	for (int i = 0; i < TW; i++)
		scale[i] = mat_scale(w, r, i < cols ? c + i : c);
	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++) {
			sum[t][j] = r_fma(r_load(scale + j * W), chain[t][j], sum[t][j]);
			chain[t][j] = r_zero();
		}
}

/* T <= TC rows of x, up to TW columns from c on. */
static void
matmul_t_tiles(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c, int c1)
{
	float tile[RC * TW] __attribute__((aligned(64)));
	reg chain[TC][TR], sum[TC][TR];
	int cols = c1 - c < TW ? c1 - c : TW, rows;

	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++)
			sum[t][j] = chain[t][j] = r_zero();
	for (int r = 0; r < w->rows; r += rows) {
		int end = w->dtype == F8_E4M3 ? mat_block_end(w, r, w->rows) : w->rows;

		rows = end - r < RC ? end - r : RC;
		if (w->dtype == F32 && cols == TW) {
			rows = end - r;
			blocks_t(chain, T, x + r, ldx, (const float *)w->data + (size_t)r * (size_t)w->cols + c, w->cols, rows);
			continue;
		}
		tile_fill(tile, TW, w, r, r + rows - 1, rows, c, cols);
		blocks_t(chain, T, x + r, ldx, tile, TW, rows);
		if (w->dtype == F8_E4M3 && r + rows == end)
			fold(sum, chain, T, w, r, c, cols);
	}
	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++)
			r_store_n(out + t * ldo + c + j * W, r_canon(w->dtype == F8_E4M3 ? sum[t][j] : chain[t][j]),
			    cols - j * W);
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	for (int t = 0; t < T; t += TC)
		for (int c = c0; c < c1; c += TW)
			matmul_t_tiles(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TC ? T - t : TC, w, c, c1);
}

static void
row(float *out, const struct mat *w, int r)
{
	for (int c = 0; c < w->cols; c += BLOCK) {
		int n = w->cols - c < BLOCK ? w->cols - c : BLOCK;
		float tile[BLOCK];
		reg scale = r_set(w->dtype == F8_E4M3 ? mat_scale(w, r, c) : 1);

		tile_fill(tile, BLOCK, w, r, r, 1, c, n);
		for (int i = 0; i < n; i += W)
			r_store_n(out + c + i, r_canon(r_mul(r_load(tile + i), scale)), n - i);
	}
}

void
KERNELS_ISA(matmul)(struct kernels *k)
{
	k->matmul = matmul;
	k->matmul_t = matmul_t;
	k->row = row;
}
