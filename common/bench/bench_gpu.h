/*
 * Benchmark on a GPU: limits of copies and products, and times of stages by marks in its stream.
 */
#ifndef DS_BENCH_GPU_H
#define DS_BENCH_GPU_H

#include "bench/limit.h"
#include "device/device.h"

struct bench_gpu {
	struct device *d;
	/* product that measured the peak: "cublaslt_bf16_8192x8192x8192", or "" */
	char product[48];
	void *from, *to;         /* memory for copies, to measure and to evict the cache; or NULL */
	size_t bytes;
	int n;                          /* stages whose marks were not read yet */
	double *seconds[GPU_MARKS / 2]; /* where their times are added */
};

/* d must have been started and must outlive g. */
void bench_gpu_open(struct bench_gpu *g, struct device *d);
void bench_gpu_close(struct bench_gpu *g);      /* accepts a zeroed *g */

/* Measure the GPU's limits: bytes per second copied within its memory, reads and writes both
 * counted, and operations per second of cuBLASLt products of large matrices of BF16, or of E4M3
 * with PRECISION_FP8. Allocates memory. Returns 0, or -1 and a message. */
int bench_gpu_limit(struct bench_gpu *g, enum precision p, struct limit *l);

/* 1 for a real GPU; 0 for the emulation, whose figures mean nothing. */
int bench_gpu_real(const struct device *d);

/* Evict everything from the GPU's cache. Call bench_gpu_limit first. Returns 0, or -1 and a
 * message. */
int bench_gpu_sweep(struct bench_gpu *g);

/* Mark the start and end of a stage in the stream. bench_gpu_times, at the latest, adds its time
 * to *seconds; it waits for the stream. Return 0, or -1 and a message. */
int bench_gpu_mark_start(struct bench_gpu *g);
int bench_gpu_mark_end(struct bench_gpu *g, double *seconds);
int bench_gpu_times(struct bench_gpu *g);

/* Fill n bytes of the device with random numbers below 1 of dtype F32, BF16 or F8_E4M3. Returns 0,
 * or -1 and a message. */
int bench_random(struct device *d, void *to, size_t n, enum dtype dtype);

#endif
