#include "launch/streams.h"

#include <fcntl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fail.h"

int
streams_check(int texts)
{
	if (fcntl(0, F_GETFD) < 0) {
		if (!texts)
			return fail(FAIL_SYSTEM, "standard input is closed: give the prompt as an argument");
		(void)open("/dev/null", O_RDONLY);
	}
	if (fcntl(1, F_GETFD) < 0)
		return fail(FAIL_SYSTEM, "standard output is closed");
	if (fcntl(2, F_GETFD) < 0)
		(void)open("/dev/null", O_WRONLY);
	return 0;
}

int
streams_signals(sigset_t *mask)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction a;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (int i = 0; i < 3; i++)
		if (sigaction(ends[i], NULL, &a) == 0 && a.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, mask);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? fail(FAIL_SYSTEM, "cannot wait for signals:") : fd;
}

int
streams_pipe(int fd[2], int wanted)
{
	fd[0] = fd[1] = -1;
	return wanted && pipe2(fd, O_CLOEXEC) < 0 ? fail(FAIL_SYSTEM, "cannot create a pipe:") : 0;
}

void
streams_shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
