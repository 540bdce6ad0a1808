/*
 * For checks of the GPU library: it is opened, and arrays are put there and fetched.  The library is the one that DS_CUDA
 * names, or the emulated one beside the check.  What fails here ends the check.
 */
#ifndef DS_TEST_GPU_H
#define DS_TEST_GPU_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda/gpu.h"

enum { GPU_GUARD = 256, GPU_GUARD_BYTE = 0xa5, GPU_POISON = 0xff /* NaN in all formats */, GPU_ARRAYS = 4096,
	GPU_ORDERS = 4 };

static const struct gpu_lib *lib;
static struct gpu *gpu;

static struct {
	unsigned char *p;       /* NULL: not in use */
	size_t bytes;
} gpu_arrays[GPU_ARRAYS];

static inline void
gpu_must(int r)
{
	if (r == 0)
		return;
	printf("Bail out! %s\n", lib && lib->error ? lib->error() : "no GPU library");
	exit(1);
}

/* lib, without a GPU in use. */
static inline void
gpu_load(void)
{
	const struct gpu_lib *(*table)(void) = NULL;
	const char *path = getenv("DS_CUDA");
	char beside[4096];
	ssize_t n = readlink("/proc/self/exe", beside, sizeof(beside) - 32);
	void *so;

	while (n > 0 && beside[n - 1] != '/')
		n--;
	if (!path && n > 0) {
		strcpy(beside + n, "libdspipe-cuda.so");
		path = beside;
	}
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (so)
		*(void **)&table = dlsym(so, GPU_SYMBOL);
	if (!table) {
		printf("Bail out! %s\n", dlerror());
		exit(1);
	}
	lib = table();
	if (lib->version != GPU_VERSION) {
		printf("Bail out! %s is of version %d, this check of %d\n", path, lib->version, GPU_VERSION);
		exit(1);
	}
}

static inline void
gpu_start(void)
{
	gpu_load();
	gpu_must(lib->open(&gpu, 0));
	printf("# GPU library: %s\n", lib->kind);
}

/* Bytes before and behind an array that nobody may write.  The emulated GPU has such itself, and may not read them either. */
static inline size_t
gpu_guard(void)
{
	return strcmp(lib->kind, "emulated") == 0 ? 0 : GPU_GUARD;
}

/* An array in the GPU, aligned to 256 bytes; poisoned where host is NULL. */
static inline void *
to_gpu(const void *host, size_t bytes)
{
	size_t guard = gpu_guard();
	void *p;
	int i = 0;

	while (i < GPU_ARRAYS && gpu_arrays[i].p)
		i++;
	if (i == GPU_ARRAYS) {
		printf("Bail out! more than %d arrays\n", GPU_ARRAYS);
		exit(1);
	}
	gpu_must(lib->alloc(gpu, &p, bytes + 2 * guard));
	gpu_must(lib->fill(gpu, p, GPU_GUARD_BYTE, bytes + 2 * guard));
	gpu_arrays[i].p = (unsigned char *)p + guard;
	gpu_arrays[i].bytes = bytes;
	if (host)
		gpu_must(lib->upload(gpu, gpu_arrays[i].p, host, bytes));
	else
		gpu_must(lib->fill(gpu, gpu_arrays[i].p, GPU_POISON, bytes));
	gpu_must(lib->wait(gpu));
	return gpu_arrays[i].p;
}

static inline void *
in_gpu(size_t bytes)
{
	return to_gpu(NULL, bytes);
}

/* bytes of it, from wherever in an array. */
static inline void
from_gpu(void *host, const void *p, size_t bytes)
{
	gpu_must(lib->download(gpu, host, p, bytes));
	gpu_must(lib->wait(gpu));
}

/* Other numbers for an array that is there. */
static inline void
again_to_gpu(void *p, const void *host, size_t bytes)
{
	gpu_must(lib->upload(gpu, p, host, bytes));
	gpu_must(lib->wait(gpu));
}

/* w as it is in the GPU, all of its parts. */
static inline struct mat
mat_to_gpu(const struct mat *w)
{
	struct mat m = *w;

	m.data = to_gpu(w->data, (size_t)w->rows * dtype_row(w->dtype, w->cols));
	if (w->scale)
		m.scale = to_gpu(w->scale, (size_t)(w->row0 + w->rows + 127) / 128 * (size_t)w->scale_cols * sizeof(float));
	if (w->groups)
		m.groups = to_gpu(w->groups, (size_t)w->rows * (((size_t)w->cols + QUANT_GROUP - 1) / QUANT_GROUP));
	return m;
}

/* Results must not depend on the order in which threads and blocks run: where the GPU is emulated, the i-th of GPU_ORDERS of
 * them from now on. */
static inline void
gpu_order(int i)
{
	static const char *const orders[GPU_ORDERS] = { "forward", "reverse", "1", "2" };

	setenv("DS_EMULATE_ORDER", orders[i], 1);
}

/* Frees all arrays.  1, or 0 where a byte before or behind one was written. */
static inline int
gpu_clear(void)
{
	unsigned char around[2][GPU_GUARD];
	size_t guard = gpu_guard();
	int good = 1;

	gpu_must(lib->wait(gpu));
	for (int i = 0; i < GPU_ARRAYS; i++) {
		if (!gpu_arrays[i].p)
			continue;
		if (guard) {
			from_gpu(around[0], gpu_arrays[i].p - guard, guard);
			from_gpu(around[1], gpu_arrays[i].p + gpu_arrays[i].bytes, guard);
		}
		for (size_t k = 0; k < guard; k++)
			good &= around[0][k] == GPU_GUARD_BYTE && around[1][k] == GPU_GUARD_BYTE;
		lib->free(gpu, gpu_arrays[i].p - guard);
		gpu_arrays[i].p = NULL;
	}
	return good;
}

#endif
