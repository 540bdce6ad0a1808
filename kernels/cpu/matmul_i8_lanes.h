/*
 * The products of i8 in registers: after lanes_avx2.h and i8_lanes_avx2.h, or those of AVX-512.
 * Sums within a group are exact, so they have any order; the lanes have that of matmul_i8_ref.c.
 */
#include "cpu/i8_codes.h"
#include "cpu/i8_scales.h"
#include "cpu/i8_round.h"
#include "cpu/matmul_i8_gemv.h"
#include "cpu/matmul_i8_gemm.h"

#ifdef I8_TILES
#define I8_BELOW i8_avx512()
#else
#define I8_BELOW i8_ref()
#endif

#ifdef I8_TILES         /* gemv is that of AVX-512 */
#define GEMV(t) NULL
#else
#define GEMV(t) gemv_##t
#define GEMV_OF(t)                                                                              \
static void __attribute__((noinline))                                                           \
gemv_##t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,  \
    int n0, int n1)                                                                             \
{                                                                                               \
	gemv(out, ldo, x, ldx, T, w, n0, n1, t);                                                \
}
EACH_I8(GEMV_OF)
#endif

/* The part of a product for some rows of x, or NULL. */
static i8_product *
part_of(enum dtype t, int is_gemm)
{
	switch (t) {
#define CASE(name) case name: return is_gemm ? gemm : GEMV(name);
	EACH_I8(CASE)
#undef CASE
	default:
		return NULL;
	}
}

static void
product(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int n0, int n1)
{
	const int cols = (w->cols + I8_BLOCK - 1) / I8_BLOCK * I8_BLOCK;
	const int is_gemm = T > I8_ROWS && cols <= XCODES / I8_MR;
	const int room = is_gemm ? XCODES / cols / I8_MR * I8_MR : XBLOCKS / (cols / I8_BLOCK);
	const int most = is_gemm ? XROWS : I8_ROWS, parts = (T + most - 1) / most;
	i8_product *part = part_of(w->dtype, is_gemm);
	int rows = parts > 0 ? (T + parts - 1) / parts : 0;

	if (!part || room == 0) {
		I8_BELOW(out, ldo, x, ldx, T, w, n0, n1);
		return;
	}
	if (is_gemm)
		rows = (rows + I8_MR - 1) / I8_MR * I8_MR;
	if (rows > room)
		rows = room;
	for (int t = 0; t < T; t += rows)
		part(out + t * ldo, ldo, x + t * ldx, ldx, T - t < rows ? T - t : rows, w, n0, n1);
}
