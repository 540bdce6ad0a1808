/*
 * PRECISION_FP8: rows of x as E4M3, each 128 columns with a power of two of their own (fp8.cu), and
 * how they meet weights of F8_E4M3 (matmul_fp8.cu).  The sum over 128 columns is made by tensor
 * cores, then acc = fma(scale of the weights * scale of x, sum, acc), acc from +0, the columns
 * ascending.
 */
#ifndef DS_FP8_CUH
#define DS_FP8_CUH

#include "launch.cuh"

#include "cpu/cpu.h"
#include "gpu.h"

/* n rows of E4M3.  The codes of a row are followed by zeros up to whole blocks. */
struct fp8_rows {
	unsigned char *codes;           /* [n][blocks * BLOCK] */
	float *scale;                   /* [blocks][step]: of row i at i */
	int blocks, step;               /* step: n filled up to 4 */
};

/* What n rows of `cols` take, and where they lie in so much memory, aligned to 256 bytes. */
size_t fp8_bytes(int n, int cols);
struct fp8_rows fp8_layout(void *memory, int n, int cols);

/* Round n rows of x [..][cols] into `to`: row i is row[i] of x, or i where row is NULL; of them
 * only *count, if count (in device memory) is not NULL. */
int fp8_round(struct gpu *g, const struct fp8_rows *to, const float *x, ptrdiff_t ldx, int cols, int n, const int32_t *row,
    const int32_t *count);

#endif
