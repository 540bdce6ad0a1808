#include "base/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"

#define READ_BYTES (64 << 10)

int
lines_open(struct lines *l, const char *path, size_t max)
{
	int input = strcmp(path, "-") == 0;

	*l = (struct lines){.max = max, .name = input ? "standard input" : path};
	l->fd = input ? 0 : open(path, O_RDONLY | O_CLOEXEC);
	if (l->fd >= 0)
		return 0;
	return fail(errno == ENOENT ? FAIL_DATA : FAIL_SYSTEM, "cannot open '%s':", path);
}

/* Read once, if there is something to read. Returns 0, or -1 and a message. */
static int
lines_fill(struct lines *l, int wait)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	ssize_t n;

	buf_drop(&l->b, l->at);
	l->at = 0;
	/* (one byte more, for the NUL of a last line without newline) */
	if (mem_grow(&l->b.p, &l->b.cap, l->b.n + READ_BYTES + 1, 1) < 0)
		return -1;
	if (poll(&p, 1, wait ? -1 : 0) == 0)
		return 0;
	do
		n = read(l->fd, l->b.p + l->b.n, READ_BYTES);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return fail(FAIL_SYSTEM, "'%s': cannot read:", l->name);
	l->b.n += (size_t)n;
	l->ended = n == 0;
	return 0;
}

/* The line that ends at `end`; the next one starts `skip` bytes later. */
static int
lines_take(struct lines *l, size_t end, size_t skip, char **line, size_t *n)
{
	int dropped = l->dropping || end - l->at > l->max;

	l->b.p[end] = 0;
	*line = (char *)l->b.p + l->at;
	*n = end - l->at;
	l->at = end + skip;
	l->seen = l->dropping = 0;
	l->number++;
	if (!dropped)
		return LINES_LINE;
	fail(FAIL_DATA, "longer than %zu bytes", l->max);
	return LINES_LONG;
}

int
lines_next(struct lines *l, int wait, char **line, size_t *n)
{
	for (int tried = 0;; tried = 1) {
		size_t from = l->at + l->seen;
		unsigned char *end = l->b.n > from ? memchr(l->b.p + from, '\n', l->b.n - from) :
		    NULL;

		if (end)
			return lines_take(l, (size_t)(end - l->b.p), 1, line, n);
		l->seen = l->b.n - l->at;
		if (l->ended && (l->seen > 0 || l->dropping))
			return lines_take(l, l->b.n, 0, line, n);
		if (l->ended)
			return LINES_END;
		if (l->seen > l->max) {         /* its rest is read, not kept */
			l->dropping = 1;
			l->b.n = l->at;
			l->seen = 0;
		}
		if (tried && !wait)
			return LINES_WAIT;
		if (lines_fill(l, wait) < 0)
			return -1;
	}
}

void
lines_close(struct lines *l)
{
	if (l->fd > 0)
		close(l->fd);
	buf_free(&l->b);
}
