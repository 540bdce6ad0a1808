/*
 * Connections of two GPUs by NCCL.  Its library is loaded when the first is begun, so that who has
 * none needs none; what it does is asked for without blocking, since the other side may have died.
 * Without NCCL's header the library is built without them.
 */
#if __has_include(<nccl.h>)
#include <nccl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.cuh"

#ifdef DS_EMULATED
#define ADDRESS(so, name) ((void)(so), &name)
static void *const library = (void *)&library;
#else
#include <dlfcn.h>
#define ADDRESS(so, name) ((decltype(&name))dlsym(so, #name))
static void *library;
#endif

#define LOOK 50         /* microseconds between two questions whether it is through */

struct gpu_peer {
	ncclComm_t comm;
	int rank;
	int (*lost)(void *arg);         /* of nccl_open */
	void *arg;
};

static struct {
	decltype(&ncclGetUniqueId) id;
	decltype(&ncclCommInitRankConfig) open;
	decltype(&ncclCommGetAsyncError) state;
	decltype(&ncclCommDestroy) close;
	decltype(&ncclCommAbort) abort;
	decltype(&ncclSend) send;
	decltype(&ncclRecv) receive;
	decltype(&ncclGetErrorString) text;
} nccl;

static int
nccl_load(void)
{
	if (nccl.text)
		return 0;
#ifndef DS_EMULATED
	if (!library && !(library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL)))
		return gpu_fail("cannot load NCCL: %s", dlerror());
#endif
	nccl.id = ADDRESS(library, ncclGetUniqueId);
	nccl.open = ADDRESS(library, ncclCommInitRankConfig);
	nccl.state = ADDRESS(library, ncclCommGetAsyncError);
	nccl.close = ADDRESS(library, ncclCommDestroy);
	nccl.abort = ADDRESS(library, ncclCommAbort);
	nccl.send = ADDRESS(library, ncclSend);
	nccl.receive = ADDRESS(library, ncclRecv);
	if (nccl.id && nccl.open && nccl.state && nccl.close && nccl.abort && nccl.send && nccl.receive)
		nccl.text = ADDRESS(library, ncclGetErrorString);
	return nccl.text ? 0 : gpu_fail("this NCCL is too old: 2.14 is needed");
}

/* r, or what becomes of it if it is not through yet.  The first that is sent or received waits for
 * the other side, too. */
static int
through(struct gpu_peer *p, ncclResult_t r, const char *what)
{
	while (r == ncclInProgress) {
		if (p->lost(p->arg))
			return gpu_fail("%s: the program at the other end has gone", what);
		usleep(LOOK);
		if (nccl.state(p->comm, &r) != ncclSuccess)
			return gpu_fail("%s: NCCL has failed", what);
	}
	return r == ncclSuccess ? 0 : gpu_fail("%s: %s", what, nccl.text(r));
}

static int
nccl_id(unsigned char id[GPU_NCCL_ID])
{
	ncclUniqueId u;

	static_assert(sizeof(u) == GPU_NCCL_ID, "an id is what an id is");
	if (nccl_load() < 0)
		return -1;
	if (nccl.id(&u) != ncclSuccess)
		return gpu_fail("NCCL cannot make an id: is there a network?");
	memcpy(id, &u, sizeof(u));
	return 0;
}

static void
nccl_close(struct gpu_peer *p, int abort)
{
	if (p->comm)
		(void)(abort ? nccl.abort(p->comm) : nccl.close(p->comm));
	free(p);
}

static int
nccl_open(struct gpu *g, struct gpu_peer **to, const unsigned char id[GPU_NCCL_ID], int rank, int (*lost)(void *), void *arg)
{
	ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
	struct gpu_peer *p;
	ncclUniqueId u;

	*to = NULL;
	if (nccl_load() < 0 || gpu_check(cudaSetDevice(g->ordinal), "cannot use the GPU") < 0)
		return -1;
	p = (struct gpu_peer *)calloc(1, sizeof(*p));
	if (!p)
		return gpu_fail("out of memory");
	p->rank = rank;
	p->lost = lost;
	p->arg = arg;
	config.blocking = 0;
	memcpy(&u, id, sizeof(u));
	if (through(p, nccl.open(&p->comm, 2, u, rank, &config), "cannot connect") < 0) {
		nccl_close(p, 1);
		return -1;
	}
	*to = p;
	return 0;
}

static int
nccl_send(struct gpu *g, struct gpu_peer *p, const void *from, size_t bytes)
{
	return through(p, nccl.send(from, bytes, ncclUint8, 1 - p->rank, p->comm, g->stream), "cannot send");
}

static int
nccl_receive(struct gpu *g, struct gpu_peer *p, void *to, size_t bytes)
{
	return through(p, nccl.receive(to, bytes, ncclUint8, 1 - p->rank, p->comm, g->stream), "cannot receive");
}

static int
nccl_wait(struct gpu *g, struct gpu_peer *p, int (*lost)(void *), void *arg)
{
	ncclResult_t r = ncclSuccess;
	cudaError_t e;

	while ((e = cudaStreamQuery(g->stream)) == cudaErrorNotReady) {
		if (nccl.state(p->comm, &r) != ncclSuccess || (r != ncclSuccess && r != ncclInProgress))
			return gpu_fail("on the way: %s", nccl.text(r));
		if (lost(arg)) {
			nccl.abort(p->comm);    /* or the stream would wait for ever */
			p->comm = NULL;
			return gpu_fail("on the way: the program at the other end has gone");
		}
		usleep(LOOK);
	}
	if (gpu_check(e, "the GPU failed") < 0)
		return -1;
	return nccl.state(p->comm, &r) == ncclSuccess && r == ncclSuccess ? 0 : gpu_fail("on the way: %s", nccl.text(r));
}

void
nccl_fill(struct gpu_lib *l)
{
	l->nccl_id = nccl_id;
	l->nccl_open = nccl_open;
	l->nccl_send = nccl_send;
	l->nccl_receive = nccl_receive;
	l->nccl_wait = nccl_wait;
	l->nccl_close = nccl_close;
}
#else
#include "launch.cuh"

template <class... A> static int
without(A...)
{
	return gpu_fail("this library was built without NCCL: make wants its nccl.h");
}

void
nccl_fill(struct gpu_lib *l)
{
	l->nccl_id = without;
	l->nccl_open = without;
	l->nccl_send = without;
	l->nccl_receive = without;
	l->nccl_wait = without;
	l->nccl_close = [](struct gpu_peer *, int) {};
}
#endif
