#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"

/* After a failed read or write: 1 if a retry makes sense, at once or once a non-blocking
 * descriptor is ready. */
static int
again(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	if (errno != EAGAIN)
		return errno == EINTR;
	(void)poll(&p, 1, -1);
	return 1;
}

ptrdiff_t
io_read(int fd, void *p, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = read(fd, (char *)p + got, n - got);

		if (r == 0)
			break;
		if (r > 0)
			got += (size_t)r;
		else if (!again(fd, POLLIN))
			return fail(FAIL_SYSTEM, "cannot read:");
	}
	return (ptrdiff_t)got;
}

int
io_write(int fd, const void *p, size_t n)
{
	struct iovec v = {(void *)(uintptr_t)p, n};

	return io_writev(fd, &v, 1);
}

int
io_writev(int fd, struct iovec *iov, int n)
{
	while (n > 0) {
		ssize_t w;

		if (iov->iov_len == 0) {
			iov++, n--;
			continue;
		}
		w = writev(fd, iov, n < 1024 ? n : 1024);
		if (w < 0) {
			if (again(fd, POLLOUT))
				continue;
			return fail(FAIL_SYSTEM, "cannot write:");
		}
		for (; n > 0 && (size_t)w >= iov->iov_len; iov++, n--)
			w -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
	return 0;
}

int
io_slurp(int fd, struct buf *b, size_t max)
{
	for (;;) {
		ptrdiff_t r;

		if (mem_grow(&b->p, &b->cap, b->n + 65536, 1) < 0)
			return -1;
		r = io_read(fd, b->p + b->n, b->cap - b->n - 1);
		if (r < 0)
			return -1;
		b->n += (size_t)r;
		if (b->n > max)
			return fail(FAIL_DATA, "more than %zu bytes", max);
		if (b->n < b->cap - 1) {
			b->p[b->n] = 0;
			return 0;
		}
	}
}

int
io_file(const char *path, struct buf *b, size_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return fail(FAIL_DATA, "cannot open '%s':", path);
	r = io_slurp(fd, b, max);
	close(fd);
	return r < 0 ? fail_in("'%s'", path) : 0;
}

int
io_path(char *to, size_t size, const char *dir, const char *name)
{
	int n = snprintf(to, size, "%s/%s", dir, name);

	return n < 0 || (size_t)n >= size ? fail(FAIL_DATA, "path too long: '%.100s...'", dir) : 0;
}

const char *
program_folder(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0)
		return NULL;
	path[n] = 0;
	*strrchr(path, '/') = 0;
	return path;
}
