/*
 * Block types of GGUF: gemv, and rows as float32 for all other products; included after
 * lanes_avx2.h or lanes_avx512.h.
 */
#include "cpu/products.h"
#include "cpu/prefetch.h"

/* The columns of a block as float32; every 16 of them begin `step` after the 16 before. */
typedef void block_decoder(float *to, ptrdiff_t step, const unsigned char *b);

#include "cpu/blocks_unpack.h"
#include "cpu/blocks_grids.h"

ALWAYS void
block_decode(float *to, ptrdiff_t step, const unsigned char *b, enum dtype t)
{
	const struct pass p = { .store = 1, .to = to, .step = step };

	if (block_shared(t)) {
		pass_blocks(&p, &b, 1, t);
		return;
	}
	if (block_grid(t)) {
		for (int e = 0; e < BLOCK_COLS / 8; e++)
			eight_store(to + e / 2 * step + e % 2 * 8, grid_eight(b, e, t));
		return;
	}
	for (int g = 0; g < BLOCK_COLS / LANES; g++, to += step)        /* TQ1_0 */
		for (int i = 0; i < LANES; i++)
			to[i] = element_TQ1_0(b, g, i);
}

#define DECODE_OF(name, type, cols, bytes)                                              \
static void                                                                             \
decode_##name(float *to, ptrdiff_t step, const unsigned char *b)                        \
{                                                                                       \
	block_decode(to, step, b, name);                                                \
}
EACH_BLOCK_TYPE(DECODE_OF)

/* gemv of one row of x: row n of all streams. */
ALWAYS void
block_dot_rows(reg sum[][REGS], const float *x, const struct mat *w, const struct streams *z, int n,
    enum dtype t)
{
	const size_t size = row_bytes(t, block_cols(t));
	const unsigned char *row[ROWS];
	reg s[ROWS][REGS];

	UNROLL
	for (int r = 0; r < ROWS; r++) {
		row[r] = mat_at(w, stream_row(z, r, n));
		UNROLL
		for (int j = 0; j < REGS; j++)
			s[r][j] = r_zero();
	}
	for (int k = 0; k < w->cols; k += block_cols(t)) {
		struct pass p[ROWS];

		UNROLL
		for (int r = 0; r < ROWS; r++) {
			p[r] = (struct pass){ .x = x + k, .s = s[r] };
			prefetch(row[r] + z->ahead, size);
		}
		pass_blocks(p, row, ROWS, t);
		UNROLL
		for (int r = 0; r < ROWS; r++)
			row[r] += size;
	}
	UNROLL
	for (int r = 0; r < ROWS; r++)
		UNROLL
		for (int j = 0; j < REGS; j++)
			sum[r][j] = s[r][j];
}

ALWAYS void
block_dots(float *out, const float *x, const struct mat *w, int n0, int n1, enum dtype t)
{
	const struct streams z = streams_of(w, n0, n1, ROWS);
	reg sum[SUMS][REGS];

	sums_zero(sum, 1);
	for (int n = 0; n < z.rows; n += SUMS / ROWS) {
		for (int i = 0; i < SUMS / ROWS && n + i < z.rows; i++)
			block_dot_rows(sum + i * ROWS, x, w, &z, n + i, t);
		streams_store(out, sum, &z, n);
	}
}

#define DOTS_OF(name, type, cols, bytes)                                                \
static void                                                                             \
dots_##name(float *out, const float *x, const struct mat *w, int n0, int n1)            \
{                                                                                       \
	if (block_shared(name))                                                         \
		block_dots(out, x, w, n0, n1, name);                                    \
}
EACH_BLOCK_TYPE(DOTS_OF)

/* As columns_down. */
ALWAYS void
block_down(float *out, const float *x, const struct mat *w, int c, struct prefetch *prefetch,
    enum dtype t)
{
	const int size = (int)row_bytes(t, block_cols(t));
	struct prefetch own = *prefetch;
	reg chain[BLOCK_COLS / W];

	UNROLL16
	for (int j = 0; j < BLOCK_COLS / W; j++)
		chain[j] = r_zero();
	for (int r = 0; r < w->rows; r++) {
		const unsigned char *b = mat_at(w, r) + c / block_cols(t) * size;

		prefetch_step(&own);
		UNROLL
		for (int k = 0; k < BLOCK_COLS; k += block_cols(t), b += size) {
			struct pass p = { .down = 1, .by = r_set(x[r]), .s = chain + k / W };

			pass_blocks(&p, &b, 1, t);
		}
	}
	UNROLL16
	for (int j = 0; j < BLOCK_COLS / W; j++)
		r_store(out + c + j * W, r_canon(chain[j]));
	*prefetch = own;
}

#define DOWN_OF(name, type, cols, bytes)                                                \
static void                                                                             \
down_##name(float *out, const float *x, const struct mat *w, int c,                     \
    struct prefetch *prefetch)                                                          \
{                                                                                       \
	if (REGS == 1 && block_shared(name))                                            \
		block_down(out, x, w, c, prefetch, name);                               \
}
EACH_BLOCK_TYPE(DOWN_OF)

/* How a type is computed; dots and down may be NULL. */
struct block_kind {
	block_decoder *decode;
	void (*dots)(float *out, const float *x, const struct mat *w, int n0, int n1);
	void (*down)(float *out, const float *x, const struct mat *w, int c,
	    struct prefetch *prefetch);
	int cols, bytes;                /* of a block */
};

static struct block_kind
block_kind(enum dtype t)
{
	switch (t) {
#define KIND(name, type, cols, bytes) case name: \
		return (struct block_kind){decode_##name, \
		    block_shared(name) ? dots_##name : NULL, \
		    REGS == 1 && block_shared(name) ? down_##name : NULL, cols, bytes};
	EACH_BLOCK_TYPE(KIND)
#undef KIND
	default:
		return (struct block_kind){0};
	}
}

/* As row_of, of row r: blocks that are cut are decoded beside. */
void
KERNELS_ISA(block_row)(float *to, ptrdiff_t step, const struct mat *w, int r, int c, int cols,
    int n)
{
	struct block_kind b = block_kind(w->dtype);
	const unsigned char *p = mat_at(w, r) + (size_t)(c / b.cols) * (size_t)b.bytes;
	float cut[BLOCK_COLS];
	int k = 0;

	for (int at = c % b.cols, m; k < cols; k += m, at = 0, p += b.bytes) {
		m = b.cols - at < cols - k ? b.cols - at : cols - k;
		if (m == b.cols && k % LANES == 0) {
			b.decode(to + k / LANES * step, step, p);
			continue;
		}
		b.decode(cut, LANES, p);
		for (int i = 0; i < m; i++)
			to[(k + i) / LANES * step + (k + i) % LANES] = cut[at + i];
	}
	for (; k < n; k++)
		to[k / LANES * step + k % LANES] = 0;
}

/* s += the lanes of T rows of x with nb rows of the buffer, from column c on. */
ALWAYS void
buffer_lanes(reg s[][ROWS][REGS], int T, int nb, const float *x, ptrdiff_t ldx,
    float buffer[ROWS][BLOCK_COLS], int c)
{
	UNROLL
	for (int j = 0; j < REGS; j++) {
		reg a[ROWS];

		UNROLL
		for (int i = 0; i < nb; i++)
			a[i] = r_load(buffer[i] + c + j * W);
		UNROLL
		for (int m = 0; m < T; m++) {
			reg v = r_load(x + m * ldx + j * W);

			UNROLL
			for (int i = 0; i < nb; i++)
				s[m][i][j] = r_fma(a[i], v, s[m][i][j]);
		}
	}
}

/* As dot_rows: BLOCK_COLS columns of nb rows at a time become float32 in L1. */
ALWAYS void
block_rows(reg sum[][REGS], int T, int nb, const float *x, ptrdiff_t ldx, const struct mat *w,
    const struct streams *z, int n, const struct block_kind *b)
{
	float buffer[ROWS][BLOCK_COLS] __attribute__((aligned(64)));
	const unsigned char *row[ROWS];
	const int half = GEMV_HALF(T, F32);
	reg s[GEMV_ROWS][ROWS][REGS];

	UNROLL
	for (int i = 0; i < nb; i++)
		row[i] = mat_at(w, stream_row(z, i, n));
	zero(s, T, nb);
	for (int k = 0; k < w->cols; k += BLOCK_COLS) {
		int cols = w->cols - k < BLOCK_COLS ? w->cols - k : BLOCK_COLS;

		for (int i = 0; i < nb; i++)
			for (int c = 0; c < cols; c += b->cols, row[i] += b->bytes) {
				prefetch(row[i] + z->ahead, (size_t)b->bytes);
				b->decode(buffer[i] + c, LANES, row[i]);
			}
		for (int c = 0; c < cols; c += LANES)
			buffer_lanes(s, half, nb, x + k + c, ldx, buffer, c);
		for (int c = half < T ? 0 : cols; c < cols; c += LANES)
			buffer_lanes(s + half, T - half, nb, x + half * ldx + k + c, ldx, buffer,
			    c);
	}
	keep(sum, s, T, nb);
}

/* T <= GEMV_ROWS rows of x, known when compiled. */
ALWAYS void
block_dots_of(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int n0, int n1)
{
	const struct block_kind b = block_kind(w->dtype);
	const int nb = GEMV_BESIDE(GEMV_HALF(T, F32));
	const struct streams z = streams_of(w, n0, n1, nb);
	reg sum[GEMV_ROWS * SUMS][REGS];

	if (T == 1 && b.dots) {
		b.dots(out, x, w, n0, n1);
		return;
	}
	sums_zero(sum, T);
	for (int n = 0; n < z.rows; n += SUMS / nb) {
		for (int i = 0; i < SUMS / nb && n + i < z.rows; i++)
			block_rows(sum + i * nb, T, nb, x, ldx, w, &z, n + i, &b);
		for (int m = 0; m < T; m++)
			streams_store(out + m * ldo, sum + m * SUMS, &z, n);
	}
}

void
KERNELS_ISA(gemv_blocks)(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, int n0, int n1)
{
	switch (T) {
#define BLOCK_DOTS(T, t) case (T): block_dots_of(out, ldo, x, ldx, (T), w, n0, n1); return
	EACH_GEMV(BLOCK_DOTS, 0);
	}
}

int
KERNELS_ISA(blocks_down)(float *out, const float *x, const struct mat *w, int c,
    struct prefetch *prefetch)
{
	const struct block_kind b = block_kind(w->dtype);

	if (b.down)
		b.down(out, x, w, c, prefetch);
	return b.down != NULL;
}
