/*
 * The event loop of ds-embed: it never blocks in a write while an input is readable.
 */
#include <poll.h>

#include "base/fail.h"
#include "stage/embed_internal.h"

/* More prompts are admitted while less than this waits.  */
#define ITEMS_MAX 4096
#define BYTES_MAX (16u << 20)

static int
receive(struct embed *e, int input)
{
	struct frame f;
	int r;

	frame_init(&f);
	r = link_try_receive(&e->in[input], &f);
	if (r == 1)
		r = embed_receive(e, input, &f);
	else if (r == -2 && input == e->loop && e->finished)
		r = e->ended[input] = 1;
	else if (r == -2)
		r = fail(FAIL_SYSTEM, "%s: ended without an end frame: " LOST_UPSTREAM,
		    e->in[input].name);
	frame_free(&f);
	return r < 0 ? -1 : 0;
}

/* Prompts are admitted while the batches have room for them: what waits in a pipe costs no memory
 * here.  */
static int
admits(const struct embed *e)
{
	return fair_reads(e) && e->prompts.n - e->prompts.first < ITEMS_MAX &&
	    e->held < BYTES_MAX &&
	    (e->loop < 0 || e->sampling < (size_t)e->batch * (size_t)e->batches);
}

static int
prompts_ended(const struct embed *e)
{
	for (int i = 0; i < e->nin; i++)
		if (i != e->loop && !e->ended[i])
			return 0;
	return 1;
}

static int
idle(const struct embed *e)
{
	for (int i = 0; i < e->nout; i++)
		if (e->out[i].queue.n > 0)
			return 0;
	return 1;
}

/* Queue the end frame once nothing can follow.  */
static int
finish(struct embed *e)
{
	struct frame f;
	int r = 0;

	if (e->finished || !prompts_ended(e) || e->passing.first < e->passing.n ||
	    e->loops.first < e->loops.n || e->prompts.first < e->prompts.n || e->kv.again.n > 0 ||
	    e->files.nsaving > 0 || (e->loop >= 0 && e->seqs.n + e->learning.n > 0))
		return 0;
	frame_init(&f);
	f.op = OP_END;
	for (int i = 0; i < e->nout && r == 0; i++)
		r = link_queue(&e->out[i], &f);
	frame_free(&f);
	e->finished = 1;
	return r;
}

/* Wait until something can be read or written, at most `timeout` ms (-1: for ever), and do it.  1
 * if something was read, 0, or -1 and a message.  */
static int
step(struct embed *e, int timeout)
{
	struct pollfd p[2 * LINKS_MAX];
	int n = 0, input[LINKS_MAX], read = 0;

	for (int i = 0; i < e->nin; i++)
		if (!e->ended[i] && (i == e->loop || admits(e))) {
			input[n] = i;
			p[n++] = link_poll(&e->in[i]);
		}
	for (int i = 0, k = n; i < e->nout; i++, k++)
		p[k] = e->out[i].queue.n > 0 ? link_poll(&e->out[i]) : (struct pollfd){.fd = -1};
	if (poll(p, (nfds_t)(n + e->nout), timeout) < 0)
		return 0;       /* a signal: look again */
	for (int i = 0; i < n; i++) {
		if (p[i].revents && receive(e, input[i]) < 0)
			return -1;
		read |= p[i].revents != 0;
	}
	for (int i = 0; i < e->nout; i++)
		if (p[n + i].revents && link_flush(&e->out[i]) < 0)
			return -1;
	return read;
}

/* While a long prompt is sent, read the prompts that have come.  0, or -1 and a message.  */
static int
look(struct embed *e)
{
	int r = 1;

	while (r > 0 && fair_rows(e, e->batch) > 0)
		r = step(e, 0);
	return r < 0 ? -1 : 0;
}

/* Send what may go; 1 if all is done.  */
static int
push_on(struct embed *e)
{
	int r;

	while (idle(e) && (r = embed_batch(e)) != 0) {
		if (r < 0)
			return -1;
		for (int i = 0; i < e->nout; i++)
			if (link_flush(&e->out[i]) < 0)
				return -1;
		if (look(e) < 0)
			return -1;
	}
	if (finish(e) < 0)
		return -1;
	return e->finished && idle(e) && (e->loop < 0 || e->ended[e->loop]);
}

int
embed_run(struct embed *e)
{
	int r = kv_start(e);

	while (r >= 0 && (r = push_on(e)) == 0)
		if ((r = step(e, -1)) < 0)
			break;
	if (r < 0 && e->ring)   /* a full ring must not block the error frame */
		(void)link_close(&e->in[e->loop]);
	return r < 0 ? -1 : 0;
}
