/*
 * What cuBLASLt makes of a large product with any algorithm of its own, for others to be compared
 * with.
 */
#include <cublasLt.h>

#include "launch.cuh"

#define WORKSPACE ((size_t)64 << 20)    /* what cuBLASLt may use */

enum { ALGORITHMS = 16, TIMES = 5 };

/* The product; to cuBLASLt our rows are columns, so out = w^T x with all three read that way. */
struct product {
	struct gpu *g;
	cublasLtHandle_t lt;
	cublasLtMatmulDesc_t op;
	cublasLtMatrixLayout_t in, out;
	cublasLtMatmulPreference_t like;
	const void *x, *w;
	float *to;
	void *workspace;
};

static cublasStatus_t
describe(struct product *j, int n, cudaDataType_t type)
{
	const uint64_t side = (uint64_t)n;
	const cublasOperation_t t = CUBLAS_OP_T;
	const size_t most = WORKSPACE;
	cublasStatus_t r = cublasLtCreate(&j->lt);

	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulDescCreate(&j->op, CUBLAS_COMPUTE_32F, CUDA_R_32F);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulDescSetAttribute(j->op, CUBLASLT_MATMUL_DESC_TRANSA, &t, sizeof(t));
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatrixLayoutCreate(&j->in, type, side, side, n);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatrixLayoutCreate(&j->out, CUDA_R_32F, side, side, n);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulPreferenceCreate(&j->like);
	if (r == CUBLAS_STATUS_SUCCESS)
		r = cublasLtMatmulPreferenceSetAttribute(j->like, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof(most));
	return r;
}

static void
product_end(struct product *j)
{
	if (j->like)
		cublasLtMatmulPreferenceDestroy(j->like);
	if (j->out)
		cublasLtMatrixLayoutDestroy(j->out);
	if (j->in)
		cublasLtMatrixLayoutDestroy(j->in);
	if (j->op)
		cublasLtMatmulDescDestroy(j->op);
	if (j->lt)
		cublasLtDestroy(j->lt);
}

/* One product between two marks: milliseconds; 0 where the algorithm does not do it. */
static float
once(const struct product *j, const cublasLtMatmulAlgo_t *algo)
{
	const float one = 1, none = 0;
	const cudaStream_t stream = j->g->stream;
	const cudaEvent_t from = j->g->marks[0], to = j->g->marks[1];
	float ms = 0;

	if (cudaEventRecordWithFlags(from, stream, cudaEventRecordDefault) != cudaSuccess ||
	    cublasLtMatmul(j->lt, j->op, &one, j->w, j->in, j->x, j->in, &none, j->to, j->out, j->to, j->out, algo, j->workspace,
	    WORKSPACE, stream) != CUBLAS_STATUS_SUCCESS ||
	    cudaEventRecordWithFlags(to, stream, cudaEventRecordDefault) != cudaSuccess ||
	    cudaEventSynchronize(to) != cudaSuccess || cudaEventElapsedTime(&ms, from, to) != cudaSuccess)
		return 0;
	return ms;
}

/* The least of several times; the first does not count.  0 where there is none. */
static float
fastest(const struct product *j)
{
	cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
	float best = 0, ms;
	int n = 0;

	if (cublasLtMatmulAlgoGetHeuristic(j->lt, j->op, j->in, j->in, j->out, j->out, j->like, ALGORITHMS, found, &n) !=
	    CUBLAS_STATUS_SUCCESS)
		return 0;
	for (int i = 0; i < n; i++)
		for (int k = 0; found[i].state == CUBLAS_STATUS_SUCCESS && k <= TIMES; k++) {
			ms = once(j, &found[i].algo);
			if (k > 0 && ms > 0 && (best == 0 || ms < best))
				best = ms;
		}
	return best;
}

static int
peak(struct gpu *g, float *out, const void *x, const void *w, int n, enum precision p, double *operations)
{
	struct product j = {};
	cublasStatus_t r;
	float ms = 0;

	j.g = g;
	j.x = x;
	j.w = w;
	j.to = out;
	if (!(j.workspace = gpu_workspace(g, WORKSPACE)))
		return -1;
	r = describe(&j, n, p == PRECISION_FP8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF);
	if (r == CUBLAS_STATUS_SUCCESS)
		ms = fastest(&j);
	product_end(&j);
	cudaGetLastError();     /* what an algorithm could not do is no error of the next call */
	if (ms <= 0)
		return gpu_fail("cuBLASLt: no product of %d x %d matrices: %s", n, n, cublasLtGetStatusString(r));
	*operations = 2.0 * n * n * n / (ms * 1e-3);
	return 0;
}

void
peak_fill(struct gpu_lib *l)
{
	l->peak = peak;
}
