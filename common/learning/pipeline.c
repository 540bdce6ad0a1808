#include "learning/pipeline.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fail.h"
#include "stage/stage.h"

int
pipeline_open(struct pipeline *p, const char *feed, const char *back)
{
	*p = (struct pipeline){.signals = -1};
	if (link_open(&p->feed, feed, LINK_OUT) < 0)
		return -1;
	if (link_open(&p->back, back, LINK_IN) == 0)
		return 0;
	pipeline_drop(p);
	return -1;
}

void
pipeline_drop(struct pipeline *p)
{
	link_drop(&p->feed);
	link_drop(&p->back);
}

/* Send what goes.  If nothing does any more, the reason comes from the other end. */
static void
flush(struct pipeline *p)
{
	if (!p->lost && link_flush(&p->feed) < 0)
		p->lost = 1;
}

int
pipeline_send(struct pipeline *p, struct frame *f)
{
	if (p->lost)
		return 0;
	if (link_queue(&p->feed, f) < 0)
		return -1;
	flush(p);
	return 0;
}

int
pipeline_interrupted(struct pipeline *p)
{
	struct signalfd_siginfo s;

	if (read(p->signals, &s, sizeof(s)) != sizeof(s))
		return 0;
	p->sig = (int)s.ssi_signo;
	return fail(FAIL_SYSTEM, "interrupted");
}

/* 1 if a frame has come, 0 not yet, or -1. */
static int
take(struct pipeline *p, struct frame *f)
{
	int r = link_try_receive(&p->back, f);

	p->lost |= r == -2 || (r > 0 && f->op == OP_ERROR);
	if (r == -2)
		return fail(FAIL_SYSTEM, "%s: ended without an end frame: " LOST_UPSTREAM,
		    p->back.name);
	return r > 0 && f->op == OP_ERROR ? stage_upstream(f, &p->back) : r;
}

int
pipeline_receive(struct pipeline *p, struct frame *f)
{
	int r = 0;

	frame_free(f);
	while (r == 0) {
		struct pollfd v[3] = {link_poll(&p->back), {.fd = -1},
		    {.fd = p->signals, .events = POLLIN}};

		if (p->feed.queue.n > 0 && !p->lost)
			v[1] = link_poll(&p->feed);
		if (poll(v, 3, -1) < 0)
			continue;
		if (v[2].revents && pipeline_interrupted(p) < 0)
			return -1;
		if (v[1].revents)
			flush(p);
		if (v[0].revents)
			r = take(p, f);
	}
	return r < 0 ? -1 : 0;
}

int
pipeline_await(struct pipeline *p, enum op op, struct frame *f)
{
	int r;

	do
		r = pipeline_receive(p, f);
	while (r == 0 && f->op != op);
	return r;
}

void
pipeline_fail(struct pipeline *p)
{
	char text[1024], message[1100];
	int status = fail_status();
	struct frame f;

	fail_print();
	if (p->lost)
		return;
	snprintf(text, sizeof(text), "%s", fail_text());
	snprintf(message, sizeof(message), "%s: %s", program, text);
	frame_init(&f);
	if (frame_set_text(&f, message) == 0)
		(void)pipeline_send(p, &f);
	frame_free(&f);
	fail_restore(status, text);
}

int
pipeline_end(struct pipeline *p)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_END;
	f.changed = 1;
	r = pipeline_send(p, &f) < 0 || pipeline_await(p, OP_END, &f) < 0 ? -1 : 0;
	frame_free(&f);
	if (r < 0)
		return -1;
	return link_close(&p->feed) < 0 || link_close(&p->back) < 0 ? -1 : 0;
}
