/*
 * The products of the emulated cuBLASLt: out = w^T x of matrices by columns, w [K][N], x [K][T], out [N][T].  Its first
 * algorithm splits the columns, as the first of the real one may.
 */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

#include "emulate.h"

extern "C" {
#include "cpu/cpu.h"
}

struct emulate_lt_op {
	cublasOperation_t transposed;
	cublasLtMatmulMatrixScale_t w_mode, x_mode;
	const float *w_scale, *x_scale;
};

struct emulate_lt_layout {
	cudaDataType_t type;
	uint64_t rows, cols;
	int64_t ld;
};

enum { SPLIT, WHOLE };          /* algo.data[0]; data[1], data[2]: N and K that it is for */

const char *
cublasLtGetStatusString(cublasStatus_t s)
{
	return s == CUBLAS_STATUS_SUCCESS ? "success" : s == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" :
	    s == CUBLAS_STATUS_ALLOC_FAILED ? "out of memory" : "invalid value";
}

template <class T> static cublasStatus_t
create(T **p)
{
	*p = (T *)calloc(1, sizeof(T));
	return *p ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

static cublasStatus_t
destroy(void *p)
{
	free(p);
	return CUBLAS_STATUS_SUCCESS;
}

/* An attribute of n bytes must be of the size of the variable that keeps it. */
template <class T> static cublasStatus_t
keep(T *to, const void *p, size_t n)
{
	if (n != sizeof(*to))
		return CUBLAS_STATUS_INVALID_VALUE;
	memcpy((void *)to, p, n);
	return CUBLAS_STATUS_SUCCESS;
}

struct emulate_lt {
	int open;
};

cublasStatus_t
cublasLtCreate(cublasLtHandle_t *h)
{
	return create(h);
}

cublasStatus_t
cublasLtDestroy(cublasLtHandle_t h)
{
	return destroy(h);
}

cublasStatus_t
cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale)
{
	return compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F ? create(d) : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t
cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
	return destroy(d);
}

cublasStatus_t
cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a, const void *p, size_t n)
{
	switch (a) {
	case CUBLASLT_MATMUL_DESC_TRANSA:
		return keep(&d->transposed, p, n);
	case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
		return keep(&d->w_mode, p, n);
	case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
		return keep(&d->x_mode, p, n);
	case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
		return keep(&d->w_scale, p, n);
	case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
		return keep(&d->x_scale, p, n);
	}
	return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t
cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t ld)
{
	cublasStatus_t r = create(l);

	if (r == CUBLAS_STATUS_SUCCESS)
		**l = {type, rows, cols, ld};
	return r;
}

cublasStatus_t
cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
	return destroy(l);
}

cublasStatus_t
cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a, const void *p, size_t n)
{
	return a == CUBLASLT_MATRIX_LAYOUT_COLS ? keep(&l->cols, p, n) : keep(&l->ld, p, n);
}

struct emulate_lt_preference {
	size_t workspace;
	uint32_t scheme, aligned;
};

cublasStatus_t
cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
	cublasStatus_t r = create(p);

	if (r == CUBLAS_STATUS_SUCCESS)
		(*p)->scheme = 0xffffffff;
	return r;
}

cublasStatus_t
cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
	return destroy(p);
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a, const void *v, size_t n)
{
	if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
		return keep(&p->workspace, v, n);
	return a == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK ? keep(&p->scheme, v, n) : keep(&p->aligned, v, n);
}

/* What the library asks of a problem. */
static int
fits(cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t w, cublasLtMatrixLayout_t x, cublasLtMatrixLayout_t out)
{
	int fp8 = w->type == CUDA_R_8F_E4M3;

	if (op->transposed != CUBLAS_OP_T || w->type != x->type || out->type != CUDA_R_32F || w->rows != x->rows ||
	    out->rows != w->cols || out->cols != x->cols || w->ld < (int64_t)w->rows || x->ld < (int64_t)x->rows || out->ld < (int64_t)out->rows)
		return 0;
	if (!fp8)
		return w->type == CUDA_R_16BF && !op->w_mode && !op->x_mode;
	if (w->rows % 16 != 0 || w->cols % 16 != 0)
		return 0;
	return (!op->w_mode && !op->x_mode) || (op->w_mode == CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F &&
	    op->x_mode == CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F && op->w_scale && op->x_scale);
}

cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
    cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t like, int most,
    cublasLtMatmulHeuristicResult_t *found, int *n)
{
	*n = 0;
	if (!fits(op, a, b, d))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	for (uint64_t i = SPLIT; i <= WHOLE && *n < most; i++)
		found[(*n)++] = {{{i, a->cols, a->rows}}, like->workspace, CUBLAS_STATUS_SUCCESS};
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t, void *p, size_t n,
    size_t *written)
{
	uint32_t split = algo->data[0] == SPLIT ? 4 : 1;

	*written = sizeof(split);
	return n == sizeof(split) ? (memcpy(p, &split, n), CUBLAS_STATUS_SUCCESS) : CUBLAS_STATUS_INVALID_VALUE;
}

struct job {
	emulate_lt_op op;
	emulate_lt_layout w, x, out;
	const unsigned char *W, *X;
	float *D;
};

static float
element(const unsigned char *m, const emulate_lt_layout *l, uint64_t row, uint64_t col)
{
	uint64_t at = col * (uint64_t)l->ld + row;

	return l->type == CUDA_R_8F_E4M3 ? float_of_f8(m[at]) : float_of_bits((uint32_t)(m[2 * at] | m[2 * at + 1] << 8) << 16);
}

/* Scales of FP8: those of w by blocks, K first, a column of blocks filled up to 4; those of x by rows of x first, filled up to 4. */
static float
scale_of(const job *j, uint64_t n, uint64_t t, uint64_t block)
{
	uint64_t blocks = (j->w.rows / 128 + 3) / 4 * 4, step = (j->x.cols + 3) / 4 * 4;

	return j->op.w_mode ? j->op.w_scale[n / 128 * blocks + block] * j->op.x_scale[block * step + t] : 1;
}

static void
run(void *data)
{
	const job *j = (const job *)data;

	for (uint64_t t = 0; t < j->x.cols; t++)
		for (uint64_t n = 0; n < j->w.cols; n++) {
			float sum = 0;

			for (uint64_t k0 = 0; k0 < j->w.rows; k0 += 128) {
				float part = 0;

				for (uint64_t k = k0; k < k0 + 128 && k < j->w.rows; k++)
					part += element(j->W, &j->w, k, n) * element(j->X, &j->x, k, t);
				sum = fmaf(scale_of(j, n, t, k0 / 128), part, sum);
			}
			j->D[t * (uint64_t)j->out.ld + n] = sum;
		}
}

cublasStatus_t
cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t op, const void *alpha, const void *A, cublasLtMatrixLayout_t a, const void *B,
    cublasLtMatrixLayout_t b, const void *beta, const void *, cublasLtMatrixLayout_t, void *D, cublasLtMatrixLayout_t d,
    const cublasLtMatmulAlgo_t *algo, void *workspace, size_t, cudaStream_t stream)
{
	job j = {*op, *a, *b, *d, (const unsigned char *)A, (const unsigned char *)B, (float *)D};

	if (!fits(op, a, b, d) || *(const float *)alpha != 1 || *(const float *)beta != 0 || algo->data[0] != WHOLE ||
	    algo->data[1] != a->cols || algo->data[2] != a->rows || ((uintptr_t)A | (uintptr_t)B | (uintptr_t)D | (uintptr_t)workspace) % 16 != 0)
		return CUBLAS_STATUS_INVALID_VALUE;
	return emulate_put(stream, run, &j, sizeof(j)) == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}
