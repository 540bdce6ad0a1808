#include "launch/grader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fail.h"
#include "launch/streams.h"

#define OUTPUT_MAX ((size_t)1 << 30)

int
grader_start(struct grader *g, const char *command)
{
	struct child_options s = {.keep = {-1, -1, -1}, .bare = 1};
	int to[2] = {-1, -1}, from[2] = {-1, -1}, r = -1;
	sigset_t none;

	*g = (struct grader){.in = -1, .out = -1,
	    .command = {.words = {"sh", "-c", command}, .nwords = 3, .label = "--grade"}};
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	s.mask = &none;
	if (streams_pipe(to, 1) == 0 && streams_pipe(from, 1) == 0) {
		s.in = to[0];
		s.out = from[1];
		g->child.command = &g->command;
		r = child_start(&g->child, &s);
	}
	streams_shut(&to[0]);
	streams_shut(&from[1]);
	g->in = to[1];
	g->out = from[0];
	if (r < 0)
		return -1;
	(void)fcntl(g->in, F_SETFL, O_NONBLOCK);
	(void)fcntl(g->out, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Write what it takes.  If it reads no more, rewards are missing, or it does not need the rest. */
static void
write_some(struct grader *g)
{
	while (g->in >= 0 && g->send.n > 0) {
		ssize_t n = write(g->in, g->send.p, g->send.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			streams_shut(&g->in);
			g->send.n = 0;
			return;
		}
		buf_drop(&g->send, (size_t)n);
	}
}

static int
read_some(struct grader *g)
{
	char some[65536];

	while (g->out >= 0) {
		ssize_t n = read(g->out, some, sizeof(some));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			streams_shut(&g->out);
			return n < 0 ? fail(FAIL_SYSTEM, "--grade: cannot read its output:") : 0;
		}
		if (g->got.n > OUTPUT_MAX)
			return fail(FAIL_DATA, "--grade: it writes without end");
		if (buf_add(&g->got, some, (size_t)n) < 0)
			return -1;
	}
	return 0;
}

int
grader_send(struct grader *g, const void *lines, size_t n)
{
	if (g->in >= 0 && buf_add(&g->send, lines, n) < 0)
		return -1;
	write_some(g);
	return read_some(g);
}

int
grader_finish(struct grader *g, int signals, int *status)
{
	int wstatus;

	while (g->out >= 0) {
		struct pollfd p[3] = {{.fd = g->out, .events = POLLIN},
		    {.fd = signals, .events = POLLIN}, {.fd = -1, .events = POLLOUT}};

		if (g->send.n == 0)
			streams_shut(&g->in);
		p[2].fd = g->in;
		if (poll(p, 3, -1) < 0)
			continue;
		if (p[1].revents)
			return 1;
		write_some(g);
		if (read_some(g) < 0)
			return -1;
	}
	while (waitpid(g->child.pid, &wstatus, 0) < 0)
		if (errno != EINTR)
			return fail(FAIL_SYSTEM, "--grade: cannot wait for its end:");
	g->child.pid = 0;
	*status = WIFSIGNALED(wstatus) ? -WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
	return 0;
}

void
grader_drop(struct grader *g)
{
	streams_shut(&g->in);
	streams_shut(&g->out);
	if (g->child.pid > 0) {
		(void)kill(g->child.pid, SIGKILL);
		while (waitpid(g->child.pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	g->child.pid = 0;
	buf_free(&g->send);
	buf_free(&g->got);
}
