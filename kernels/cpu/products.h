/*
 * What the products of one instruction set share; included after lanes_avx2.h or lanes_avx512.h.
 */
#ifndef DS_PRODUCTS_H
#define DS_PRODUCTS_H

/* with checks in it, each copy for a number of rows would take compilers minutes */
#ifdef __SANITIZE_ADDRESS__
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

/* blocks_lanes.h: block types of GGUF.  As row_of, of row r; as gemv_f32, of T <= GEMV_ROWS. */
void KERNELS_ISA(block_row)(float *to, ptrdiff_t step, const struct mat *w, int r, int c, int cols,
    int n);
void KERNELS_ISA(gemv_blocks)(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T,
    const struct mat *w, int n0, int n1);

#endif
