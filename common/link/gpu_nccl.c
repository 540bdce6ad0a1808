/*
 * Tensors by NCCL: a communicator of two ranks, created with the first frame that has tensors in
 * GPU memory. The sender creates its id.
 */
#include "base/fail.h"
#include "device/tensor.h"
#include "link/gpu.h"

#define KEY "nccl"

static int
open_nothing(struct gpu_link *g, struct link *l)
{
	(void)g, (void)l;
	return 0;
}

static int
open_peer(struct gpu_link *g, const unsigned char *id, int rank)
{
	return g->d->lib->nccl_open(g->d->gpu, &g->peer, id, rank, gpu_link_lost, g) < 0 ? device_fail(g->d, "NCCL") : 0;
}

/* The id travels before the first tensors; the communicator is ready once the receiver has it. */
static int
write_note(struct gpu_link *g, struct frame *note, struct tensor *const *t, int n)
{
	(void)t, (void)n;
	if (g->peer)
		return 0;
	if (g->d->lib->nccl_id(g->id) < 0)
		return device_fail(g->d, "NCCL");
	return gpu_link_put(note, KEY, g->id, sizeof(g->id));
}

static int
read_note(struct gpu_link *g, struct frame *f)
{
	const void *id;

	if (g->peer)
		return 0;
	if (!(id = gpu_link_get(f, KEY, GPU_NCCL_ID)) || open_peer(g, id, 1) < 0)
		return -1;
	frame_drop_other(f, KEY);
	return 0;
}

static int
wait_done(struct gpu_link *g)
{
	return g->d->lib->nccl_wait(g->d->gpu, g->peer, gpu_link_lost, g) < 0 ? device_fail(g->d, "NCCL") : 0;
}

static int
send(struct gpu_link *g, struct tensor *const *t, int n)
{
	if (!g->peer && open_peer(g, g->id, 0) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (t[i]->bytes > 0 && g->d->lib->nccl_send(g->d->gpu, g->peer, device_where(t[i]), t[i]->bytes) < 0)
			return device_fail(g->d, t[i]->name);
	return wait_done(g);
}

static int
receive(struct gpu_link *g, void *const *to, const size_t *bytes, int n)
{
	for (int i = 0; i < n; i++)
		if (bytes[i] > 0 && g->d->lib->nccl_receive(g->d->gpu, g->peer, to[i], bytes[i]) < 0)
			return device_fail(g->d, "NCCL");
	return wait_done(g);
}

static int
close_nccl(struct gpu_link *g, int well)
{
	if (g->peer)
		g->d->lib->nccl_close(g->peer, !well);
	return 0;
}

const struct carrier carrier_nccl = {"nccl", open_nothing, write_note, read_note, send, receive, close_nccl};
