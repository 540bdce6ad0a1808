#include "supervise/probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "link/address.h"

#define BYTES ((size_t)16 << 10)
#define RETRY 0.05      /* seconds between attempts to connect */
#define POLL_MS 20      /* milliseconds per poll */

/* One end of a link. The connecting end sends its bytes first and then reads; the bound end
 * reads first. */
struct end {
	int binds;
	struct addrinfo *at;            /* NULL: unknown here */
	int listener;                   /* bound end; -1: none */
	int fd;                         /* the connection; -1: none */
	size_t got, sent;
	double again;                   /* time of the next attempt */
	int met;
};

static void
open_end(struct end *e, const char *endpoint)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = *endpoint == '@' ? AI_PASSIVE : 0};
	char name[ADDRESS_NAME], port[8];
	int one = 1, zero = 0;

	*e = (struct end){.binds = *endpoint == '@', .listener = -1, .fd = -1};
	if (address_split(endpoint, name, port) < 0)
		return;
	if (e->binds && strcmp(name, "*") == 0)
		hints.ai_family = AF_INET6;     /* accepts IPv4 as well */
	if (getaddrinfo(strcmp(name, "*") == 0 ? NULL : name, port, &hints, &e->at) != 0)
		e->at = NULL;
	if (!e->binds || !e->at)
		return;
	e->listener = socket(e->at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(e->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)setsockopt(e->listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (e->listener >= 0 && (bind(e->listener, e->at->ai_addr, e->at->ai_addrlen) < 0 || listen(e->listener, 4) < 0)) {
		close(e->listener);
		e->listener = -1;
	}
}

static void
hang_up(struct end *e, double now)
{
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
	e->got = e->sent = 0;
	e->again = now + RETRY;
}

static void
connect_or_accept(struct end *e, double now)
{
	if (e->binds) {
		e->fd = e->listener >= 0 ? accept4(e->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
		return;
	}
	if (!e->at || now < e->again)
		return;
	e->fd = socket(e->at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (e->fd >= 0 && connect(e->fd, e->at->ai_addr, e->at->ai_addrlen) < 0 && errno != EINPROGRESS)
		hang_up(e, now);
}

static int
may_send(const struct end *e)
{
	return e->sent < BYTES && (!e->binds || e->got == BYTES);
}

/* Transfer what goes without blocking. */
static void
exchange(struct end *e, double now)
{
	char block[4096];
	int sends = may_send(e);
	size_t *moved = sends ? &e->sent : &e->got, left = BYTES - *moved;
	ssize_t n;

	memset(block, e->binds ? 'b' : 'a', sizeof(block));
	left = left < sizeof(block) ? left : sizeof(block);
	n = sends ? send(e->fd, block, left, MSG_NOSIGNAL) : recv(e->fd, block, left, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || (!sends && block[0] != (e->binds ? 'a' : 'b'))) {
		hang_up(e, now);
		return;
	}
	*moved += (size_t)n;
	e->met = e->sent == BYTES && e->got == BYTES;
}

static struct pollfd
poll_end(const struct end *e)
{
	if (e->fd < 0)
		return (struct pollfd){.fd = e->listener, .events = POLLIN};
	return (struct pollfd){.fd = e->fd, .events = may_send(e) ? POLLOUT : POLLIN};
}

/* Poll all ends once. Returns how many have not met their peer yet. */
static int
step(struct end *e, struct pollfd *p, int n)
{
	double now = clock_now();
	int left = 0;

	for (int i = 0; i < n; i++) {
		if (!e[i].met && e[i].fd < 0)
			connect_or_accept(&e[i], now);
		p[i] = e[i].met ? (struct pollfd){.fd = -1} : poll_end(&e[i]);
		left += !e[i].met;
	}
	if (left == 0 || poll(p, (nfds_t)n, POLL_MS) <= 0)
		return left;
	for (int i = 0; i < n; i++)
		if (!e[i].met && e[i].fd >= 0 && p[i].fd == e[i].fd && p[i].revents)
			exchange(&e[i], now);
	return left;
}

static int
result(const struct end *e, int n)
{
	char text[900] = PROBE_WORD;
	size_t used = strlen(text);
	int bad = 0;

	for (int i = 0; i < n; i++) {
		if (e[i].met)
			continue;
		bad = 1;
		if (used < sizeof(text) - 12)
			used += (size_t)snprintf(text + used, sizeof(text) - used, " %d", i);
	}
	return bad ? fail(FAIL_SYSTEM, "%s", text) : 0;
}

int
probe_run(const char *seconds, char **ends, int n)
{
	double limit = strtod(seconds, NULL), until = clock_now() + limit;
	struct end *e = mem_new((size_t)n + 1, sizeof(*e));
	struct pollfd *p = mem_new((size_t)n + 1, sizeof(*p));
	int r = -1;

	if (e && p) {
		for (int i = 0; i < n; i++)
			open_end(&e[i], ends[i]);
		while (step(e, p, n) > 0 && clock_now() < until)
			;
		r = result(e, n);
		for (int i = 0; i < n; i++) {
			hang_up(&e[i], 0);
			if (e[i].listener >= 0)
				close(e[i].listener);
			if (e[i].at)
				freeaddrinfo(e[i].at);
		}
	}
	free(e);
	free(p);
	return r;
}
