#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "learning/learning_internal.h"
#include "weights/folder_file.h"

int
shard_folder_make(const char *path)
{
	folder_remove(path);
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
