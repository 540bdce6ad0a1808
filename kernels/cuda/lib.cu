/* The table of the library, and its message. */
#include <stdarg.h>
#include <stdio.h>

#include "launch.cuh"

static thread_local char message[400];

int
gpu_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	return -1;
}

int
gpu_check(cudaError_t e, const char *what)
{
	if (e == cudaSuccess)
		return 0;
	cudaGetLastError();     /* so that the next call does not see it */
	return gpu_fail("%s: %s", what, cudaGetErrorString(e));
}

int
launch_fits(const struct gpu *g, const char *who, dim3 grid, dim3 block, size_t shared)
{
	size_t threads = (size_t)block.x * block.y * block.z;

	if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0)
		return gpu_fail("%s: a launch of no threads", who);
	if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
		return gpu_fail("%s: a launch of %u x %u x %u blocks is too large", who, grid.x, grid.y, grid.z);
	if (threads > 1024 || block.z > 64)
		return gpu_fail("%s: blocks of %u x %u x %u threads are too large", who, block.x, block.y, block.z);
	if (shared > g->shared_most)
		return gpu_fail("%s: %zu bytes of shared memory are needed, and a block has at most %zu", who, shared, g->shared_most);
	return gpu_check(cudaSetDevice(g->ordinal), who);
}

static const char *
error_text(void)
{
	return message;
}

extern "C" __attribute__((visibility("default"))) const struct gpu_lib *
dspipe_gpu(void)
{
	static struct gpu_lib l;

	if (l.version)
		return &l;
#ifdef DS_EMULATED
	l.kind = "emulated";
#else
	l.kind = "cuda";
#endif
	l.error = error_text;
	device_fill(&l);
	nccl_fill(&l);
	vector_fill(&l);
	route_fill(&l);
	products_fill(&l);
	attend_fill(&l);
	peak_fill(&l);
	l.version = GPU_VERSION;
	return &l;
}
