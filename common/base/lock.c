#include "base/lock.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

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
