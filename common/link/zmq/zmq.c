/*
 * The transport for tcp:// and ipc://: ZeroMQ, PUSH to PULL, one frame per message.
 *
 * A message has parts of at most PART bytes, so that heartbeats get through between them on a slow
 * line. Tensors are sent without a copy: the sender waits until they have left. Small frames are
 * copied, and up to QUEUE bytes of them may be pending.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "link/address.h"
#include "link/zmq/libzmq.h"
#include "link/link_internal.h"
#include "link/zmq/peer.h"

#define PART (1u << 20)
#define SMALL (64u << 10)
#define QUEUE (4u << 20)
#define GRACE 0.1       /* seconds for data received before a disconnect to reach our thread */

static int
zmq_transport_open(struct link *l)
{
	struct peer *p;
	int r;

	if (address_check(l->name) < 0 || !(p = mem_new(1, sizeof(*p))))
		return -1;
	r = peer_open(p, l->name, l->dir);
	if (r < 0) {
		peer_shut(p, 0);
		peer_free(p);
		return fail_in("%s", l->name);
	}
	l->state = p;
	return 0;
}

int
zmq_lost(const struct link *l)
{
	struct peer *p = l->state;

	return peer_pump(p) < 0 || p->lost || !p->sock;
}

/* --- receiving --- */

/* Append a message part to the frame being received. */
static int
append(struct link *l, const unsigned char *from, size_t n)
{
	while (n > 0) {
		size_t room;

		if (l->need > 0 && l->have == l->need)
			return fail(FAIL_DATA, "frame %llu: its message has extra bytes: a message is one frame",
			    (unsigned long long)l->frames + 1);
		if ((room = link_room(l)) == 0)
			return -1;
		room = n < room ? n : room;
		memcpy(l->frame + l->have, from, room);
		if (link_received(l, room) < 0)
			return -1;
		from += room;
		n -= room;
	}
	return 0;
}

/* Receive a message if there is one: 1, 0 or -1. */
static int
receive_message(struct link *l)
{
	struct peer *p = l->state;
	zmq_msg_t m;
	int more = 1, r = 0;

	zmq_msg_init(&m);
	while (more && r == 0) {
		if (zmq_msg_recv(&m, p->sock, ZMQ_DONTWAIT) < 0) {
			if (zmq_errno() == EINTR)
				continue;
			zmq_msg_close(&m);
			return zmq_errno() == EAGAIN ? 0 : fail(FAIL_SYSTEM, "cannot receive: %s", zmq_strerror(zmq_errno()));
		}
		more = zmq_msg_more(&m);
		r = append(l, zmq_msg_data(&m), zmq_msg_size(&m));
	}
	zmq_msg_close(&m);
	if (r == 0 && (l->need == 0 || l->have < l->need))
		r = fail(FAIL_DATA, "frame %llu: its message ends after %zu bytes: a message is one frame",
		    (unsigned long long)l->frames + 1, l->have);
	return r < 0 ? -1 : 1;
}

/* 1 if nothing came within the timeout, heartbeats included. While frames are pending nothing
 * can be concluded, and need not. Sets the timer for the next check. */
static int
is_dead(struct peer *p)
{
	double limit = link_settings.timeout, now = clock_now(), waited, silence;

	if (p->lost)
		peer_set_timer(p, GRACE);
	if (p->lost || !p->up)
		return 0;
	if (p->waiting_since == 0)
		p->waiting_since = now;
	if (p->due > 0)         /* not yet; this saves a system call per frame */
		return 0;
	waited = now - p->waiting_since;
	silence = peer_silence(p);
	if (waited > limit && silence > limit)
		return 1;
	peer_set_timer(p, limit - (waited < silence ? waited : silence) + 0.01);
	return 0;
}

static int
silent(void)
{
	return fail(FAIL_SYSTEM, LOST_SILENT, link_settings.timeout);
}

static int
never_came(void)
{
	return fail(FAIL_SYSTEM, LOST_NEVER_CAME, link_settings.wait);
}

static int
zmq_receive(struct link *l, struct frame *f, int wait)
{
	struct peer *p = l->state;

	for (;;) {
		int r;

		if (!p->sock)
			return -2;
		if (peer_pump(p) < 0 || (r = receive_message(l)) < 0)
			return -1;
		if (r == 1)
			break;
		if (p->lost && clock_now() - p->lost_at > GRACE)
			return -2;
		if (peer_overdue(p))
			return never_came();
		if (is_dead(p))
			return silent();
		if (!wait)
			return 0;
		peer_wait(p, 0);
	}
	p->waiting_since = 0;
	if (link_parse(l, f) < 0)
		return -1;
	if (f->op == OP_END)    /* this tells the sender that everything has arrived */
		peer_shut(p, 0);
	return 1;
}

/* --- sending --- */

/* 1 if the other host has not acknowledged sent data within the timeout: its kernel does so even
 * if the program is busy. Without this check a host that dies before its first heartbeat would
 * not be noticed. Sets the timer for the next check. */
static int
is_unreachable(struct peer *p)
{
	if (!p->up || p->lost || !p->sock || p->due > 0)
		return 0;
	peer_set_timer(p, 0.5);
	return peer_unacked(p) > link_settings.timeout;
}

/* Wait until the peer is connected and at most `pending` bytes are unsent. limit: seconds, 0:
 * none. */
static int
wait_room(struct peer *p, size_t pending, double limit)
{
	double until = limit > 0 ? clock_now() + limit : 0;

	for (;;) {
		if (peer_pump(p) < 0)
			return -1;
		if (p->lost || !p->sock)
			return fail(FAIL_SYSTEM, LOST_DOWNSTREAM);
		if (p->up && peer_pending(p, pending) <= pending)
			return 0;
		if (peer_overdue(p))
			return never_came();
		if (is_unreachable(p))
			return silent();
		if (until > 0 && clock_now() >= until)
			return fail(FAIL_SYSTEM, p->up ? LOST_STUCK : LOST_ABSENT);
		peer_wait(p, until);
	}
}

/* Send a copy of a frame of n bytes. */
static int
send_copy(struct peer *p, const struct iovec *v, int nv, size_t n)
{
	unsigned char *copy = mem_raw(n, 1), *to = copy;

	if (!copy)
		return -1;
	for (int i = 0; i < nv; i++) {
		if (v[i].iov_len > 0)
			memcpy(to, v[i].iov_base, v[i].iov_len);
		to += v[i].iov_len;
	}
	return peer_send(p, copy, n, 0, copy);
}

/* Send without a copy, in parts. */
static int
send_parts(struct peer *p, const struct iovec *v, int nv, size_t left)
{
	for (int i = 0; i < nv; i++)
		for (size_t at = 0, n; at < v[i].iov_len; at += n) {
			n = v[i].iov_len - at < PART ? v[i].iov_len - at : PART;
			left -= n;
			if (peer_send(p, (char *)v[i].iov_base + at, n, left > 0, NULL) < 0)
				return -1;
		}
	return 0;
}

static int
send_frame(struct peer *p, const struct iovec *v, int nv, double limit)
{
	size_t n = 0;
	int r;

	for (int i = 0; i < nv; i++)
		n += v[i].iov_len;
	if (wait_room(p, QUEUE, limit) < 0)
		return -1;
	if (n <= SMALL)
		return send_copy(p, v, nv, n);
	r = send_parts(p, v, nv, n);
	if (r == 0)
		r = wait_room(p, 0, limit);
	if (r < 0)
		peer_shut(p, 0);        /* no part of the frame is in use any more */
	return r;
}

/* Send queued frames, copied in parts: 1 if all were sent, 0 if some wait, or -1. */
static int
flush(struct link *l, int wait)
{
	struct peer *p = l->state;

	while (l->sent < l->queue.n) {
		unsigned char *at = l->queue.p + l->sent;
		size_t n = frame_size(at), part;

		if (wait ? wait_room(p, QUEUE, 0) < 0 : peer_pump(p) < 0)
			return -1;
		if (p->lost || !p->sock)
			return fail(FAIL_SYSTEM, LOST_DOWNSTREAM);
		if (peer_overdue(p))
			return never_came();
		if (is_unreachable(p))
			return silent();
		if (!p->up || peer_pending(p, QUEUE) > QUEUE)
			return 0;
		for (size_t left = n; left > 0; left -= part, at += part) {
			struct iovec v;
			unsigned char *copy;

			part = left < PART ? left : PART;
			v = (struct iovec){at, part};
			if (!(copy = mem_raw(part, 1)))
				return -1;
			memcpy(copy, v.iov_base, part);
			if (peer_send(p, copy, part, left > part, copy) < 0)
				return -1;
		}
		l->sent += n;
	}
	l->queue.n = l->sent = 0;
	return 1;
}

static int
zmq_transport_send(struct link *l, struct frame *f, int wait)
{
	struct iovec v[FRAME_IOV_MAX];
	int n;

	if (!f)
		return flush(l, wait);
	if (flush(l, 1) < 0 || (n = frame_iov(f, v)) < 0)
		return -1;
	/* a failed program notifies downstream, but does not wait for ever */
	return send_frame(l->state, v, n, f->op == OP_ERROR ? link_settings.timeout : 0) < 0 ? -1 : 1;
}

/* 1 if the next call need not wait. */
static int
is_ready(struct link *l)
{
	struct peer *p = l->state;

	if (!p->sock || peer_pump(p) < 0 || peer_overdue(p))
		return 1;       /* the next call reports why */
	if (l->dir == LINK_OUT)
		return p->lost || (p->up && peer_pending(p, QUEUE) <= QUEUE) || is_unreachable(p);
	return (peer_events(p) & ZMQ_POLLIN) || is_dead(p) || (p->lost && clock_now() - p->lost_at > GRACE);
}

/* libzmq's descriptor signals changes only, so an always-readable one stands for what is
 * pending. */
static struct pollfd
zmq_ready(struct link *l)
{
	struct peer *p = l->state;

	return (struct pollfd){.fd = is_ready(l) ? p->ready : p->poll, .events = POLLIN};
}

/* --- closing --- */

/* Everything has been sent: wait until the peer has it. It closes after reading `end`. A peer
 * that does not gets the timeout, counted from the last byte sent and the last heartbeat. */
static int
deliver(struct link *l)
{
	struct peer *p = l->state;
	double since = clock_now(), limit = link_settings.timeout;
	uint64_t signs = 0, now;

	for (;;) {
		if (peer_pump(p) < 0)
			return -1;
		if (p->lost)
			return l->ended ? 0 : fail(FAIL_SYSTEM, LOST_DOWNSTREAM);
		if (is_unreachable(p))
			return silent();
		now = peer_bytes(p);
		if (l->ended && (!p->up || now != signs || peer_pending(p, 0) > 0 || peer_unread(p)))
			since = clock_now();
		signs = now;
		if (clock_now() - since >= limit)
			return p->up ? 0 : fail(FAIL_SYSTEM, LOST_ABSENT);
		peer_wait(p, since + limit < clock_now() + 0.2 ? since + limit : clock_now() + 0.2);
	}
}

static int
zmq_transport_close(struct link *l)
{
	struct peer *p = l->state;
	int r = 0, used = l->dir == LINK_OUT && (l->frames > 0 || l->ended);

	if (!p)
		return 0;
	if (used && p->sock)
		r = deliver(l);
	peer_shut(p, r == 0 && used ? (int)(link_settings.timeout * 1000) : 0);
	peer_free(p);
	l->state = NULL;
	return r;
}

const struct transport link_zmq = {zmq_transport_open, zmq_receive, zmq_transport_send, zmq_ready, zmq_transport_close};
