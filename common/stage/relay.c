#include "stage/relay.h"

#include <poll.h>

#include "base/fail.h"
#include "stage/stage.h"

struct relay {
	struct link *in;
	int nin;
	int going;              /* inputs that have not ended */
	int turn;               /* the input that is tried first */
};

/* 1: input i has brought a whole frame; 0: not yet; -1 and a message.  */
static int
try_input(struct relay *r, int i, struct frame *f)
{
	int got = link_try_receive(&r->in[i], f);

	if (got == -2)
		return fail(FAIL_SYSTEM, "%s: ended without an end frame: " LOST_UPSTREAM, r->in[i].name);
	if (got == 1)
		r->turn = (i + 1) % r->nin;     /* an input that is never empty must not starve the
						 * others */
	return got;
}

/* The next whole frame of any input: 1, or -1 and a message.  */
static int
receive(struct relay *r, struct frame *f)
{
	struct pollfd p[LINKS_MAX];
	int got = 0;

	if (r->nin == 1)
		return link_receive(&r->in[0], f);
	while (got == 0) {
		for (int i = 0; i < r->nin; i++)
			p[i] = r->in[i].ended ? (struct pollfd){.fd = -1} : link_poll(&r->in[i]);
		if (poll(p, (nfds_t)r->nin, -1) < 0)
			continue;       /* a signal */
		for (int k = 0, first = r->turn; k < r->nin && got == 0; k++) {
			int i = (first + k) % r->nin;

			if (p[i].revents)
				got = try_input(r, i, f);
		}
	}
	return got;
}

/* Forward the frame, except an end that is not the last: 1 go on, 0 it was the last, -1 and a
 * message.  */
static int
carry(struct relay *r, struct frame *f, struct link *out, int nout)
{
	int end = f->op == OP_END, error = f->op == OP_ERROR;

	if (end && --r->going > 0)
		return 1;
	if (stage_send(out, nout, f) < 0)
		return -1;
	return error ? stage_upstream(f, &r->in[(r->turn + r->nin - 1) % r->nin]) : !end;
}

int
relay_run(struct link *in, int nin, struct link *out, int nout)
{
	struct relay r = {.in = in, .nin = nin, .going = nin};
	struct frame f;
	int more = 1;

	frame_init(&f);
	while (more > 0) {
		if (receive(&r, &f) < 0) {
			frame_free(&f);
			return stage_fail(out, nout, program);
		}
		more = carry(&r, &f, out, nout);
	}
	frame_free(&f);
	return more;
}
