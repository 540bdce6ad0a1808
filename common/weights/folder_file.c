#include "weights/folder_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"

#define PATH_BYTES 4096
#define COPY_MAX (256u << 20)   /* bytes of a file that is copied */

static int
ends_in(const char *s, const char *end)
{
	return strlen(s) >= strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}

int
folder_file_is_weights(const char *name)
{
	static const char *const ends[] = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5",
	    ".msgpack", ".onnx", NULL};

	for (int i = 0; ends[i]; i++)
		if (ends_in(name, ends[i]))
			return 1;
	return 0;
}

int
folder_file_is_index(const char *name)
{
	return ends_in(name, ".index.json");
}

int
folder_file_write(const char *dir, const char *name, const void *p, size_t n)
{
	char path[PATH_BYTES];
	int fd, r;

	if (io_path(path, sizeof(path), dir, name) < 0)
		return -1;
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
		return fail(FAIL_SYSTEM, "cannot create '%s':", path);
	r = io_write(fd, p, n);
	if (close(fd) < 0 && r == 0)
		r = fail(FAIL_SYSTEM, "cannot write:");
	return r < 0 ? fail_in("'%s'", path) : 0;
}

int
folder_file_copy(const char *from, const char *to, const char *name)
{
	char path[PATH_BYTES];
	struct buf b = {0};
	struct stat st;
	int r;

	if (io_path(path, sizeof(path), from, name) < 0)
		return -1;
	if (stat(path, &st) < 0) {
		warn("'%s' is left out: %s", path, strerror(errno));
		return 0;
	}
	if (!S_ISREG(st.st_mode)) {
		if (!S_ISDIR(st.st_mode))
			warn("'%s' is left out: not a regular file", path);
		return 0;
	}
	r = file_read(path, &b, COPY_MAX) < 0 ? -1 : folder_file_write(to, name, b.p, b.n);
	buf_free(&b);
	return r;
}

void
folder_remove(const char *dir)
{
	char path[PATH_BYTES];
	const struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d)))
		if (io_path(path, sizeof(path), dir, e->d_name) == 0)
			(void)unlink(path);     /* "." and ".." stay */
	if (d)
		closedir(d);
	(void)rmdir(dir);
}
