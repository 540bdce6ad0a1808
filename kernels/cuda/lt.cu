#include "lt.h"

#include <cublasLt.h>
#include <stdlib.h>

#include "ptx.cuh"

#define WORKSPACE ((size_t)32 << 20)    /* what cuBLASLt may use */
#define SHAPES 32                       /* kinds of matrices that a process has */
#define ROWS 64                         /* of x for which an algorithm is chosen */
#define TILE_OUTS 128                   /* outputs of a tile, about */

/* A kind of matrix [N][K] and the algorithm for it. */
struct shape {
	int N, K, fp8;
	cublasLtMatmulDesc_t op;
	cublasLtMatrixLayout_t w, x, out;
	cublasLtMatmulAlgo_t algo;
};

struct lt {
	cublasLtHandle_t handle;
	struct shape shapes[SHAPES];
	int n;
};

static int
lt_fail(const char *what, cublasStatus_t s)
{
	return gpu_fail("cuBLASLt: %s: %s", what, cublasLtGetStatusString(s));
}

int
lt_supports(struct gpu *g, const struct mat *w, enum precision p)
{
	if (p == PRECISION_F32 || w->rows % 16 != 0 || w->cols % 16 != 0 || w->rows / TILE_OUTS < gpu_processors(g))
		return 0;
	return w->dtype == BF16 || (p == PRECISION_FP8 && w->dtype == F8_E4M3 && gpu_capability(g) == 90 && w->scale &&
	    w->row0 % BLOCK == 0 && w->cols % (4 * BLOCK) == 0 && w->scale_cols == w->cols / BLOCK);
}

static struct lt *
lt_of(struct gpu *g)
{
	struct lt *lt = g->lt;
	cublasStatus_t s;

	if (lt)
		return lt;
	lt = (struct lt *)calloc(1, sizeof(*lt));
	if (!lt) {
		gpu_fail("no memory for cuBLASLt");
		return NULL;
	}
	s = cublasLtCreate(&lt->handle);
	if (s != CUBLAS_STATUS_SUCCESS) {
		lt_fail("cannot begin", s);
		free(lt);
		return NULL;
	}
	g->lt = lt;
	return lt;
}

static void
shape_free(struct shape *s)
{
	if (s->op)
		cublasLtMatmulDescDestroy(s->op);
	if (s->w)
		cublasLtMatrixLayoutDestroy(s->w);
	if (s->x)
		cublasLtMatrixLayoutDestroy(s->x);
	if (s->out)
		cublasLtMatrixLayoutDestroy(s->out);
}

void
lt_close(struct lt *lt)
{
	if (!lt)
		return;
	for (int i = 0; i < lt->n; i++)
		shape_free(&lt->shapes[i]);
	cublasLtDestroy(lt->handle);
	free(lt);
}

static cublasStatus_t
set_scales(const struct shape *s, const float *w, const float *x)
{
	cublasStatus_t r = cublasLtMatmulDescSetAttribute(s->op, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &w, sizeof(w));

	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulDescSetAttribute(s->op, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &x, sizeof(x));
	return r;
}

/* What is computed: to cuBLASLt our rows are columns, so out = w^T x with all three read that way.
 * It names no algorithm for scales that are nowhere; any place will do. */
static cublasStatus_t
describe(struct shape *s, const float *scale)
{
	cublasOperation_t t = CUBLAS_OP_T;
	cublasLtMatmulMatrixScale_t blocks = CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F, rows = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
	cudaDataType_t type = s->fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
	cublasStatus_t r = cublasLtMatmulDescCreate(&s->op, CUBLAS_COMPUTE_32F, CUDA_R_32F);

	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulDescSetAttribute(s->op, CUBLASLT_MATMUL_DESC_TRANSA, &t, sizeof(t));
	if (r == CUBLAS_STATUS_SUCCESS && s->fp8)
		r = cublasLtMatmulDescSetAttribute(s->op, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &blocks, sizeof(blocks));
	if (r == CUBLAS_STATUS_SUCCESS && s->fp8)
		r = cublasLtMatmulDescSetAttribute(s->op, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &rows, sizeof(rows));
	if (r == CUBLAS_STATUS_SUCCESS && s->fp8)
		r = set_scales(s, scale, scale);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatrixLayoutCreate(&s->w, type, (uint64_t)s->K, (uint64_t)s->N, s->K);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatrixLayoutCreate(&s->x, type, (uint64_t)s->K, ROWS, s->K);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatrixLayoutCreate(&s->out, CUDA_R_32F, (uint64_t)s->N, ROWS, s->N);
	return r;
}

/* The best algorithm that does not split the columns. */
static cublasStatus_t
choose(struct lt *lt, struct shape *s)
{
	cublasLtMatmulPreference_t like;
	cublasLtMatmulHeuristicResult_t found[16];
	uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_NONE, aligned = 16;
	size_t most = WORKSPACE, written;
	int n = 0;
	cublasStatus_t r = cublasLtMatmulPreferenceCreate(&like);

	if (r != CUBLAS_STATUS_SUCCESS)
		return r;
	r = cublasLtMatmulPreferenceSetAttribute(like, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof(most));
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulPreferenceSetAttribute(like, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof(scheme));
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulPreferenceSetAttribute(like, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &aligned, sizeof(aligned));
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulPreferenceSetAttribute(like, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &aligned, sizeof(aligned));
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulAlgoGetHeuristic(lt->handle, s->op, s->w, s->x, s->out, s->out, like, 16, found, &n);
	cublasLtMatmulPreferenceDestroy(like);
	for (int i = 0; r == CUBLAS_STATUS_SUCCESS && i < n; i++) {
		uint32_t split = 1;

		if (found[i].state != CUBLAS_STATUS_SUCCESS || cublasLtMatmulAlgoConfigGetAttribute(&found[i].algo,
		    CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split, sizeof(split), &written) != CUBLAS_STATUS_SUCCESS || split > 1)
			continue;
		s->algo = found[i].algo;
		return CUBLAS_STATUS_SUCCESS;
	}
	return r == CUBLAS_STATUS_SUCCESS ? CUBLAS_STATUS_NOT_SUPPORTED : r;
}

static struct shape *
shape_of(struct lt *lt, const struct mat *w, int fp8)
{
	struct shape *s = lt->shapes, *end = s + lt->n;
	cublasStatus_t r;

	while (s < end && (s->N != w->rows || s->K != w->cols || s->fp8 != fp8))
		s++;
	if (s < end)
		return s;
	if (lt->n == SHAPES) {
		gpu_fail("more than %d kinds of matrices", SHAPES);
		return NULL;
	}
	*s = {w->rows, w->cols, fp8, NULL, NULL, NULL, NULL, {{0}}};
	r = describe(s, w->scale);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = choose(lt, s);
	if (r != CUBLAS_STATUS_SUCCESS) {
		lt_fail("no algorithm for these weights", r);
		shape_free(s);
		return NULL;
	}
	lt->n++;
	return s;
}

/* Two columns a thread; cols is even. */
static __global__ void
bf16_kernel(uint32_t *to, const float *x, ptrdiff_t ldx, int cols)
{
	int c = 2 * (int)(blockIdx.x * blockDim.x + threadIdx.x);

	if (c < cols)
		to[((size_t)blockIdx.y * cols + c) / 2] = bf16_pair(x[blockIdx.y * ldx + c], x[blockIdx.y * ldx + c + 1]);
}

/* x as the product reads it, in memory; its scales, or NULL, in *scale. */
static int
prepare(struct gpu *g, void *memory, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int fp8, const float **scale)
{
	struct fp8_rows rows = fp8_layout(memory, T, w->cols);

	*scale = fp8 ? rows.scale : NULL;
	if (fp8)
		return fp8_round(g, &rows, x, ldx, w->cols, T, NULL, NULL);
	return launch(g, bf16_kernel, dim3((w->cols / 2 + 255) / 256, T), dim3(256), 0, (uint32_t *)memory, x, ldx, w->cols);
}

static cublasStatus_t
set_rows(struct shape *s, int T, ptrdiff_t ldo, const float *w_scale, const float *x_scale)
{
	uint64_t n = (uint64_t)T;
	int64_t ld = ldo;
	cublasStatus_t r = cublasLtMatrixLayoutSetAttribute(s->x, CUBLASLT_MATRIX_LAYOUT_COLS, &n, sizeof(n));

	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatrixLayoutSetAttribute(s->out, CUBLASLT_MATRIX_LAYOUT_COLS, &n, sizeof(n));
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatrixLayoutSetAttribute(s->out, CUBLASLT_MATRIX_LAYOUT_LD, &ld, sizeof(ld));
	if (r == CUBLAS_STATUS_SUCCESS && s->fp8)
		r = set_scales(s, w_scale, x_scale);
	return r;
}

int
lt_matmul(struct gpu *g, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, enum precision p)
{
	int fp8 = p == PRECISION_FP8 && w->dtype == F8_E4M3;
	size_t bytes = fp8 ? fp8_bytes(T, w->cols) : ((size_t)T * w->cols * 2 + 255) / 256 * 256;
	struct lt *lt = lt_of(g);
	struct shape *s = lt ? shape_of(lt, w, fp8) : NULL;
	unsigned char *memory = s ? (unsigned char *)gpu_workspace(g, bytes + WORKSPACE) : NULL;
	const float one = 1, none = 0, *scale;
	cublasStatus_t r;

	if (!memory || prepare(g, memory, x, ldx, T, w, fp8, &scale) < 0)
		return -1;
	r = set_rows(s, T, ldo, fp8 ? w->scale + (size_t)w->row0 / BLOCK * w->scale_cols : NULL, scale);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmul(lt->handle, s->op, &one, w->data, s->w, memory, s->x, &none, out, s->out, out, s->out, &s->algo,
		    memory + bytes, WORKSPACE, g->stream);
	return r == CUBLAS_STATUS_SUCCESS ? 0 : lt_fail("a product", r);
}
