#include "bench/bench_gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "device/ops.h"

#define TRIES 5                 /* minimum number of tries */
#define SECONDS 0.3             /* time for each limit */
#define RANDOM ((size_t)16 << 20)       /* bytes generated on the host and copied repeatedly */

/* Size of the copied memory, and of the square matrices in it; small on an emulated GPU, to save
 * time. */
struct task {
	size_t bytes;
	int side;
};

static const struct task large = {(size_t)1 << 30, 8192};
static const struct task small = {(size_t)1 << 20, 64};

int
bench_gpu_real(const struct device *d)
{
	return strcmp(d->lib->kind, "cuda") == 0;
}

int
bench_random(struct device *d, void *to, size_t n, enum dtype dtype)
{
	/* random sign and mantissa, the exponent of 1/2 */
	const uint64_t keep = dtype == F32 ? UINT64_C(0x807fffff807fffff) : dtype == BF16 ? UINT64_C(0x807f807f807f807f) :
	    UINT64_C(0x8787878787878787);
	const uint64_t set = dtype == F32 ? UINT64_C(0x3f0000003f000000) : dtype == BF16 ? UINT64_C(0x3f003f003f003f00) :
	    UINT64_C(0x3030303030303030);
	size_t piece = n < RANDOM ? n : RANDOM, words = (piece + 7) / 8;
	uint64_t *host = mem_raw(words, sizeof(*host)), state = 1;
	int r = host ? 0 : -1;

	for (size_t i = 0; host && i < words; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		host[i] = ((state ^ state >> 29) & keep) | set;
	}
	for (size_t at = 0; r == 0 && at < n; at += piece)
		r = d->ops->send(d, (char *)to + at, host, n - at < piece ? n - at : piece);
	free(host);
	return r;
}

void
bench_gpu_open(struct bench_gpu *g, struct device *d)
{
	*g = (struct bench_gpu){.d = d};
}

/* --- limits --- */

int
bench_gpu_sweep(struct bench_gpu *g)
{
	return g->d->lib->copy(g->d->gpu, g->to, g->from, g->bytes) < 0 ? device_fail(g->d, "memory that is copied") : 0;
}

/* Measure the fastest of several copies, the first excluded. */
static int
measure_copy(struct bench_gpu *g, double *seconds)
{
	const struct gpu_lib *lib = g->d->lib;
	struct gpu *gpu = g->d->gpu;
	double end = clock_now() + SECONDS, took;

	*seconds = 0;
	for (int i = 0; i <= TRIES || clock_now() < end; i++) {
		if (lib->mark(gpu, 0) < 0 || lib->copy(gpu, g->to, g->from, g->bytes) < 0 || lib->mark(gpu, 1) < 0 ||
		    lib->passed(gpu, 1) < 0 || lib->between(gpu, 0, 1, &took) < 0)
			return device_fail(g->d, "how fast it copies");
		if (i > 0 && (i == 1 || took < *seconds))
			*seconds = took;
	}
	return 0;
}

static int
measure_peak(struct bench_gpu *g, int side, enum precision p, double *operations)
{
	struct device *d = g->d;
	enum dtype dtype = p == PRECISION_FP8 ? F8_E4M3 : BF16;
	size_t matrix = (size_t)side * (size_t)side * dtype_size(dtype);

	if (bench_random(d, g->from, 2 * matrix, dtype) < 0)
		return -1;
	if (d->lib->peak(d->gpu, g->to, g->from, (char *)g->from + matrix, side, p, operations) < 0)
		return device_fail(d, "how fast it multiplies");
	snprintf(g->product, sizeof(g->product), "cublaslt_%s_%dx%dx%d", dtype == BF16 ? "bf16" : "fp8", side, side, side);
	return 0;
}

int
bench_gpu_limit(struct bench_gpu *g, enum precision p, struct limit *l)
{
	struct device *d = g->d;
	const struct task *t = bench_gpu_real(d) ? &large : &small;
	size_t least = (size_t)t->side * (size_t)t->side * sizeof(float);
	double copied;

	/* memory not yet reserved is also for caches and batches */
	for (g->bytes = t->bytes; g->bytes / 2 >= least && d->weights + d->expected + 4 * g->bytes > d->about.free; )
		g->bytes /= 2;
	if (d->lib->alloc(d->gpu, &g->from, g->bytes) < 0 || d->lib->alloc(d->gpu, &g->to, g->bytes) < 0)
		return device_fail(d, "no memory to measure its limits in: give --limits");
	if (measure_copy(g, &copied) < 0 || measure_peak(g, t->side, p, &l->fma) < 0)
		return -1;
	l->read = 2 * (double)g->bytes / copied;
	return 0;
}

void
bench_gpu_close(struct bench_gpu *g)
{
	if (!g->d)
		return;
	if (g->from)
		g->d->lib->free(g->d->gpu, g->from);
	if (g->to)
		g->d->lib->free(g->d->gpu, g->to);
	*g = (struct bench_gpu){0};
}

/* --- times of stages --- */

int
bench_gpu_mark_start(struct bench_gpu *g)
{
	if (g->n == GPU_MARKS / 2 && bench_gpu_times(g) < 0)
		return -1;
	return g->d->lib->mark(g->d->gpu, 2 * g->n) < 0 ? device_fail(g->d, "a mark") : 0;
}

int
bench_gpu_mark_end(struct bench_gpu *g, double *seconds)
{
	g->seconds[g->n] = seconds;
	return g->d->lib->mark(g->d->gpu, 2 * g->n++ + 1) < 0 ? device_fail(g->d, "a mark") : 0;
}

int
bench_gpu_times(struct bench_gpu *g)
{
	const struct gpu_lib *lib = g->d->lib;
	int n = g->n;
	double took;

	g->n = 0;
	if (n > 0 && lib->passed(g->d->gpu, 2 * n - 1) < 0)
		return device_fail(g->d, "the stages");
	for (int i = 0; i < n; i++) {
		if (lib->between(g->d->gpu, 2 * i, 2 * i + 1, &took) < 0)
			return device_fail(g->d, "a stage's time");
		*g->seconds[i] += took;
	}
	return 0;
}
