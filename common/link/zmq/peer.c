#include "link/zmq/peer.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "link/zmq/libzmq.h"

#define RETRY 0.05
#define NEVER (3600 * 1000)     /* milliseconds */
#define FAILED (ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

static int
broken(const char *what)
{
	return fail(FAIL_SYSTEM, "%s: %s", what, zmq_strerror(zmq_errno()));
}

static int
set_int(void *s, int option, int value)
{
	return zmq_setsockopt(s, option, &value, sizeof(value)) < 0 ? broken("cannot set up the socket") : 0;
}

/* The receiver sends heartbeats that are valid for the timeout. libzmq must not wait for the
 * replies: they queue after frames that a busy program has not read yet (peer_silence). */
static int
set_options(void *s, enum link_dir dir)
{
	/* retry() connects again. With -1 libzmq would drop, once the sender closes, the frames
	 * that the receiver has not read yet. */
	int again = dir == LINK_IN ? NEVER : -1;
	int ms = (int)(link_settings.timeout * 1000), keep = (int)(link_settings.timeout / 3) + 1;
	int64_t largest = (int64_t)FRAME_PAYLOAD_MAX + FRAME_HEADER_MAX + FRAME_PREAMBLE + 5;

	if (zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &largest, sizeof(largest)) < 0)
		return broken("cannot set up the socket");
	return set_int(s, ZMQ_LINGER, 0) < 0 || set_int(s, ZMQ_RECONNECT_IVL, again) < 0 || set_int(s, ZMQ_IPV6, 1) < 0 ||
	    set_int(s, ZMQ_HEARTBEAT_IVL, dir == LINK_IN ? ms / 3 : 0) < 0 || set_int(s, ZMQ_HEARTBEAT_TTL, ms) < 0 ||
	    set_int(s, ZMQ_HEARTBEAT_TIMEOUT, 0) < 0 || set_int(s, ZMQ_HANDSHAKE_IVL, ms) < 0 ||
	    set_int(s, ZMQ_CONNECT_TIMEOUT, ms) < 0 || set_int(s, ZMQ_TCP_KEEPALIVE, 1) < 0 ||
	    set_int(s, ZMQ_TCP_KEEPALIVE_IDLE, keep) < 0 || set_int(s, ZMQ_TCP_KEEPALIVE_INTVL, keep) < 0 ||
	    set_int(s, ZMQ_TCP_KEEPALIVE_CNT, 2) < 0 ||
	    /* the sender counts bytes itself; the receiver buffers no more than the frame that
	     * it reads */
	    set_int(s, ZMQ_SNDHWM, 0) < 0 || set_int(s, ZMQ_RCVHWM, dir == LINK_IN ? 2 : 0) < 0 ? -1 : 0;
}

/* Event sources, as bits in epoll data. */
enum source { SOCKET = 1, MONITOR = 2, WAKE = 4, TIMER = 8, SOURCES = 4 };

static int
watch(struct peer *p, int fd, enum source what)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = what};

	return epoll_ctl(p->poll, EPOLL_CTL_ADD, fd, &e) < 0 ? fail(FAIL_SYSTEM, "cannot watch a socket:") : 0;
}

static int
watch_socket(struct peer *p, void *s, enum source what)
{
	int fd;
	size_t n = sizeof(fd);

	return zmq_getsockopt(s, ZMQ_FD, &fd, &n) < 0 ? broken("cannot watch the socket") : watch(p, fd, what);
}

static int
start_monitor(struct peer *p)
{
	static atomic_uint count;
	char name[64];

	snprintf(name, sizeof(name), "inproc://monitor-%u", count++);
	/* (a monitor without a reader cannot be ended: libzmq waits for one) */
	if (!(p->mon = context_socket(ZMQ_PAIR)))
		return -1;
	if (set_int(p->mon, ZMQ_RCVHWM, 0) < 0 || set_int(p->mon, ZMQ_LINGER, 0) < 0)
		return -1;
	if (zmq_socket_monitor(p->sock, name, ZMQ_EVENT_ALL) < 0)
		return broken("cannot watch the connection");
	return zmq_connect(p->mon, name) < 0 ? broken("cannot watch the connection") : watch_socket(p, p->mon, MONITOR);
}

static int
start(struct peer *p)
{
	p->nfds = 0;
	p->fd = -1;
	p->look = SOCKET | MONITOR;     /* libzmq signals only after a first look */
	if (!(p->sock = context_socket(p->dir == LINK_IN ? ZMQ_PULL : ZMQ_PUSH)))
		return -1;
	if (set_options(p->sock, p->dir) < 0 || auth_apply(p) < 0 || start_monitor(p) < 0 || watch_socket(p, p->sock, SOCKET) < 0)
		return -1;
	if ((p->bound ? zmq_bind(p->sock, p->url) : zmq_connect(p->sock, p->url)) < 0)
		return fail(FAIL_SYSTEM, "cannot %s: %s", p->bound ? "bind" : "connect",
		    zmq_errno() == EAGAIN || zmq_errno() == ENODEV ? "no such address on this host" : zmq_strerror(zmq_errno()));
	return 0;
}

int
peer_open(struct peer *p, const char *endpoint, enum link_dir dir)
{
	memset(p, 0, sizeof(*p));
	p->dir = dir;
	p->bound = *endpoint == '@';
	p->fd = -1;
	p->opened = clock_now();
	pthread_mutex_init(&p->lock, NULL);
	p->poll = epoll_create1(EPOLL_CLOEXEC);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->ready = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (p->poll < 0 || p->wake < 0 || p->ready < 0 || p->timer < 0)
		return fail(FAIL_SYSTEM, "cannot open descriptors:");
	if (!(p->url = strdup(endpoint + (*endpoint == '@' || *endpoint == '>'))))
		return fail(FAIL_SYSTEM, "no memory for an endpoint's name");
	return watch(p, p->wake, WAKE) < 0 || watch(p, p->timer, TIMER) < 0 ? -1 : start(p);
}

void
peer_set_timer(struct peer *p, double seconds)
{
	struct itimerspec t = {.it_value = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) + 1}};
	double due = clock_now() + seconds;

	if (p->due > 0 && p->due <= due)
		return;
	p->due = due;
	(void)timerfd_settime(p->timer, 0, &t, NULL);
}

/* --- monitor events --- */

static int
add_fd(struct peer *p, int fd)
{
	if (mem_grow(&p->fds, &p->cap, (size_t)p->nfds + 1, sizeof(*p->fds)) < 0)
		return -1;
	p->fds[p->nfds++] = fd;
	return 0;
}

static void
remove_fd(struct peer *p, int fd)
{
	for (int i = 0; i < p->nfds; i++)
		if (p->fds[i] == fd)
			p->fds[i--] = p->fds[--p->nfds];
}

/* A handshake failed. A bound socket ignores it. A connecting one gives up after the timeout,
 * once all allowed keys were tried: another program listens there, or one with another key. */
static void
refused(struct peer *p, int event)
{
	if (p->bound || p->up)
		return;
	if (p->refused == 0)
		p->refused = clock_now();
	if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
		p->why = auth_is_ipc(p) ? "it accepts programs of its own user only" : "our key is not allowed there";
	else if (clock_now() - p->refused > link_settings.timeout && auth_tried_all(p))
		p->why = LOST_HANDSHAKE;
}

/* A connection closed: the peer's, or one that never finished its handshake. */
static void
on_disconnect(struct peer *p, int fd)
{
	remove_fd(p, fd);
	if (!p->up) {
		auth_release(p);
		refused(p, 0);  /* peers that do not speak ZeroMQ are only disconnected */
		if (!p->bound)
			peer_set_timer(p, RETRY);
	} else if (p->fd < 0 ? p->nfds == 0 : p->fd == fd) {
		p->lost = 1;
		p->lost_at = clock_now();
		peer_set_timer(p, RETRY);
	}
}

static int
on_event(struct peer *p, int event, int value)
{
	if (event & FAILED)
		refused(p, event);
	switch (event) {
	case ZMQ_EVENT_CONNECTED:
		if (!auth_connected(p, value))
			p->why = "a program of another user listens there";
		/* fall through */
	case ZMQ_EVENT_ACCEPTED:        /* connections after the first are ignored */
		if (!p->up && add_fd(p, value) < 0)
			return -1;
		break;
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
		if (p->up)
			return fail(FAIL_SYSTEM, "a second program has connected: an endpoint connects two programs");
		p->up = 1;
		break;
	case ZMQ_EVENT_DISCONNECTED:
		on_disconnect(p, value);
		break;
	case ZMQ_EVENT_CLOSED:          /* nothing listens there */
		if (!p->up)
			p->refused = 0;
		if (!p->bound && !p->up)
			peer_set_timer(p, RETRY);
		break;
	}
	if (p->up && !p->lost && p->fd < 0 && p->nfds == 1)
		p->fd = p->fds[0];
	return 0;
}

/* Read the next monitor event: 1, or 0 if there is none. */
static int
next_event(struct peer *p, int *event, int *value)
{
	zmq_msg_t m;
	int n, got = 0;
	uint16_t e;
	uint32_t v;

	zmq_msg_init(&m);
	n = zmq_msg_recv(&m, p->mon, ZMQ_DONTWAIT);
	if (n == 6) {
		memcpy(&e, zmq_msg_data(&m), 2);
		memcpy(&v, (char *)zmq_msg_data(&m) + 2, 4);
		*event = e;
		*value = (int)v;
		got = 1;
	}
	while (n >= 0 && zmq_msg_more(&m))
		n = zmq_msg_recv(&m, p->mon, ZMQ_DONTWAIT);
	zmq_msg_close(&m);
	return got;
}

int
peer_events(const struct peer *p)
{
	int events = 0;
	size_t n = sizeof(events);

	return p->sock && zmq_getsockopt(p->sock, ZMQ_EVENTS, &events, &n) == 0 ? events : 0;
}

/* Connect again with a new socket. */
static int
retry(struct peer *p)
{
	peer_shut(p, 0);
	return start(p);
}

/* Wait up to ms milliseconds (-1: no limit). Returns the sources that are ready. */
static int
look(struct peer *p, int ms)
{
	struct epoll_event e[SOURCES];
	int n = epoll_wait(p->poll, e, SOURCES, ms), what = 0;

	for (int i = 0; i < n; i++)
		what |= (int)e[i].data.u32;
	return what;
}

int
peer_pump(struct peer *p)
{
	uint64_t n;
	int event = 0, value = 0, what = p->look ? p->look : look(p, 0);

	p->look = 0;
	if (!p->sock)
		return 0;
	if (what & WAKE)
		(void)!read(p->wake, &n, sizeof(n));
	if (what & SOCKET)
		/* lets libzmq process its commands; otherwise its descriptor stays readable */
		(void)peer_events(p);
	while (what & MONITOR && next_event(p, &event, &value))
		if (on_event(p, event, value) < 0)
			return -1;
	if (p->why)
		return fail(FAIL_SYSTEM, "%s", p->why);
	if (!(what & TIMER) || read(p->timer, &n, sizeof(n)) != sizeof(n))
		return 0;
	p->due = 0;
	if (p->up || p->bound)
		return 0;
	return retry(p) < 0 ? -1 : peer_pump(p);
}

/* A connecting socket wakes for its retries anyway. */
int
peer_overdue(struct peer *p)
{
	if (p->up || link_settings.wait <= 0)
		return 0;
	if (p->bound)
		peer_set_timer(p, 0.9);
	return clock_now() - p->opened > link_settings.wait;
}

void
peer_wait(struct peer *p, double until)
{
	double left = until - clock_now();

	if (!p->look)
		p->look = look(p, until == 0 ? -1 : left > 0 ? (int)(left * 1000) + 1 : 0);
}

/* --- sending --- */

struct message_part {
	struct peer *peer;
	size_t n;
	void *own;
};

/* Called on libzmq's threads when the bytes of a part have been sent or dropped. */
static void
on_part_sent(void *data, void *hint)
{
	struct message_part *part = hint;
	struct peer *p = part->peer;
	uint64_t one = 1;

	(void)data;
	free(part->own);
	pthread_mutex_lock(&p->lock);
	p->pending -= part->n;
	if (p->pending <= p->low_water && p->pending + part->n > p->low_water)
		(void)!write(p->wake, &one, sizeof(one));
	pthread_mutex_unlock(&p->lock);
	free(part);
}

int
peer_send(struct peer *p, void *data, size_t n, int more, void *own)
{
	struct message_part *part = malloc(sizeof(*part));
	zmq_msg_t m;

	if (!part || zmq_msg_init_data(&m, data, n, on_part_sent, part) < 0) {
		free(part);
		free(own);
		return fail(FAIL_SYSTEM, "no memory for a message of %zu bytes", n);
	}
	*part = (struct message_part){p, n, own};
	pthread_mutex_lock(&p->lock);
	p->pending += n;
	pthread_mutex_unlock(&p->lock);
	while (zmq_msg_send(&m, p->sock, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0) {
		if (zmq_errno() == EINTR)
			continue;
		if (zmq_errno() == EAGAIN && !p->lost && peer_pump(p) == 0 && !p->lost) {
			peer_wait(p, clock_now() + 0.01);
			continue;
		}
		zmq_msg_close(&m);
		return fail(FAIL_SYSTEM, LOST_DOWNSTREAM);
	}
	return 0;
}

size_t
peer_pending(struct peer *p, size_t low_water)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->pending;
	p->low_water = low_water;
	pthread_mutex_unlock(&p->lock);
	return n;
}

int
peer_unread(const struct peer *p)
{
	int n = 0;

	return p->fd >= 0 && !p->lost && ioctl(p->fd, SIOCOUTQ, &n) == 0 && n > 0;
}

static struct tcp_info
read_tcp_info(const struct peer *p)
{
	struct tcp_info i;
	socklen_t n = sizeof(i);

	memset(&i, 0, sizeof(i));
	if (p->fd >= 0 && !p->lost)
		(void)getsockopt(p->fd, IPPROTO_TCP, TCP_INFO, &i, &n);
	return i;
}

uint64_t
peer_bytes(const struct peer *p)
{
	return read_tcp_info(p).tcpi_bytes_received;
}

double
peer_silence(const struct peer *p)
{
	return read_tcp_info(p).tcpi_last_data_recv * 1e-3;
}

double
peer_unacked(struct peer *p)
{
	struct tcp_info i = read_tcp_info(p);
	double now = clock_now(), heard = now - i.tcpi_last_ack_recv * 1e-3;

	if (i.tcpi_unacked == 0 || now - p->checked > 2)   /* an old value says nothing about now */
		p->unacked_since = now;
	p->checked = now;
	if (heard > p->unacked_since)
		p->unacked_since = heard;
	return now - p->unacked_since;
}

/* --- closing --- */

static void
unwatch(struct peer *p, void *s)
{
	int fd;
	size_t n = sizeof(fd);

	if (zmq_getsockopt(s, ZMQ_FD, &fd, &n) == 0)
		(void)epoll_ctl(p->poll, EPOLL_CTL_DEL, fd, NULL);
}

void
peer_shut(struct peer *p, int linger)
{
	if (p->sock)    /* before its reader closes, which gets a last event */
		(void)zmq_socket_monitor(p->sock, NULL, 0);
	if (p->mon) {
		unwatch(p, p->mon);
		zmq_close(p->mon);
		context_done();
	}
	if (p->sock) {
		unwatch(p, p->sock);
		(void)zmq_setsockopt(p->sock, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(p->sock);
		context_done();
	}
	p->mon = p->sock = NULL;
	while (peer_pending(p, 0) > 0) {
		struct pollfd f = {.fd = p->wake, .events = POLLIN};
		uint64_t n;

		(void)poll(&f, 1, -1);
		(void)!read(p->wake, &n, sizeof(n));
	}
	auth_remove(p);
}

void
peer_free(struct peer *p)
{
	int *fds[] = {&p->poll, &p->wake, &p->timer, &p->ready};

	for (int i = 0; i < 4; i++)
		if (*fds[i] > 0)
			close(*fds[i]);
	free(p->fds);
	free(p->url);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
