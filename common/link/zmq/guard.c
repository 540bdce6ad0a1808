#include "link/zmq/guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"

#define FRAMES 32
#define DESCRIPTORS_MAX 32
#define SLACK ((size_t)1 << 20)

static void *library;           /* load address of libzmq */

/* Does not allocate: memory may be exhausted. */
static int
is_from_library(void)
{
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES);
	Dl_info info;

	for (int i = 0; i < n; i++)
		if (dladdr(frames[i], &info) && info.dli_fbase == library)
			return 1;
	return 0;
}

static void
write_stderr(const char *text)
{
	(void)!write(2, text, strlen(text));
}

/* Other aborts, and signals from users, keep their default effect. */
static void
aborted(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code == SI_TKILL && is_from_library()) {
		write_stderr(program);
		write_stderr(": ZeroMQ ran out of descriptors, memory or threads (ulimit -n, -v, -u)\n");
		_exit(FAIL_SYSTEM);
	}
	signal(sig, SIG_DFL);
	raise(sig);
}

void
guard_aborts(void *function)
{
	struct sigaction act = {.sa_sigaction = aborted, .sa_flags = SA_SIGINFO | SA_RESETHAND};
	void *frames[1];
	Dl_info info;

	if (!dladdr(function, &info))
		return;
	library = info.dli_fbase;
	(void)backtrace(frames, 1);     /* loads libgcc now rather than in the handler */
	(void)sigaction(SIGABRT, &act, NULL);
}

static int
descriptors_left(int n)
{
	int fds[DESCRIPTORS_MAX], have = 0, result = 0;

	fds[have++] = eventfd(0, EFD_CLOEXEC);
	for (; have < n && fds[have - 1] >= 0; have++)
		fds[have] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	if (fds[have - 1] < 0)
		result = fail(FAIL_SYSTEM, "ZeroMQ needs %d more descriptors (ulimit -n):", n);
	for (int i = 0; i < have; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return result;
}

static int
memory_left(int threads)
{
	size_t stack = 0, n;
	pthread_attr_t attr;
	void *p;

	if (pthread_attr_init(&attr) == 0) {
		(void)pthread_attr_getstacksize(&attr, &stack);
		(void)pthread_attr_destroy(&attr);
	}
	n = SLACK + (size_t)threads * stack;
	p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return fail(FAIL_SYSTEM, "ZeroMQ needs %zu MiB more address space (ulimit -v):", n >> 20);
	(void)munmap(p, n);
	return 0;
}

int
guard_room(int descriptors, int threads)
{
	if (descriptors_left(descriptors < DESCRIPTORS_MAX ? descriptors : DESCRIPTORS_MAX) < 0)
		return -1;
	return memory_left(threads);
}
