/*
 * Tensors through GPU memory that two processes of a host share (CUDA IPC). The sender copies them
 * into a shared block and puts its handle into the frame. The receiver copies them out and
 * acknowledges over a second ZeroMQ link in the other direction. Until then the sender leaves the
 * block alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "device/tensor.h"
#include "link/gpu.h"

#define KEY "ipc"
#define POLL_MS 100     /* milliseconds between checks whether the peer is alive */
#define ALIGN ((size_t)256)     /* alignment of tensors in the block */
/* unit of sharing: a smaller block would be part of an allocation with other contents */
#define SHARE_UNIT ((size_t)2 << 20)

static size_t
align_up(size_t n)
{
	return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void
drop_scratch(struct gpu_link *g, struct scratch *s)
{
	if (s->p)
		device_release(g->d, s);
}

static int
open_back(struct gpu_link *g, struct link *l)
{
	return gpu_link_open_zmq(&g->back, strchr(l->name, ':') + 1, ".back", l->dir == LINK_IN ? LINK_OUT : LINK_IN);
}

/* Wait for an acknowledgement: 1, or the result of the link. The first link is checked as well,
 * because the peer may die before it opens the second one. What it sent before gets a moment to
 * arrive. */
static int
receive_ack(struct gpu_link *g, struct frame *f)
{
	for (;;) {
		int lost = gpu_link_lost(g), r = g->back.transport->receive(&g->back, f, 0);
		struct pollfd p;

		if (r != 0)
			return r;
		p = g->back.transport->ready(&g->back);
		(void)poll(&p, 1, POLL_MS);
		if (lost && (r = g->back.transport->receive(&g->back, f, 0)) == 0)
			return -2;
		if (r != 0)
			return r;
	}
}

/* Wait until the peer has read the shared block. */
static int
wait_ack(struct gpu_link *g)
{
	struct frame f;
	int r = 1;

	frame_init(&f);
	if (g->ack_pending)
		r = receive_ack(g, &f);
	frame_free(&f);
	if (g->ack_pending && r == 1)
		drop_scratch(g, &g->retired);
	g->ack_pending = 0;
	return r == 1 ? 0 : r == -2 ? fail(FAIL_SYSTEM, LOST_DOWNSTREAM) : -1;
}

/* Reserve a shared block of at least that size. The previous block is freed once the peer has
 * mapped the new one: CUDA must not free memory that another process has mapped. */
static int
reserve_shared(struct gpu_link *g, size_t bytes)
{
	if (g->shared.p && bytes <= g->shared.bytes)
		return 0;
	g->retired = g->shared;
	g->shared = (struct scratch){0};
	if (!device_reserve(g->d, &g->shared, (bytes + bytes / 4) / SHARE_UNIT * SHARE_UNIT + SHARE_UNIT))
		return -1;
	return g->d->lib->ipc_export(g->d->gpu, g->shared.p, g->handle) < 0 ? device_fail(g->d, "memory shared with the downstream program") : 0;
}

static int
write_note(struct gpu_link *g, struct frame *note, struct tensor *const *t, int n)
{
	const struct gpu_lib *lib = g->d->lib;
	size_t bytes = 0, at = 0;

	for (int i = 0; i < n; i++)
		bytes += align_up(t[i]->bytes);
	if (wait_ack(g) < 0 || reserve_shared(g, bytes) < 0)
		return -1;
	for (int i = 0; i < n; at += align_up(t[i++]->bytes))
		if (t[i]->bytes > 0 && lib->copy(g->d->gpu, (char *)g->shared.p + at, device_where(t[i]), t[i]->bytes) < 0)
			return device_fail(g->d, t[i]->name);
	return device_wait(g->d) < 0 ? -1 : gpu_link_put(note, KEY, g->handle, sizeof(g->handle));
}

static int
read_note(struct gpu_link *g, struct frame *f)
{
	const struct gpu_lib *lib = g->d->lib;
	const void *handle = gpu_link_get(f, KEY, GPU_IPC);

	if (!handle)
		return -1;
	if (!g->mapped || memcmp(handle, g->handle, GPU_IPC) != 0) {
		if (g->mapped)
			lib->ipc_close(g->d->gpu, g->mapped);
		memcpy(g->handle, handle, GPU_IPC);
		if (lib->ipc_open(g->d->gpu, g->handle, &g->mapped) < 0) {
			g->mapped = NULL;
			return device_fail(g->d, "memory shared by the upstream program");
		}
	}
	frame_drop_other(f, KEY);
	return 0;
}

static int
sent(struct gpu_link *g, struct tensor *const *t, int n)
{
	(void)t, (void)n;
	g->ack_pending = 1;
	return 0;
}

/* Acknowledge to the sender. */
static int
send_ack(struct gpu_link *g)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_FREE;
	f.changed = 1;
	r = frame_bytes(&f, &g->back.queue);
	while (r == 0 && (r = g->back.transport->send(&g->back, NULL, 0)) == 0) {
		struct pollfd p = g->back.transport->ready(&g->back);

		if (gpu_link_lost(g))
			r = fail(FAIL_SYSTEM, "the upstream program has exited");
		else
			(void)poll(&p, 1, POLL_MS);
	}
	frame_free(&f);
	return r < 0 ? -1 : 0;
}

static int
receive(struct gpu_link *g, void *const *to, const size_t *bytes, int n)
{
	size_t at = 0;

	for (int i = 0; i < n; at += align_up(bytes[i++]))
		if (bytes[i] > 0 && g->d->lib->copy(g->d->gpu, to[i], (const char *)g->mapped + at, bytes[i]) < 0)
			return device_fail(g->d, "memory shared by the upstream program");
	return device_wait(g->d) < 0 ? -1 : send_ack(g);
}

/* The receiver unmaps the memory and acknowledges; then the sender frees it. */
static void
release(struct gpu_link *g, int well)
{
	if (g->mapped) {
		g->d->lib->ipc_close(g->d->gpu, g->mapped);
		g->back.ended = well && send_ack(g) == 0;
		/* let it through before the link closes */
		g->back.frames = (uint64_t)g->back.ended;
	}
	if (g->shared.p && well) {
		g->ack_pending = 1;
		(void)wait_ack(g);      /* a peer that has exited has unmapped it */
	}
}

static int
close_ipc(struct gpu_link *g, int well)
{
	int r = well ? wait_ack(g) : 0;

	release(g, well && r == 0);
	drop_scratch(g, &g->retired);
	drop_scratch(g, &g->shared);
	(void)g->back.transport->close(&g->back);
	buf_free(&g->back.queue);
	free(g->back.name);
	free(g->back.frame);
	return r;
}

const struct carrier carrier_ipc = {"cuda", open_back, write_note, read_note, sent, receive, close_ipc};
