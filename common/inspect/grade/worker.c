#include "inspect/grade/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"

#define ANSWER_MAX 4096         /* bytes of the answer to a line */

static _Noreturn void
exec_command(const char *command, int in, int out, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(FAIL_SYSTEM);
	(void)setpgid(0, 0);    /* the whole group is ended if it is late */
	signal(SIGPIPE, SIG_DFL);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static int
worker_start(const struct workers *all, struct worker *w)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	pid_t parent = getpid();

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || (w->pid = fork()) < 0) {
		fail(FAIL_SYSTEM, "cannot start '%s':", all->command);
		for (int i = 0; i < 2; i++) {
			close(in[i]);
			close(out[i]);
		}
		w->pid = 0;
		return -1;
	}
	if (w->pid == 0)
		exec_command(all->command, in[0], out[1], parent);
	(void)setpgid(w->pid, w->pid);
	close(in[0]);
	close(out[1]);
	w->in = in[1];
	w->out = out[0];
	w->served = 0;
	(void)fcntl(w->in, F_SETFL, O_NONBLOCK);
	(void)fcntl(w->out, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Wait for its end until `deadline`, then kill it and what it started. Returns its status, or -1 if
 * it was killed. */
static int
worker_reap(struct worker *w, double deadline)
{
	static const struct timespec pause = {0, 2000000};
	siginfo_t info = {0};
	int status = 0, killed = 0;

	/* (the group is killed before its id can become that of another) */
	while (waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ||
	    errno == EINTR) {
		if (info.si_pid == w->pid || (killed = clock_now() >= deadline))
			break;
		nanosleep(&pause, NULL);
	}
	(void)kill(-w->pid, SIGKILL);
	if (killed)
		(void)kill(w->pid, SIGKILL);
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	w->pid = 0;
	return killed ? -1 : status;
}

static void
worker_close(struct worker *w)
{
	if (w->in >= 0)
		close(w->in);
	close(w->out);
	w->send.n = w->got.n = w->sent = 0;
}

/* Wait until the output of a worker without a line ends, at most until `deadline`. Returns 1 if it
 * has ended, or contains something. */
static int
worker_is_spent(struct workers *all, struct worker *w, double deadline)
{
	struct pollfd p = {.fd = w->out, .events = POLLIN};
	double left = deadline - clock_now();
	char byte;

	if (poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0) <= 0)
		return 0;
	if (read(w->out, &byte, 1) > 0)
		all->surplus = 1;
	return 1;
}

void
worker_end(struct workers *all, struct worker *w, double deadline)
{
	if (w->pid > 0) {
		close(w->in);
		w->in = -1;
		if (!w->line)
			(void)worker_is_spent(all, w, deadline);
		worker_close(w);
		(void)worker_reap(w, deadline);
	}
	buf_free(&w->send);
	buf_free(&w->got);
}

/* It ended, or closed a pipe: end it, and store why. Returns -1. */
static int
worker_gone(const struct workers *all, struct worker *w)
{
	int status;

	worker_close(w);
	status = worker_reap(w, clock_now() + 0.2);
	if (status == -1)
		return fail(FAIL_DATA, "the command closed its input or output");
	if (WIFSIGNALED(status))
		return fail(FAIL_DATA, "the command was ended by signal %d", WTERMSIG(status));
	if (!all->answered && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127))
		return fail(FAIL_SYSTEM, "'%s' cannot be run: exit status %d", all->command,
		    WEXITSTATUS(status));
	return fail(FAIL_DATA, "the command ended with status %d", WEXITSTATUS(status));
}

/* It ended after other lines, maybe before it saw this one: send the line to a new process. */
static int
worker_again(struct workers *all, struct worker *w)
{
	size_t n = w->send.n;

	worker_close(w);
	(void)worker_reap(w, 0);
	w->send.n = n;
	w->deadline = clock_now() + all->timeout;
	return worker_start(all, w);
}

int
worker_give(struct workers *all, struct worker *w, void *line, const char *text, size_t n)
{
	if (w->pid > 0 && worker_is_spent(all, w, 0)) {
		worker_close(w);
		(void)worker_reap(w, 0);
	}
	if (w->pid == 0 && worker_start(all, w) < 0)
		return -1;
	if (buf_add(&w->send, text, n) < 0)
		return -1;
	w->line = line;
	w->deadline = clock_now() + all->timeout;
	return 0;
}

int
worker_poll(const struct worker *w, struct pollfd p[2])
{
	int n = 0;

	if (w->line)
		p[n++] = (struct pollfd){.fd = w->out, .events = POLLIN};
	if (w->line && w->sent < w->send.n)
		p[n++] = (struct pollfd){.fd = w->in, .events = POLLOUT};
	return n;
}

/* Write what its input takes. Returns 0, or -1 if it reads no more. */
static int
worker_write(struct worker *w)
{
	while (w->sent < w->send.n) {
		ssize_t n = write(w->in, w->send.p + w->sent, w->send.n - w->sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		w->sent += (size_t)n;
	}
	return 0;
}

/* Parse the answer, a line of n bytes. */
static int
worker_parse(struct workers *all, struct worker *w, size_t n, double *value)
{
	char *text = (char *)w->got.p, *end;

	text[n] = 0;
	all->surplus |= w->got.n > n + 1;
	*value = strtod(text, &end);
	end += strspn(end, " \t\r");
	if (end == text || *end || strpbrk(text, "xXnN") || !isfinite(*value))
		fail(FAIL_DATA, "the command answered '%.60s', not a number", text);
	else if (w->got.n > n + 1)
		fail(FAIL_DATA, "the command answered more than one line");
	else if (w->sent < w->send.n)
		fail(FAIL_DATA, "the command answered before it read the line");
	else
		return 1;
	worker_close(w);
	(void)worker_reap(w, 0);
	return -1;
}

int
worker_step(struct workers *all, struct worker *w, double *value)
{
	unsigned char *end;
	ssize_t n;
	int closed = worker_write(w) < 0;

	do {
		if (mem_grow(&w->got.p, &w->got.cap, ANSWER_MAX + 1, 1) < 0)
			return -1;
		n = read(w->out, w->got.p + w->got.n, ANSWER_MAX - w->got.n);
		w->got.n += n > 0 ? (size_t)n : 0;
	} while (n > 0 && w->got.n < ANSWER_MAX);
	end = w->got.n > 0 ? memchr(w->got.p, '\n', w->got.n) : NULL;
	if (end || w->got.n == ANSWER_MAX) {
		int r = worker_parse(all, w, end ? (size_t)(end - w->got.p) : w->got.n, value);

		w->send.n = w->got.n = w->sent = 0;
		all->answered |= r > 0;
		w->served = 1;
		return r;
	}
	if (closed || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return w->served ? worker_again(all, w) : worker_gone(all, w);
	if (clock_now() < w->deadline)
		return 0;
	worker_close(w);
	(void)worker_reap(w, 0);
	return fail(FAIL_DATA, "the command did not answer within %g s", all->timeout);
}
