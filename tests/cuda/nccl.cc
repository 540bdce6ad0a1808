/*
 * The emulated NCCL: two processes and a socket between them, whose name the id is.  Rank 0 waits there, rank 1 connects;
 * neither blocks.  Sending and receiving happen on the stream, and fail where the other side has gone.
 */
#include <errno.h>
#include <nccl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "emulate.h"

struct emulate_nccl {
	int rank, listening, fd;        /* -1: not (yet) there */
	int failed;
	sockaddr_un name;
};

const char *
ncclGetErrorString(ncclResult_t r)
{
	static const char *const text[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error",
	    "invalid argument", "invalid usage", "remote process exited or there was a network error", "NCCL operation in progress"};

	return text[r];
}

ncclResult_t
ncclGetUniqueId(ncclUniqueId *id)
{
	unsigned long long n;

	memset(id, 0, sizeof(*id));
	if (getrandom(&n, sizeof(n), 0) != sizeof(n))
		return ncclSystemError;
	snprintf(id->internal, sizeof(id->internal), "dspipe-emulated-nccl-%016llx", n);
	return ncclSuccess;
}

/* An address without a file: it begins with a NUL. */
static int
name_set(sockaddr_un *a, const ncclUniqueId *id)
{
	size_t n = strnlen(id->internal, sizeof(id->internal));

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (n == 0 || n >= sizeof(a->sun_path) - 1)
		return -1;
	memcpy(a->sun_path + 1, id->internal, n);
	return 0;
}

ncclResult_t
ncclCommInitRankConfig(ncclComm_t *to, int n, ncclUniqueId id, int rank, ncclConfig_t *config)
{
	emulate_nccl *c = (emulate_nccl *)calloc(1, sizeof(*c));

	*to = c;
	if (!c || n != 2 || rank < 0 || rank > 1 || config->blocking || name_set(&c->name, &id) < 0)
		return ncclInvalidArgument;
	c->rank = rank;
	c->fd = c->listening = -1;
	if (rank == 0) {
		c->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (bind(c->listening, (sockaddr *)&c->name, sizeof(c->name)) < 0 || listen(c->listening, 1) < 0)
			return ncclSystemError;
	}
	return ncclInProgress;
}

ncclResult_t
ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *r)
{
	if (c->fd < 0 && c->rank == 0)
		c->fd = accept4(c->listening, NULL, NULL, SOCK_CLOEXEC);
	if (c->fd < 0 && c->rank == 1) {
		c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(c->fd, (sockaddr *)&c->name, sizeof(c->name)) < 0) {
			close(c->fd);
			c->fd = -1;
		}
	}
	*r = c->failed ? ncclRemoteError : c->fd < 0 ? ncclInProgress : ncclSuccess;
	return ncclSuccess;
}

ncclResult_t
ncclCommDestroy(ncclComm_t c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->listening >= 0)
		close(c->listening);
	free(c);
	return ncclSuccess;
}

ncclResult_t
ncclCommAbort(ncclComm_t c)
{
	return ncclCommDestroy(c);
}

struct transfer {
	emulate_nccl *c;
	char *p;
	size_t n;
	int out;
};

static void
run(void *data)
{
	transfer t = *(transfer *)data;

	while (t.n > 0 && !t.c->failed) {
		ssize_t n = t.out ? send(t.c->fd, t.p, t.n, MSG_NOSIGNAL) : recv(t.c->fd, t.p, t.n, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			t.c->failed = 1;
			return;
		}
		t.p += n;
		t.n -= (size_t)n;
	}
}

static ncclResult_t
put(ncclComm_t c, const void *p, size_t n, ncclDataType_t type, int peer, cudaStream_t s, int out)
{
	transfer t = {c, (char *)const_cast<void *>(p), n, out};

	if (type != ncclUint8 || peer != 1 - c->rank || c->fd < 0)
		return ncclInvalidArgument;
	return emulate_put(s, run, &t, sizeof(t)) == 0 ? ncclSuccess : ncclInternalError;
}

ncclResult_t
ncclSend(const void *from, size_t n, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t s)
{
	return put(comm, from, n, type, peer, s, 1);
}

ncclResult_t
ncclRecv(void *to, size_t n, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t s)
{
	return put(comm, to, n, type, peer, s, 0);
}
