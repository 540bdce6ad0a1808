/*
 * The runtime of an emulated GPU.
 *
 * What is put on a stream is done in order when somebody waits for it, and not before: who forgets to wait sees what was there.
 * All device memory is one range of addresses, which hosts may touch only while kernels run: a program that follows
 * a device's pointer dies, as long as it uses little memory.  No address is given out twice.  The range lies in a file without a name, so that another
 * process can have a part of it (IPC).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { PAGE = 4096, NOTHING = 0xff /* NaN in all formats */, BEHIND = 0xa5 };
#define RANGE ((size_t)1 << 38)
#define SHUT_MOST ((size_t)8 << 20)
#define SHARED_MOST(capability) ((capability) < 90 ? 163u << 10 : 227u << 10)

struct op {
	struct op *next;
	void (*run)(void *data);
	alignas(16) char data[];
};

struct ops {
	struct op *first, *last;
};

struct emulate_graph {
	struct ops ops;
	int uses;               /* as a graph, as one that can be launched */
};

struct emulate_stream {
	struct ops ops;
	struct emulate_graph *recording;
	int broken;             /* something was done that cannot be recorded */
	struct emulate_stream *next;
};

struct emulate_event {
	double at;              /* seconds; 0: never happened */
	int due;                /* times that it stands in streams */
	struct emulate_stream *stream;
};

/* Memory that was given out, or that is another process's. */
struct allocation {
	char *p;
	size_t bytes, span;     /* span: with the guard after it */
	int device, taken;
	struct allocation *next;
};

struct handle {
	int magic, file;
	long process;
	size_t from, bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct emulate_stream *streams;
static struct allocation *allocations;
static char *range;
static size_t given;            /* bytes of the range that were given out */
static int file = -1;
static thread_local int device;
static thread_local cudaError_t last;

static cudaError_t
failed(cudaError_t e)
{
	if (e)
		last = e;
	return e;
}

const char *
cudaGetErrorString(cudaError_t e)
{
	static const struct {
		cudaError_t e;
		const char *text;
	} texts[] = {
		{ cudaSuccess, "no error" },
		{ cudaErrorInvalidValue, "invalid argument" },
		{ cudaErrorMemoryAllocation, "out of memory" },
		{ cudaErrorInvalidConfiguration, "invalid configuration argument" },
		{ cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version" },
		{ cudaErrorNoDevice, "no CUDA-capable device is detected" },
		{ cudaErrorInvalidDevice, "invalid device ordinal" },
		{ cudaErrorDeviceUninitialized, "invalid device context" },
		{ cudaErrorInvalidResourceHandle, "invalid resource handle" },
		{ cudaErrorNotReady, "device not ready" },
		{ cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing" },
		{ cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture" },
	};

	for (const auto &t : texts)
		if (t.e == e)
			return t.text;
	return "unrecognized error code";
}

cudaError_t
cudaGetLastError(void)
{
	cudaError_t e = last;

	last = cudaSuccess;
	return e;
}

/*
 * Devices
 */

static size_t
setting(const char *name, size_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static int
driver(void)
{
	const char *text = getenv("DS_EMULATE_DEVICES");

	return text && !strcmp(text, "none") ? 0 : text && !strcmp(text, "old") ? 11040 : 13000;
}

cudaError_t
cudaDriverGetVersion(int *v)
{
	*v = driver();
	return cudaSuccess;
}

cudaError_t
cudaRuntimeGetVersion(int *v)
{
	*v = 13000;
	return cudaSuccess;
}

cudaError_t
cudaGetDeviceCount(int *n)
{
	*n = driver() < 13000 ? 0 : (int)setting("DS_EMULATE_DEVICES", 1);
	return failed(driver() < 13000 ? cudaErrorInsufficientDriver : *n == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t
cudaSetDevice(int ordinal)
{
	int n;
	cudaError_t e = cudaGetDeviceCount(&n);

	if (e)
		return e;
	if (ordinal < 0 || ordinal >= n)
		return failed(cudaErrorInvalidDevice);
	device = ordinal;
	return cudaSuccess;
}

static unsigned
capability(void)
{
	return (unsigned)setting("DS_EMULATE_CAPABILITY", 90);
}

static size_t
memory(void)
{
	return setting("DS_EMULATE_MEMORY", (size_t)4 << 30);
}

cudaError_t
cudaGetDeviceProperties(cudaDeviceProp *p, int ordinal)
{
	int n;
	cudaError_t e = cudaGetDeviceCount(&n);

	if (e || ordinal < 0 || ordinal >= n)
		return e ? e : failed(cudaErrorInvalidDevice);
	memset(p, 0, sizeof(*p));
	strcpy(p->name, "emulated GPU");
	p->totalGlobalMem = memory();
	p->sharedMemPerBlockOptin = SHARED_MOST(capability());
	p->major = (int)capability() / 10;
	p->minor = (int)capability() % 10;
	p->multiProcessorCount = 5;
	return cudaSuccess;
}

/*
 * Memory
 */

static size_t
used(void)
{
	size_t n = 0;

	for (struct allocation *p = allocations; p; p = p->next)
		n += p->device == device && !p->taken ? p->bytes : 0;
	return n;
}

/* Let the host at the memory, or not.  Much of it takes long to shut: then it stays open. */
static void
range_open(int yes)
{
	static size_t open;     /* bytes that stay open */
	int bad = 0;

	if (given <= SHUT_MOST)
		bad = given && mprotect(range, given, yes ? PROT_READ | PROT_WRITE : PROT_NONE) < 0;
	else if (given > open)
		bad = mprotect(range + open, given - open, PROT_READ | PROT_WRITE) < 0, open = given;
	if (bad)
		emulate_die("mprotect: %s", strerror(errno));
}

/* The next allocation of the range, from a file at an offset, or the range's own. */
static struct allocation *
piece_new(size_t bytes, int from, size_t offset)
{
	struct allocation *p = (struct allocation *)calloc(1, sizeof(*p));
	size_t room = (bytes + PAGE - 1) / PAGE * PAGE;

	if (!range) {
		file = memfd_create("dspipe-gpu", MFD_CLOEXEC);
		range = (char *)mmap(NULL, RANGE, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
		if (file < 0 || range == MAP_FAILED || ftruncate(file, (off_t)RANGE) < 0)
			emulate_die("no memory to be a GPU's: %s", strerror(errno));
	}
	if (!p || room + PAGE > RANGE - given) {
		free(p);
		return NULL;
	}
	p->p = range + given;
	p->bytes = bytes;
	p->span = room + PAGE;
	p->device = device;
	if (from >= 0 && mmap(p->p, room, PROT_NONE, MAP_SHARED | MAP_FIXED, from, (off_t)offset) == MAP_FAILED) {
		free(p);
		return NULL;
	}
	given += p->span;
	p->next = allocations;
	allocations = p;
	return p;
}

static void
allocation_free(struct allocation *p)
{
	struct allocation **at = &allocations;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	ASAN_POISON_MEMORY_REGION(p->p, p->span);
	free(p);
}

static struct allocation *
piece_of(const void *at)
{
	struct allocation *p = allocations;

	while (p && ((const char *)at < p->p || (const char *)at >= p->p + p->bytes))
		p = p->next;
	return p;
}

cudaError_t
cudaMemGetInfo(size_t *left, size_t *total)
{
	pthread_mutex_lock(&lock);
	*total = memory();
	*left = *total > used() ? *total - used() : 0;
	pthread_mutex_unlock(&lock);
	return cudaSuccess;
}

cudaError_t
cudaMalloc(void **at, size_t n)
{
	struct allocation *p = NULL;

	*at = NULL;
	if (n == 0)
		return cudaSuccess;
	pthread_mutex_lock(&lock);
	if (used() <= memory() && n <= memory() - used())
		p = piece_new(n, -1, 0);
	if (p) {
		range_open(1);
		memset(p->p, NOTHING, n);
		memset(p->p + n, BEHIND, p->span - n);
		ASAN_POISON_MEMORY_REGION(p->p + n, p->span - n);
		range_open(0);
		*at = p->p;
	}
	pthread_mutex_unlock(&lock);
	return failed(p ? cudaSuccess : cudaErrorMemoryAllocation);
}

static void run_all(void);

cudaError_t
cudaFree(void *at)
{
	struct allocation *p;

	if (!at)
		return cudaSuccess;
	pthread_mutex_lock(&lock);
	run_all();
	p = piece_of(at);
	if (p && (p->p != at || p->taken))
		p = NULL;
	if (p) {
		range_open(1);
		ASAN_UNPOISON_MEMORY_REGION(p->p, p->span);
		for (size_t i = p->bytes; i < p->span; i++)
			if ((unsigned char)p->p[i] != BEHIND)
				emulate_die("byte %zu after %zu bytes of device memory was written", i - p->bytes, p->bytes);
		range_open(0);
		if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, p->p - range, (off_t)p->span) < 0)
			emulate_die("fallocate: %s", strerror(errno));
		allocation_free(p);
	}
	pthread_mutex_unlock(&lock);
	return failed(p ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t
cudaHostAlloc(void **p, size_t n, unsigned)
{
	*p = NULL;
	if (posix_memalign(p, 256, n) != 0)
		return failed(cudaErrorMemoryAllocation);
	memset(*p, NOTHING, n);
	return cudaSuccess;
}

cudaError_t
cudaFreeHost(void *p)
{
	pthread_mutex_lock(&lock);
	run_all();
	pthread_mutex_unlock(&lock);
	free(p);
	return cudaSuccess;
}

/*
 * Streams
 */

static cudaError_t
ops_add(struct ops *o, void (*run)(void *), const void *data, size_t n)
{
	struct op *op = (struct op *)aligned_alloc(16, (sizeof(*op) + n + 15) / 16 * 16);

	if (!op)
		return failed(cudaErrorMemoryAllocation);
	op->next = NULL;
	op->run = run;
	memcpy(op->data, data, n);
	if (o->first)
		o->last->next = op;
	else
		o->first = op;
	o->last = op;
	return cudaSuccess;
}

/* Do what is first, until nothing is left, or until *due is 0. */
static void
ops_run(struct ops *o, const int *due)
{
	struct op *op;

	if (!o->first || (due && !*due))
		return;
	range_open(1);
	while ((op = o->first) && (!due || *due)) {
		op->run(op->data);
		o->first = op->next;
		free(op);
	}
	range_open(0);
}

static void
ops_free(struct ops *o)
{
	while (o->first) {
		struct op *op = o->first;

		o->first = op->next;
		free(op);
	}
}

static void
run_all(void)
{
	for (struct emulate_stream *s = streams; s; s = s->next)
		ops_run(&s->ops, NULL);
}

int
emulate_put(struct emulate_stream *s, void (*run)(void *), const void *data, size_t n)
{
	return ops_add(s->recording ? &s->recording->ops : &s->ops, run, data, n);
}

cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
	*s = (cudaStream_t)calloc(1, sizeof(**s));
	if (!*s)
		return failed(cudaErrorMemoryAllocation);
	pthread_mutex_lock(&lock);
	(*s)->next = streams;
	streams = *s;
	pthread_mutex_unlock(&lock);
	return cudaSuccess;
}

cudaError_t
cudaStreamDestroy(cudaStream_t s)
{
	struct emulate_stream **at = &streams;

	pthread_mutex_lock(&lock);
	ops_run(&s->ops, NULL);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	pthread_mutex_unlock(&lock);
	if (s->recording)
		ops_free(&s->recording->ops);
	free(s->recording);
	free(s);
	return cudaSuccess;
}

cudaError_t
cudaStreamSynchronize(cudaStream_t s)
{
	if (s->recording) {
		s->broken = 1;
		return failed(cudaErrorStreamCaptureUnsupported);
	}
	pthread_mutex_lock(&lock);
	ops_run(&s->ops, NULL);
	pthread_mutex_unlock(&lock);
	return cudaSuccess;
}

/* Nothing goes on by itself here: who asks makes it happen. */
cudaError_t
cudaStreamQuery(cudaStream_t s)
{
	return cudaStreamSynchronize(s);
}

/*
 * Copies
 */

struct copying {
	void *to;
	const void *from;       /* NULL: byte */
	int byte;
	size_t n;
};

static void
copying_run(void *data)
{
	struct copying *c = (struct copying *)data;

	if (c->from)
		memcpy(c->to, c->from, c->n);
	else
		memset(c->to, c->byte, c->n);
}

/* Are these n bytes in the device's memory, or in nothing of it? */
static int
lies(const void *at, size_t n, int in_device)
{
	struct allocation *p;
	int yes;

	pthread_mutex_lock(&lock);
	p = piece_of(at);
	yes = in_device ? p && n <= (size_t)(p->p + p->bytes - (const char *)at) :
	    !range || (const char *)at < range || (const char *)at >= range + RANGE;
	pthread_mutex_unlock(&lock);
	return yes;
}

cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind, cudaStream_t s)
{
	struct copying c = { to, from, 0, n };

	if (n == 0)
		return cudaSuccess;
	if (!lies(to, n, kind != cudaMemcpyDeviceToHost) || !lies(from, n, kind != cudaMemcpyHostToDevice))
		return failed(cudaErrorInvalidValue);
	return (cudaError_t)emulate_put(s, copying_run, &c, sizeof(c));
}

cudaError_t
cudaMemsetAsync(void *to, int byte, size_t n, cudaStream_t s)
{
	struct copying c = { to, NULL, byte, n };

	if (n == 0)
		return cudaSuccess;
	if (!lies(to, n, 1))
		return failed(cudaErrorInvalidValue);
	return (cudaError_t)emulate_put(s, copying_run, &c, sizeof(c));
}

/*
 * Events
 */

static void
event_run(void *data)
{
	struct emulate_event *e = *(struct emulate_event **)data;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	e->at = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
	e->due--;
}

cudaError_t
cudaEventCreate(cudaEvent_t *e)
{
	*e = (cudaEvent_t)calloc(1, sizeof(**e));
	return failed(*e ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t
cudaEventDestroy(cudaEvent_t e)
{
	cudaEventSynchronize(e);
	free(e);
	return cudaSuccess;
}

cudaError_t
cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned flags)
{
	if (s->recording && flags != cudaEventRecordExternal) {
		s->broken = 1;
		return failed(cudaErrorStreamCaptureUnsupported);
	}
	if (!s->recording) {
		e->stream = s;
		e->due++;
	}
	return (cudaError_t)emulate_put(s, event_run, &e, sizeof(void *));
}

cudaError_t
cudaEventSynchronize(cudaEvent_t e)
{
	pthread_mutex_lock(&lock);
	if (e->due)
		ops_run(&e->stream->ops, &e->due);
	pthread_mutex_unlock(&lock);
	return cudaSuccess;
}

cudaError_t
cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
	if (from->due || to->due)
		return failed(cudaErrorNotReady);
	if (from->at == 0 || to->at == 0)
		return failed(cudaErrorInvalidResourceHandle);
	*ms = (float)((to->at - from->at) * 1e3);
	return cudaSuccess;
}

/*
 * Graphs
 */

cudaError_t
cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
	if (s->recording)
		return failed(cudaErrorStreamCaptureUnsupported);
	s->recording = (struct emulate_graph *)calloc(1, sizeof(*s->recording));
	s->broken = 0;
	return failed(s->recording ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t
cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
	*g = NULL;
	if (!s->recording)
		return failed(cudaErrorInvalidValue);
	*g = s->recording;
	(*g)->uses = 1;
	s->recording = NULL;
	if (!s->broken)
		return cudaSuccess;
	cudaGraphDestroy(*g);
	*g = NULL;
	return failed(cudaErrorStreamCaptureInvalidated);
}

cudaError_t
cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long)
{
	g->uses++;
	*e = g;
	return cudaSuccess;
}

static void
graph_run(void *data)
{
	struct emulate_graph *g = *(struct emulate_graph **)data;

	for (struct op *op = g->ops.first; op; op = op->next)
		op->run(op->data);
	cudaGraphDestroy(g);
}

cudaError_t
cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t s)
{
	if (s->recording) {
		s->broken = 1;
		return failed(cudaErrorStreamCaptureUnsupported);
	}
	for (struct op *op = g->ops.first; op; op = op->next)
		if (op->run == event_run) {
			struct emulate_event *e = *(struct emulate_event **)op->data;

			e->stream = s;
			e->due++;
		}
	g->uses++;
	return (cudaError_t)emulate_put(s, graph_run, &g, sizeof(void *));
}

cudaError_t
cudaGraphDestroy(cudaGraph_t g)
{
	if (--g->uses == 0) {
		ops_free(&g->ops);
		free(g);
	}
	return cudaSuccess;
}

cudaError_t
cudaGraphExecDestroy(cudaGraphExec_t e)
{
	return cudaGraphDestroy(e);
}

/*
 * IPC
 */

cudaError_t
cudaIpcGetMemHandle(cudaIpcMemHandle_t *h, void *at)
{
	struct handle mine = { 0x67707521, file, (long)getpid(), 0, 0 };
	struct allocation *p;

	pthread_mutex_lock(&lock);
	p = piece_of(at);
	if (p && p->p == at && !p->taken) {
		mine.from = (size_t)(p->p - range);
		mine.bytes = p->bytes;
	}
	pthread_mutex_unlock(&lock);
	if (!mine.bytes)
		return failed(cudaErrorInvalidValue);
	memset(h, 0, sizeof(*h));
	memcpy(h, &mine, sizeof(mine));
	return cudaSuccess;
}

cudaError_t
cudaIpcOpenMemHandle(void **at, cudaIpcMemHandle_t h, unsigned)
{
	struct handle theirs;
	struct allocation *p;
	char path[64];
	int fd;

	memcpy(&theirs, &h, sizeof(theirs));
	if (theirs.magic != 0x67707521)
		return failed(cudaErrorInvalidValue);
	if (theirs.process == (long)getpid())
		return failed(cudaErrorDeviceUninitialized);
	snprintf(path, sizeof(path), "/proc/%ld/fd/%d", theirs.process, theirs.file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return failed(cudaErrorInvalidValue);
	pthread_mutex_lock(&lock);
	p = piece_new(theirs.bytes, fd, theirs.from);
	if (p) {
		p->taken = 1;
		ASAN_POISON_MEMORY_REGION(p->p + p->bytes, p->span - p->bytes);
		*at = p->p;
	}
	pthread_mutex_unlock(&lock);
	close(fd);
	return failed(p ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t
cudaIpcCloseMemHandle(void *at)
{
	struct allocation *p;

	pthread_mutex_lock(&lock);
	run_all();
	p = piece_of(at);
	if (p && (p->p != at || !p->taken))
		p = NULL;
	if (p) {
		if (mmap(p->p, p->span, PROT_NONE, MAP_SHARED | MAP_FIXED, file, p->p - range) == MAP_FAILED)
			emulate_die("mmap: %s", strerror(errno));
		allocation_free(p);
	}
	pthread_mutex_unlock(&lock);
	return failed(p ? cudaSuccess : cudaErrorInvalidValue);
}

/*
 * Launches
 */

cudaError_t
emulate_allow(size_t shared)
{
	return failed(shared > SHARED_MOST(capability()) ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t
emulate_refuses(const cudaLaunchConfig_t *c)
{
	dim3 g = c->gridDim, b = c->blockDim;
	int fits = g.x > 0 && g.y > 0 && g.z > 0 && g.x <= 0x7fffffff && g.y <= 65535 && g.z <= 65535 && b.x > 0 && b.y > 0 &&
	    b.z > 0 && b.z <= 64 && (unsigned long long)b.x * b.y * b.z <= 1024 && c->dynamicSmemBytes <= SHARED_MOST(capability());

	return failed(fits ? cudaSuccess : cudaErrorInvalidConfiguration);
}
