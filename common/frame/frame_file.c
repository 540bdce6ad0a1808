#include "frame/frame_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"

static int
set_path(struct frame_file *f, const char *path)
{
	f->fd = -1;
	f->left = 0;
	if ((size_t)snprintf(f->path, sizeof(f->path), "%s", path) >= sizeof(f->path) ||
	    (size_t)snprintf(f->part, sizeof(f->part), "%s.part-XXXXXX", path) >= sizeof(f->part))
		return fail(FAIL_USAGE, "'%s': the path is too long", path);
	return 0;
}

/* --- writing --- */

int
frame_file_create(struct frame_file *f, const char *path)
{
	mode_t mask = umask(0);         /* which can only be read by setting it */

	(void)umask(mask);
	if (set_path(f, path) < 0)
		return -1;
	if ((f->fd = mkostemp(f->part, O_CLOEXEC)) < 0)
		return fail(FAIL_SYSTEM, "cannot create '%s':", path);
	if (fchmod(f->fd, 0666 & ~mask) < 0)
		return frame_file_finish(f, fail(FAIL_SYSTEM, "'%s': cannot set its mode:", path));
	return 0;
}

int
frame_file_write(struct frame_file *f, struct frame *frame)
{
	struct iovec v[FRAME_IOV_MAX];
	int n = frame_iov(frame, v);

	return n < 0 || io_writev(f->fd, v, n) < 0 ? fail_in("'%s'", f->path) : 0;
}

static int
write_end(struct frame_file *f)
{
	struct frame end;
	int r;

	frame_init(&end);
	end.op = OP_END;
	r = frame_file_write(f, &end);
	frame_free(&end);
	return r;
}

int
frame_file_finish(struct frame_file *f, int r)
{
	if (r == 0)
		r = write_end(f);
	if (close(f->fd) < 0 && r == 0)
		r = fail(FAIL_SYSTEM, "'%s': cannot write:", f->path);
	if (r == 0 && rename(f->part, f->path) < 0)
		r = fail(FAIL_SYSTEM, "cannot rename '%s':", f->part);
	if (r < 0)
		(void)unlink(f->part);
	f->fd = -1;
	return r;
}

/* --- reading --- */

int
frame_file_open(struct frame_file *f, const char *path)
{
	struct stat st;

	if (set_path(f, path) < 0)
		return -1;
	/* a FIFO of that name must not block */
	if ((f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0 || fstat(f->fd, &st) < 0) {
		fail(FAIL_DATA, "cannot open '%s':", path);
		frame_file_close(f);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		frame_file_close(f);
		return fail(FAIL_DATA, "'%s' is not a regular file", path);
	}
	f->left = (uint64_t)st.st_size;
	return 0;
}

/* The preamble, then the whole frame of it. */
static int
read_frame(struct frame_file *f, struct frame *frame)
{
	unsigned char preamble[FRAME_PREAMBLE], *raw;
	size_t n;

	if (f->left < sizeof(preamble))
		return fail(FAIL_DATA, "it ends without an end frame");
	if (io_read(f->fd, preamble, sizeof(preamble)) != (ptrdiff_t)sizeof(preamble))
		return fail(FAIL_DATA, "it has become shorter");
	if (!(n = frame_size(preamble)))
		return -1;
	if (n > f->left)
		return fail(FAIL_DATA, "a frame of %zu bytes begins where it has %llu", n,
		    (unsigned long long)f->left);
	if (!(raw = mem_raw(n, 1)))
		return -1;
	memcpy(raw, preamble, sizeof(preamble));
	if (io_read(f->fd, raw + sizeof(preamble), n - sizeof(preamble)) !=
	    (ptrdiff_t)(n - sizeof(preamble))) {
		free(raw);
		return fail(FAIL_DATA, "it has become shorter");
	}
	f->left -= n;
	return frame_parse(frame, raw, n);
}

int
frame_file_read(struct frame_file *f, struct frame *frame)
{
	if (read_frame(f, frame) < 0)
		return fail_in("'%s'", f->path);
	return frame->op != OP_END;
}

void
frame_file_close(struct frame_file *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = -1;
}
