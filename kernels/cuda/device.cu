/* The device: memory, copies, marks, recordings, memory of other processes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch.cuh"
#include "lt.h"

struct gpu_graph {
	cudaGraphExec_t exec;
};

/*
 * The device
 */

/* No driver, or one that does not fit. */
static int
no_driver(cudaError_t e)
{
	int has = 0, needs = 0;

	cudaGetLastError();
	if (e != cudaErrorInsufficientDriver)
		return gpu_check(e, "cannot look for GPUs");
	cudaDriverGetVersion(&has);
	cudaRuntimeGetVersion(&needs);
	if (has == 0)
		return gpu_fail("there is no NVIDIA driver here");
	return gpu_fail("the NVIDIA driver is one for CUDA %d.%d, and %d.%d is needed", has / 1000, has % 1000 / 10,
	    needs / 1000, needs % 1000 / 10);
}

static int
device_count(int *n)
{
	cudaError_t e = cudaGetDeviceCount(n);

	if (e == cudaErrorNoDevice) {
		cudaGetLastError();
		*n = 0;
		return 0;
	}
	return e == cudaSuccess ? 0 : no_driver(e);
}

static void
device_close(struct gpu *g)
{
	if (!g)
		return;
	cudaSetDevice(g->ordinal);
	lt_close(g->lt);
	for (int i = 0; i < g->nworkspaces; i++)
		cudaFree(g->workspaces[i]);
	for (int i = 0; i < GPU_MARKS; i++)
		if (g->marks[i])
			cudaEventDestroy(g->marks[i]);
	if (g->stream)
		cudaStreamDestroy(g->stream);
	cudaGetLastError();
	free(g);
}

/* What g says of itself, its stream and its marks. */
static int
device_begin(struct gpu *g)
{
	cudaDeviceProp p;

	if (gpu_check(cudaGetDeviceProperties(&p, g->ordinal), "cannot ask the GPU what it is") < 0)
		return -1;
	if (p.major < 8)
		return gpu_fail("the GPU %s has compute capability %d.%d, and 8.0 is needed", p.name, p.major, p.minor);
	g->capability = p.major * 10 + p.minor;
	g->processors = p.multiProcessorCount;
	g->shared_most = p.sharedMemPerBlockOptin;
	snprintf(g->name, sizeof(g->name), "%.*s", (int)sizeof(g->name) - 1, p.name);
	if (gpu_check(cudaSetDevice(g->ordinal), "cannot use the GPU") < 0 ||
	    gpu_check(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "cannot make a stream") < 0)
		return -1;
	for (int i = 0; i < GPU_MARKS; i++)
		if (gpu_check(cudaEventCreate(&g->marks[i]), "cannot make an event") < 0)
			return -1;
	return 0;
}

static int
device_open(struct gpu **to, int ordinal)
{
	struct gpu *g;
	int n;

	*to = NULL;
	if (device_count(&n) < 0)
		return -1;
	if (n == 0)
		return gpu_fail("there is no GPU here");
	if (ordinal < 0 || ordinal >= n)
		return gpu_fail("there is no GPU %d here: %d, counted from 0", ordinal, n);
	g = (struct gpu *)calloc(1, sizeof(*g));
	if (!g)
		return gpu_fail("out of memory");
	g->ordinal = ordinal;
	if (device_begin(g) < 0) {
		device_close(g);
		return -1;
	}
	*to = g;
	return 0;
}

static int
device_about(struct gpu *g, struct gpu_about *a)
{
	memset(a, 0, sizeof(*a));
	memcpy(a->name, g->name, sizeof(a->name));
	a->major = g->capability / 10;
	a->minor = g->capability % 10;
	a->processors = g->processors;
	if (gpu_check(cudaSetDevice(g->ordinal), "cannot use the GPU") < 0)
		return -1;
	return gpu_check(cudaMemGetInfo(&a->free, &a->memory), "cannot ask how much memory the GPU has");
}

/*
 * Memory
 */

static int
device_alloc(struct gpu *g, void **p, size_t bytes)
{
	size_t left = 0, total = 0;
	cudaError_t e;

	*p = NULL;
	if (gpu_check(cudaSetDevice(g->ordinal), "cannot use the GPU") < 0)
		return -1;
	e = cudaMalloc(p, bytes ? bytes : 1);
	if (e != cudaErrorMemoryAllocation)
		return gpu_check(e, "cannot allocate memory of the GPU");
	cudaGetLastError();
	cudaMemGetInfo(&left, &total);
	return gpu_fail("%zu bytes of the GPU's memory are needed, and %zu of its %zu are free", bytes, left, total);
}

static void
device_free(struct gpu *g, void *p)
{
	cudaSetDevice(g->ordinal);
	gpu_check(cudaFree(p), "cannot free memory of the GPU");
}

void *
gpu_workspace(struct gpu *g, size_t bytes)
{
	size_t twice = 2 * g->workspace_bytes, least = (size_t)1 << 20;
	void *p;

	if (bytes <= g->workspace_bytes)
		return g->workspaces[g->nworkspaces - 1];
	bytes = bytes > twice ? bytes : twice;
	bytes = bytes > least ? bytes : least;
	if (g->recording || g->nworkspaces == WORKSPACES) {
		gpu_fail("a product needs more memory than before, and this is being recorded: compute it once first");
		return NULL;
	}
	if (device_alloc(g, &p, bytes) < 0)
		return NULL;
	g->workspaces[g->nworkspaces++] = p;
	g->workspace_bytes = bytes;
	return p;
}

static int
device_pin(struct gpu *g, void **p, size_t bytes)
{
	*p = NULL;
	if (gpu_check(cudaSetDevice(g->ordinal), "cannot use the GPU") < 0)
		return -1;
	if (cudaHostAlloc(p, bytes ? bytes : 1, cudaHostAllocDefault) == cudaSuccess)
		return 0;
	cudaGetLastError();
	return gpu_fail("cannot pin %zu bytes of memory", bytes);
}

static void
device_unpin(struct gpu *g, void *p)
{
	if (!p)
		return;
	cudaSetDevice(g->ordinal);
	gpu_check(cudaFreeHost(p), "cannot free pinned memory");
}

static int
device_upload(struct gpu *g, void *to, const void *host, size_t bytes)
{
	return gpu_check(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, g->stream), "cannot copy to the GPU");
}

static int
device_download(struct gpu *g, void *host, const void *from, size_t bytes)
{
	return gpu_check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, g->stream), "cannot copy from the GPU");
}

static int
device_copy(struct gpu *g, void *to, const void *from, size_t bytes)
{
	return gpu_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, g->stream), "cannot copy in the GPU");
}

static int
device_fill(struct gpu *g, void *to, int byte, size_t bytes)
{
	return gpu_check(cudaMemsetAsync(to, byte, bytes, g->stream), "cannot fill memory of the GPU");
}

static int
device_wait(struct gpu *g)
{
	return gpu_check(cudaStreamSynchronize(g->stream), "the GPU failed");
}

/*
 * Marks
 */

static int
device_mark(struct gpu *g, int i)
{
	unsigned flags = g->recording ? cudaEventRecordExternal : cudaEventRecordDefault;

	return gpu_check(cudaEventRecordWithFlags(g->marks[i], g->stream, flags), "cannot mark a point");
}

static int
device_passed(struct gpu *g, int i)
{
	return gpu_check(cudaEventSynchronize(g->marks[i]), "the GPU failed");
}

static int
device_between(struct gpu *g, int from, int to, double *seconds)
{
	float ms = 0;

	if (gpu_check(cudaEventElapsedTime(&ms, g->marks[from], g->marks[to]), "cannot tell the time") < 0)
		return -1;
	*seconds = ms * 1e-3;
	return 0;
}

/*
 * Recordings
 */

static int
device_record(struct gpu *g)
{
	if (gpu_check(cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal), "cannot record") < 0)
		return -1;
	g->recording = 1;
	return 0;
}

static void
device_graph_free(struct gpu_graph *graph)
{
	if (!graph)
		return;
	if (graph->exec)
		gpu_check(cudaGraphExecDestroy(graph->exec), "cannot free a recording");
	free(graph);
}

static int
device_recorded(struct gpu *g, struct gpu_graph **graph)
{
	struct gpu_graph *r;
	cudaGraph_t made = NULL;
	int bad;

	*graph = NULL;
	g->recording = 0;
	if (gpu_check(cudaStreamEndCapture(g->stream, &made), "cannot record") < 0)
		return -1;
	r = (struct gpu_graph *)calloc(1, sizeof(*r));
	bad = r ? gpu_check(cudaGraphInstantiate(&r->exec, made, 0), "cannot make a recording ready") : gpu_fail("out of memory");
	cudaGraphDestroy(made);
	if (bad < 0) {
		free(r);
		return -1;
	}
	*graph = r;
	return 0;
}

static int
device_replay(struct gpu *g, struct gpu_graph *graph)
{
	return gpu_check(cudaGraphLaunch(graph->exec, g->stream), "cannot replay");
}

/*
 * Memory of other processes
 */

static int
device_ipc_export(struct gpu *g, void *p, unsigned char handle[GPU_IPC])
{
	cudaIpcMemHandle_t h;

	static_assert(sizeof(h) == GPU_IPC, "a handle is what a handle is");
	if (gpu_check(cudaSetDevice(g->ordinal), "cannot use the GPU") < 0 ||
	    gpu_check(cudaIpcGetMemHandle(&h, p), "cannot share memory of the GPU") < 0)
		return -1;
	memcpy(handle, &h, sizeof(h));
	return 0;
}

static int
device_ipc_open(struct gpu *g, const unsigned char handle[GPU_IPC], void **p)
{
	cudaIpcMemHandle_t h;

	*p = NULL;
	memcpy(&h, handle, sizeof(h));
	if (gpu_check(cudaSetDevice(g->ordinal), "cannot use the GPU") < 0)
		return -1;
	return gpu_check(cudaIpcOpenMemHandle(p, h, cudaIpcMemLazyEnablePeerAccess), "cannot use another process's memory of the GPU");
}

static void
device_ipc_close(struct gpu *g, void *p)
{
	cudaSetDevice(g->ordinal);
	gpu_check(cudaIpcCloseMemHandle(p), "cannot let go of another process's memory of the GPU");
}

void
device_fill(struct gpu_lib *l)
{
	l->count = device_count;
	l->open = device_open;
	l->close = device_close;
	l->about = device_about;
	l->alloc = device_alloc;
	l->free = device_free;
	l->pin = device_pin;
	l->unpin = device_unpin;
	l->upload = device_upload;
	l->download = device_download;
	l->copy = device_copy;
	l->fill = device_fill;
	l->wait = device_wait;
	l->mark = device_mark;
	l->passed = device_passed;
	l->between = device_between;
	l->record = device_record;
	l->recorded = device_recorded;
	l->replay = device_replay;
	l->graph_free = device_graph_free;
	l->ipc_export = device_ipc_export;
	l->ipc_open = device_ipc_open;
	l->ipc_close = device_ipc_close;
}
