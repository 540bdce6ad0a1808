/*
 * ds-bench on a GPU: what the card copies and multiplies at most, and the stages' times by the marks of its stream.
 */
#ifndef DS_BENCH_GPU_H
#define DS_BENCH_GPU_H

#include "bench/limit.h"
#include "device/device.h"

struct bench_gpu {
	struct device *d;
	char product[48];               /* what the peak was measured with: "cublaslt_bf16_8192x8192x8192", or "" */
	void *from, *to;                /* memory that is copied, to measure and to empty the card's cache; or NULL */
	size_t bytes;
	struct scratch page;     /* random latents */
	int n;                          /* stages between marks whose times were not asked for yet */
	double *seconds[GPU_MARKS / 2]; /* where they are added */
};

/* d has started, and outlives it. */
void bench_gpu_open(struct bench_gpu *g, struct device *d);
void bench_gpu_close(struct bench_gpu *g);      /* a zeroed *g is fine */

/* The GPU's limits in *l: bytes copied from its memory to its memory, read and written both counted, and operations of
 * cuBLASLt's product of large matrices of BF16, or in PRECISION_FP8 of E4M3.  Allocates.  0, or -1 and a message. */
int bench_gpu_limit(struct bench_gpu *g, enum precision p, struct limit *l);

/* 1 where the card is one, 0 where it is emulated and no figure means anything. */
int bench_gpu_real(const struct device *d);

/* Nothing of what comes next is in the card's cache; its limits were measured before. */
int bench_gpu_sweep(struct bench_gpu *g);

/* Around what is put on the stream for a stage; its time is added to *seconds by bench_gpu_times, which waits, at the
 * latest. */
int bench_gpu_enter(struct bench_gpu *g);
int bench_gpu_leave(struct bench_gpu *g, double *seconds);
int bench_gpu_times(struct bench_gpu *g);

/* n bytes of random numbers of dtype F32, BF16 or F8_E4M3, below 1, in the GPU. */
int bench_gpu_random(struct device *d, void *to, size_t n, enum dtype dtype);

#endif
