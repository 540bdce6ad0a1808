#include "stage/write_behind.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fail.h"
#include "stage/stage.h"

void
write_behind_init(struct write_behind *b, struct link *out, int nout, struct device *device)
{
	memset(b, 0, sizeof(*b));
	b->out = out;
	b->nout = nout;
	b->gpu = device && device_is_gpu(device) ? device : NULL;
	for (int i = 0; i < nout; i++)
		if (link_accepts_device(&out[i]))
			b->gpu = NULL;
}

int
write_behind_suits(const struct write_behind *b, const struct frame *f)
{
	return b->gpu && f->op == OP_NONE && frame_payload(f) >= WRITE_BEHIND_MIN;
}

/* --- the thread --- */

static void *
write_all(void *arg)
{
	struct write_behind *b = arg;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		int r;

		while (!b->busy && !b->last)
			pthread_cond_wait(&b->changed, &b->lock);
		if (!b->busy)
			break;
		pthread_mutex_unlock(&b->lock);
		r = stage_send(b->out, b->nout, &b->f);
		frame_free(&b->f);
		pthread_mutex_lock(&b->lock);
		if (r < 0) {
			b->status = fail_status();
			snprintf(b->text, sizeof(b->text), "%s", fail_text());
		}
		b->busy = 0;
		pthread_cond_broadcast(&b->changed);
		(void)eventfd_write(b->written, 1);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

static int
start(struct write_behind *b)
{
	if ((b->written = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		return fail(FAIL_SYSTEM, "cannot open descriptors:");
	frame_init(&b->f);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->changed, NULL);
	if (pthread_create(&b->thread, NULL, write_all, b) != 0) {
		pthread_cond_destroy(&b->changed);
		pthread_mutex_destroy(&b->lock);
		close(b->written);
		return fail(FAIL_SYSTEM, "cannot start the writer thread");
	}
	b->started = 1;
	return 0;
}

/* --- the stage --- */

static int
is_busy(struct write_behind *b)
{
	int busy;

	if (!b->started)
		return 0;
	pthread_mutex_lock(&b->lock);
	busy = b->busy;
	pthread_mutex_unlock(&b->lock);
	return busy;
}

/* 0, or -1 and the message of a write that failed.  */
static int
result(const struct write_behind *b)
{
	return b->status ? fail(b->status, "%s", b->text) : 0;
}

/* Wait until the thread is idle.  */
static int
settle(struct write_behind *b)
{
	if (!b->started)
		return 0;
	pthread_mutex_lock(&b->lock);
	while (b->busy)
		pthread_cond_wait(&b->changed, &b->lock);
	pthread_mutex_unlock(&b->lock);
	return result(b);
}

int
write_behind_receive(struct write_behind *b, struct link *in, struct frame *f)
{
	eventfd_t n;
	int r = 0;

	/* the sender may wait for the frame that cannot be written: wait for both */
	while (r == 0 && !in->ended && is_busy(b)) {
		struct pollfd p[2] = {link_poll(in), {.fd = b->written, .events = POLLIN}};

		if (poll(p, 2, -1) < 0)
			continue;       /* a signal */
		if (p[1].revents)
			(void)eventfd_read(b->written, &n);
		else
			r = link_try_receive(in, f);
	}
	if (r == 1 || r == -1)
		return r;
	if (!is_busy(b) && result(b) < 0)
		return -1;
	return link_receive(in, f);
}

int
write_behind_send(struct write_behind *b, struct frame *f)
{
	if (settle(b) < 0)
		return -1;
	if (!write_behind_suits(b, f))
		return stage_send(b->out, b->nout, f);
	if (!b->started && start(b) < 0)
		return -1;
	frame_move(&b->f, f);
	/* The frame's tensors lie in one half of the pinned memory until it is written.  What is
	 * read and computed meanwhile uses the other half.  Two halves suffice: the next frame
	 * comes here only after this one was written.  */
	b->gpu->turn = !b->gpu->turn;
	pthread_mutex_lock(&b->lock);
	b->busy = 1;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	return 0;
}

int
write_behind_end(struct write_behind *b)
{
	if (!b->started)
		return 0;
	pthread_mutex_lock(&b->lock);
	b->last = 1;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	pthread_join(b->thread, NULL);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	close(b->written);
	b->started = 0;
	return result(b);
}
