#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "learning/learning_internal.h"

void
shard_folder_remove(const char *path)
{
	char name[PATH_MAX];
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (io_path(name, sizeof(name), path, e->d_name) == 0)
			(void)unlink(name);     /* "." and ".." stay */
	if (d)
		closedir(d);
	(void)rmdir(path);
}

int
shard_folder_make(const char *path)
{
	shard_folder_remove(path);
	return mkdir(path, 0777) == 0 ? 0 : fail(FAIL_SYSTEM, "cannot create '%s':", path);
}

int
shard_folder_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return fail(FAIL_SYSTEM, "cannot open '%s':", path);
	r = fsync(fd) < 0 && errno != EINVAL ? fail(FAIL_SYSTEM, "'%s': cannot write:", path) : 0;
	close(fd);
	return r;
}
