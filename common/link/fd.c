/*
 * The transport for file descriptors: pipes, files, FIFOs.
 *
 * It reads exactly the bytes of a frame. What follows an end frame belongs to the next reader of
 * the descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "link/link_internal.h"

#define PIPE_USUAL (64 << 10)
#define PIPE_WIDE (1 << 20)

/* If a standard stream is closed, a file would get its number and be mistaken for it. */
static int
move_up(int fd)
{
	int up = fd;

	if (fd >= 0 && fd <= 2) {
		up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		close(fd);
	}
	return up;
}

/* A FIFO waits for a writer. If the parent has opened it, it has waited, and the writer may be gone
 * already: that is the end of the file. */
static int
open_input(const char *name)
{
	int inherited = strncmp(name, "/dev/fd/", 8) == 0;
	int fd = open(name, O_RDONLY | O_CLOEXEC | (inherited ? O_NONBLOCK : 0));

	if (fd >= 0 && inherited)
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return move_up(fd);
}

static int
fd_open(struct link *l)
{
	if (strcmp(l->name, "standard input") == 0)
		l->fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
	else if (strcmp(l->name, "standard output") == 0)
		l->fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
	else if (l->dir == LINK_IN)
		l->fd = open_input(l->name);
	else
		l->fd = move_up(open(l->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
	if (l->fd < 0)
		return fail(FAIL_SYSTEM, "cannot open '%s':", l->name);
	if (isatty(l->fd))
		return fail(FAIL_USAGE, "%s is a terminal: frames are binary, use a pipe or a file (ds-dump prints frames)",
		    l->name);
	return 0;
}

static void
wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	(void)poll(&p, 1, -1);
}

/* The input ends inside a frame, or it is a short file of another kind. */
static int
ended_within(const struct link *l)
{
	unsigned long long frame = l->frames - l->before + 1;

	if (frame_begins(l->frame, l->have) < 0)
		return fail_in("frame %llu", frame);
	return fail(FAIL_SYSTEM, "frame %llu ends after %zu of %zu bytes: " LOST_UPSTREAM, frame, l->have, l->need);
}

static int
fd_receive(struct link *l, struct frame *f, int wait)
{
	do {
		size_t room = link_room(l);
		ssize_t n;

		if (room == 0)
			return -1;
		n = read(l->fd, l->frame + l->have, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (!wait)
				return 0;
			wait_for(l->fd, POLLIN);
			continue;
		}
		if (n < 0)
			return fail(FAIL_SYSTEM, "cannot read:");
		if (n == 0)
			return l->have == 0 ? -2 : ended_within(l);
		if (link_received(l, (size_t)n) < 0)
			return -1;
		if (!wait && l->have < l->need)
			return 0;
	} while (l->have < l->need);
	return link_parse(l, f);
}

/* Enlarge the pipe before a write that exceeds the default size, so that both sides run longer
 * between waits. Not earlier, because the total memory of a user's pipes is limited. Descriptors
 * other than pipes stay as they are. */
static void
widen(struct link *l, size_t bytes)
{
	if (l->wide || bytes <= PIPE_USUAL)
		return;
	(void)fcntl(l->fd, F_SETPIPE_SZ, PIPE_WIDE);
	l->wide = 1;
}

/* Write as many of n bytes as possible without blocking; returns what write() does. If the
 * system cannot tell, at most PIPE_BUF: a pipe that polls writable accepts that many. */
static ssize_t
write_some(int fd, void *p, size_t n)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	struct iovec v = {p, n};
	ssize_t w;

	if (fcntl(fd, F_GETPIPE_SZ) > 0) {
		w = pwritev2(fd, &v, 1, -1, RWF_NOWAIT);
		if (w >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
			return w;
	}
	errno = EAGAIN;
	return poll(&ready, 1, 0) > 0 ? write(fd, p, n < PIPE_BUF ? n : PIPE_BUF) : -1;
}

/* Write the queue: all of it, or what goes without blocking. */
static int
flush(struct link *l, int wait)
{
	widen(l, l->queue.n);
	while (l->sent < l->queue.n) {
		unsigned char *p = l->queue.p + l->sent;
		size_t n = l->queue.n - l->sent;
		ssize_t w = wait ? write(l->fd, p, n) : write_some(l->fd, p, n);

		if (w < 0 && errno != EINTR && errno != EAGAIN)
			return fail(FAIL_SYSTEM, "cannot write:");
		if (w < 0 && errno == EAGAIN && !wait)
			return 0;
		if (w < 0 && errno == EAGAIN)
			wait_for(l->fd, POLLOUT);
		if (w > 0)
			l->sent += (size_t)w;
	}
	l->queue.n = l->sent = 0;
	return 1;
}

static int
fd_send(struct link *l, struct frame *f, int wait)
{
	struct iovec v[FRAME_IOV_MAX];
	size_t bytes = 0;
	int n;

	if (!f)
		return flush(l, wait);
	if (flush(l, 1) < 0 || (n = frame_iov(f, v)) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		bytes += v[i].iov_len;
	widen(l, bytes);
	return io_writev(l->fd, v, n) < 0 ? -1 : 1;
}

static struct pollfd
fd_ready(struct link *l)
{
	return (struct pollfd){.fd = l->fd, .events = l->dir == LINK_IN ? POLLIN : POLLOUT};
}

static int
fd_close(struct link *l)
{
	int std = l->dir == LINK_OUT && strcmp(l->name, "standard output") == 0;

	/* closing only the duplicate would leave the pipe open until the process ends */
	if (std)
		close(1);
	return close(l->fd) < 0 ? fail(FAIL_SYSTEM, "cannot write:") : 0;
}

const struct transport link_fd = {fd_open, fd_receive, fd_send, fd_ready, fd_close};
