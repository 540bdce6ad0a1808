#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"

#define SECONDS 5.0

int
lock_file(int fd, const char *path)
{
	double until = clock_now() + SECONDS;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return 0;
		if (clock_now() > until)
			return fail(FAIL_SYSTEM, "'%s': another run writes to it", path);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return 0;
}

/* Whether the locked file is still the one of that name: a run that ends removes its own. */
static int
is_named(int fd, const char *name)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(name, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino;
}

int
lock_path(int *fd, const char *path)
{
	char name[PATH_MAX];
	int named = 0;

	*fd = -1;
	if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name))
		return fail(FAIL_SYSTEM, "'%s': the path is too long", path);
	while (!named) {
		if ((*fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0)
			return fail(FAIL_SYSTEM, "cannot create '%s':", name);
		named = lock_file(*fd, path) < 0 ? -1 : is_named(*fd, name);
		if (named <= 0) {
			close(*fd);
			*fd = -1;
		}
	}
	return named < 0 ? -1 : 0;
}

void
lock_release(int *fd, const char *path)
{
	char name[PATH_MAX];

	if (*fd < 0)
		return;
	if (snprintf(name, sizeof(name), "%s.lock", path) < (int)sizeof(name))
		(void)unlink(name);
	close(*fd);
	*fd = -1;
}
