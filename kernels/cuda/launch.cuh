/*
 * What the sources of the library share: the GPU in use, messages, launches.  All of it is plain
 * CUDA, and the same where the GPU is emulated (tests/cuda).
 */
#ifndef DS_LAUNCH_H
#define DS_LAUNCH_H

#include <cuda_runtime.h>

#include "table.h"

#define WORKSPACES 40

struct gpu {
	int ordinal, capability;        /* 80: 8.0 */
	int processors;
	size_t shared_most;             /* bytes of shared memory that a block can have */
	cudaStream_t stream;
	cudaEvent_t marks[GPU_MARKS];
	int recording;
	void *workspaces[WORKSPACES];   /* gpu_workspace: each more than twice the one before, the last of workspace_bytes */
	int nworkspaces;
	size_t workspace_bytes;
	struct lt *lt;                  /* lt.cu; NULL: not begun */
	char name[128];
};

/* Keep the message of this thread: always -1. */
int gpu_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* 0 where e is no error; else -1, and what failed and why is kept. */
int gpu_check(cudaError_t e, const char *what);

/* The library's own memory for what a product needs on the way: at least so many bytes, aligned to
 * 256, free for others as soon as what was put on the stream has used it.  When more is asked for
 * than ever before there is another, which can't be while recording; the ones before stay, for
 * recordings that use them.  NULL and a message. */
void *gpu_workspace(struct gpu *g, size_t bytes);

static inline int
gpu_processors(const struct gpu *g)
{
	return g->processors;
}

static inline int
gpu_capability(const struct gpu *g)
{
	return g->capability;
}

/* T *name: the dynamic shared memory of the block. */
#ifdef __CUDACC__
#define SHARED(T, name) \
	extern __shared__ __align__(128) unsigned char gpu_shared[]; \
	T *name = (T *)gpu_shared
#else
#define SHARED(T, name) T *name = (T *)emulate_shared()
#endif

/* 0, or -1 and a message: can a kernel be launched with these? */
int launch_fits(const struct gpu *g, const char *who, dim3 grid, dim3 block, size_t shared);

/* launch(g, kernel, grid, block, shared, args...): put the kernel at the end of g's stream, with
 * that many bytes of dynamic shared memory.  0, or -1 and a message that names the calling
 * function.  Kernels are static: other sources may have one of the same name. */
#define launch(g, ...) launch_as(g, __func__, __VA_ARGS__)

template <class... P, class... A> static inline int
launch_as(struct gpu *g, const char *who, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A... args)
{
	cudaLaunchConfig_t c = {};

	if (launch_fits(g, who, grid, block, shared) < 0)
		return -1;
	c.gridDim = grid;
	c.blockDim = block;
	c.dynamicSmemBytes = shared;
	c.stream = g->stream;
	if (shared > 48 << 10 &&
	    gpu_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared), who) < 0)
		return -1;
	return gpu_check(cudaLaunchKernelEx(&c, kernel, static_cast<P>(args)...), who);
}

#endif
