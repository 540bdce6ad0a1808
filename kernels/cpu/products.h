/*
 * What the products of one instruction set share; included after lanes_avx2.h or lanes_avx512.h.
 */
#ifndef DS_PRODUCTS_H
#define DS_PRODUCTS_H

/* with checks in it, each copy for a number of rows would take compilers minutes */
#if defined(__SANITIZE_ADDRESS__) || defined(FEW_COPIES)
#define ALWAYS static __attribute__((noinline))
#define UNROLL
#define UNROLL16
#else
#define ALWAYS INLINE
#define UNROLL _Pragma("GCC unroll 8")
#define UNROLL16 _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

enum {
	REGS = LANES / W,
	STEP_REGS = REGS > 2 ? REGS : 2,        /* registers that gemv takes of a row in a step */
	SUMS = 16,              /* outputs whose lanes are added up together */
	ROWS = 4,               /* rows of w beside each other in gemv, at most */
	BLOCK_COLS = 256        /* of the longest block of GGUF */
};

INLINE reg
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
 * gemv: the rows of w from n0 to n1 are cut into `n` streams of `rows` rows each, which are read
 * side by side from their beginnings.  Hardware follows a few long streams best; four neighbouring
 * rows would be four short ones.
 */
struct streams {
	int n0, n1, n, rows;
	size_t ahead;   /* bytes between what a row multiplies and what it prefetches */
};

static inline struct streams
streams_of(const struct mat *w, int n0, int n1, int n)
{
	return (struct streams){ n0, n1, n, (n1 - n0 + n - 1) / n,
	    row_bytes(w->dtype, w->cols) < 4096 ? 1024 : 2048 };
}

/* Row r of stream i; the last row of all where there is none. */
INLINE int
stream_row(const struct streams *z, int i, int r)
{
	int row = z->n0 + i * z->rows + r;

	return row < z->n1 ? row : z->n1 - 1;
}

/* out[row] = the sums of rows r .. of all streams: sum[j * n + i] is of row r + j of stream i. */
static inline void
streams_store(float *out, reg sum[SUMS][REGS], const struct streams *z, int r)
{
	float v[SUMS];

	sums_store(v, sum, SUMS);
	for (int j = 0; j < SUMS; j++) {
		int at = r + j / z->n, row = z->n0 + j % z->n * z->rows + at;

		if (at < z->rows && row < z->n1)
			out[row] = v[j];
	}
}

/* Sums that no row gets must be numbers. */
static inline void
sums_zero(reg sum[][REGS], int T)
{
	for (int i = 0; i < T * SUMS; i++)
		for (int j = 0; j < REGS; j++)
			sum[i][j] = r_zero();
}

INLINE void
zero(reg s[][ROWS][REGS], int T, int nb)
{
	UNROLL
	for (int m = 0; m < T; m++)
		UNROLL
		for (int i = 0; i < nb; i++)
			UNROLL
			for (int j = 0; j < REGS; j++)
				s[m][i][j] = r_zero();
}

INLINE void
keep(reg sum[][REGS], reg s[][ROWS][REGS], int T, int nb)
{
	UNROLL
	for (int m = 0; m < T; m++)
		UNROLL
		for (int i = 0; i < nb; i++)
			UNROLL
			for (int j = 0; j < REGS; j++)
				sum[m * SUMS + i][j] = s[m][i][j];
}

/* Prefetch n bytes from p on into L2; L1 is full of what is in use. */
INLINE void
prefetch(const unsigned char *p, size_t n)
{
	UNROLL
	for (size_t i = 0; i < n; i += 64)
		__builtin_prefetch(p + i, 0, 2);
}

/* matmul_lanes.h: the product in f32. */
void KERNELS_ISA(product)(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, int n0, int n1);

/* blocks_lanes.h: block types of GGUF.  As row_of, of row r; as gemv_f32, of T <= GEMV_ROWS. */
void KERNELS_ISA(block_row)(float *to, ptrdiff_t step, const struct mat *w, int r, int c, int cols,
    int n);
void KERNELS_ISA(gemv_blocks)(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, int n0, int n1);

#endif
