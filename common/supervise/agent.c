#include "supervise/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/table.h"
#include "launch/child.h"
#include "launch/script.h"
#include "launch/streams.h"
#include "launch/tally.h"
#include "launch/words.h"
#include "supervise/run_folder.h"

#define VERSION_WAIT 5.0        /* seconds for a program to print its version */
#define FIRST_WORD 60.0 /* seconds to wait for `hello` */
#define ANSWERS_MAX (1u << 20)
#define ORDER_MAX (16u << 20)   /* maximum length of a line; lines of a plan are shorter */

struct process {
	int number;                     /* number given by the supervisor */
	struct child child;
	struct command command;
	char *memory[WORDS_MAX];        /* memory of command.words */
	double stopped;                 /* when a signal stopped it; 0: it runs */
	int signal;                     /* that signal */
	int reported;                   /* the stop was reported, and counts as its end */
};

struct agent {
	const char *dir;
	double timeout, heard;
	struct buf got, answers;
	struct process **p;             /* [n] */
	int n, alive;
	size_t cap;
	struct pollfd *polls;
	size_t polls_cap;
	struct run_folder folder;       /* {run} */
	struct table versions;          /* programs of our own version; keys are owned */
	int stopping;                   /* killed; `stopped` is due */
	int over;                       /* the supervisor has gone */
	int signals, null;
	sigset_t mask;
};

/* --- processes --- */

static void
reset(struct agent *a)
{
	for (int i = 0; i < a->n; i++) {
		child_discard(&a->p[i]->child);
		for (int k = 0; k < a->p[i]->command.nwords; k++)
			free(a->p[i]->memory[k]);
		free(a->p[i]);
	}
	a->n = 0;
	(void)run_folder_end_file(&a->folder);
	run_folder_remove(&a->folder);
}

static void
kill_all(struct agent *a)
{
	for (int i = 0; i < a->n; i++)
		if (a->p[i]->child.pid > 0)
			(void)kill(a->p[i]->child.pid, SIGKILL);
}

static const char *
folder_value(void *arg, const char *name, size_t n)
{
	struct agent *a = arg;

	return n == 3 && memcmp(name, "run", 3) == 0 ? a->folder.path : NULL;
}

static int
add_word(struct agent *a, struct process *p, const char *word)
{
	struct buf b = {0};

	if (words_fill(&b, word, folder_value, a) < 0 || buf_addc(&b, 0) < 0) {
		buf_free(&b);
		return -1;
	}
	p->memory[p->command.nwords] = (char *)b.p;
	p->command.words[p->command.nwords++] = (char *)b.p;
	return 0;
}

static int
report(struct agent *a, int number, const struct verdict *v)
{
	/* without a label, which the supervisor adds */
	if (buf_addf(&a->answers, "ended %d %d %d ", number, (int)v->blame, v->status) < 0)
		return -1;
	if (script_quote(&a->answers, v->text + (strncmp(v->text, ": ", 2) == 0 ? 2 : 0)) < 0)
		return -1;
	return buf_addc(&a->answers, '\n');
}

/* Run a program with -V and store what it prints within a few seconds. */
static void
read_version(const struct agent *a, const char *called, char said[256])
{
	struct command p = {.words = {called, "-V"}, .nwords = 2, .label = "ds"};
	struct child c = {.command = &p, .err = -1};
	struct child_options s = {.in = a->null, .keep = {-1, -1, -1}, .dir = a->dir,
	    .mask = &a->mask};
	double until = clock_now() + VERSION_WAIT, left;
	int fd[2] = {-1, -1};
	ssize_t n = 0, got = 1;

	if (streams_pipe(fd, 1) < 0)
		return;
	s.out = fd[1];
	if (child_start(&c, &s) == 0) {
		streams_shut(&fd[1]);
		while (got > 0 && n < 255 && (left = until - clock_now()) > 0) {
			struct pollfd f = {.fd = fd[0], .events = POLLIN};

			if (poll(&f, 1, (int)(left * 1000) + 1) > 0 && (got = read(fd[0], said + n, 255 - (size_t)n)) > 0)
				n += got;
		}
		(void)kill(c.pid, SIGKILL);
		(void)waitpid(c.pid, NULL, 0);
	}
	child_discard(&c);
	streams_shut(&fd[0]);
	streams_shut(&fd[1]);
	said[n] = 0;
}

/* Check that a dspipe program has our version. Returns 0, 1 if its failure was reported, or -1
 * and a message. Other programs are not asked. */
static int
check_version(struct agent *a, int number, const char *called)
{
	const char *slash = strrchr(called, '/'), *name = slash ? slash + 1 : called;
	char said[256] = "", version[64];
	struct verdict v = {.blame = BLAME_OWN, .status = FAIL_USAGE};

	if (strncmp(name, "ds-", 3) != 0 || table_get(&a->versions, called, strlen(called)))
		return 0;
	read_version(a, called, said);
	if (sscanf(said, "%*s (dspipe) %63s", version) == 1 && strcmp(version, DS_VERSION) != 0) {
		snprintf(v.text, sizeof(v.text), "it has version %s of dspipe, ds-run there has %s", version, DS_VERSION);
		return report(a, number, &v) < 0 ? -1 : 1;
	}
	if (!(called = strdup(called)))
		return fail(FAIL_SYSTEM, "no memory for a name");
	return table_put(&a->versions, called, strlen(called), (void *)(uintptr_t)called);
}

/* Report that a process could not be started, for the stored message. */
static int
report_failure(struct agent *a, int number)
{
	struct verdict v = {0};

	(void)verdict_own(&v);
	return report(a, number, &v);
}

static int
uses_folder(char **w, int n)
{
	for (int i = 0; i < n; i++)
		if (strstr(w[i], "{run}"))
			return 1;
	return 0;
}

static int
start(struct agent *a, int number, char **w, int n)
{
	struct child_options s = {.in = a->null, .out = a->null, .keep = {-1, -1, -1},
	    .dir = a->dir, .mask = &a->mask};
	struct process *p;
	int r;

	if (n < 1 || n >= WORDS_MAX)
		return fail(FAIL_DATA, "invalid order 'run' from the supervisor");
	if (mem_grow(&a->p, &a->cap, (size_t)a->n + 1, sizeof(*a->p)) < 0 || !(p = mem_new(1, sizeof(*p))))
		return -1;
	a->p[a->n++] = p;
	p->number = number;
	p->child.command = &p->command;
	p->child.err = -1;
	if ((r = check_version(a, number, w[0])) != 0)
		return r < 0 ? -1 : 0;
	if (uses_folder(w, n) && run_folder_make(&a->folder) < 0)
		return report_failure(a, number);
	for (int i = 0; i < n; i++)
		if (add_word(a, p, w[i]) < 0)
			return -1;
	if (child_start(&p->child, &s) < 0)
		return -1;
	a->alive++;
	return 0;
}

/* A process ended, or was stopped or continued by a signal. */
static int
on_status(struct agent *a, struct process *p, int wstatus)
{
	struct verdict v = {0};

	if (WIFSTOPPED(wstatus) || WIFCONTINUED(wstatus)) {
		p->stopped = WIFSTOPPED(wstatus) ? clock_now() : 0;
		p->signal = WIFSTOPPED(wstatus) ? WSTOPSIG(wstatus) : 0;
		return 0;
	}
	a->alive--;
	p->stopped = 0;
	if (a->stopping || p->reported) {
		child_discard(&p->child);
		return 0;
	}
	child_ended(&p->child, wstatus, &v);
	return report(a, p->number, &v);
}

static int
reap(struct agent *a)
{
	for (int i = 0; i < a->n; i++) {
		struct child *c = &a->p[i]->child;
		int wstatus;

		while (c->pid > 0 && waitpid(c->pid, &wstatus, WNOHANG | WUNTRACED | WCONTINUED) == c->pid)
			if (on_status(a, a->p[i], wstatus) < 0)
				return -1;
	}
	return 0;
}

/* Seconds until a stopped process reaches the timeout, or a long time. */
static double
standstill_due(const struct agent *a, double now)
{
	double left = 1e6;

	for (int i = 0; i < a->n; i++) {
		const struct process *p = a->p[i];

		if (p->stopped > 0 && !p->reported && p->stopped + a->timeout - now < left)
			left = p->stopped + a->timeout - now;
	}
	return left;
}

/* Report stopped processes. They send no heartbeats, and neighbours on ipc:// links would wait
 * for ever. */
static int
report_standstill(struct agent *a)
{
	double now = clock_now();

	for (int i = 0; i < a->n && !a->stopping; i++) {
		struct process *p = a->p[i];
		struct verdict v = {.blame = BLAME_OWN, .status = FAIL_SYSTEM};

		if (p->stopped == 0 || p->reported || now - p->stopped < a->timeout)
			continue;
		p->reported = 1;
		snprintf(v.text, sizeof(v.text), "stopped by signal %d for %g seconds", p->signal, a->timeout);
		if (report(a, p->number, &v) < 0)
			return -1;
	}
	return 0;
}

/* --- the supervisor --- */

static int
greet(struct agent *a, char **w, int n)
{
	if (n != 7 || !((a->timeout = strtod(w[2], NULL)) > 0) || setenv("DS_WAIT", w[3], 1) < 0 ||
	    setenv("DS_PRECISION", w[4], 1) < 0 || setenv("DS_CACHE_TYPE", w[5], 1) < 0 ||
	    setenv("DS_VERBOSE", w[6], 1) < 0)
		return fail(FAIL_DATA, "'ds-run --agent' can only be started by ds-run");
	if (run_folder_make(&a->folder) < 0)         /* a restart would not help */
		return buf_addf(&a->answers, "unfit ") < 0 || script_quote(&a->answers, fail_text()) < 0 ? -1 :
		    buf_addc(&a->answers, '\n');
	return buf_addf(&a->answers, "ready %s\n", DS_VERSION);
}

static int
handle_order(struct agent *a, char *line)
{
	char *w[WORDS_MAX + 4];
	int n = words_split(line, w, WORDS_MAX + 4);

	if (n < 1)
		return n;
	if (strcmp(w[0], "hello") == 0)
		return greet(a, w, n);
	if (strcmp(w[0], "alive") == 0)
		return buf_addf(&a->answers, "alive\n");
	if (strcmp(w[0], "file") == 0 && n == 2 && !a->stopping)
		return run_folder_file(&a->folder, w[1]);
	if (strcmp(w[0], "lines") == 0 && !a->stopping)
		return run_folder_lines(&a->folder, w + 1, n - 1);
	if (strcmp(w[0], "run") == 0 && n > 2 && !a->stopping)
		return run_folder_end_file(&a->folder) < 0 ? -1 : start(a, atoi(w[1]), w + 2, n - 2);
	if (strcmp(w[0], "stop") != 0)
		return fail(FAIL_DATA, "unknown order '%s' from the supervisor", w[0]);
	a->stopping = 1;
	kill_all(a);
	return 0;
}

static int
read_orders(struct agent *a)
{
	char got[65536], *line;
	ssize_t n = read(0, got, sizeof(got));
	int r;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		a->over = 1;
		return 0;
	}
	a->heard = clock_now();
	if (buf_add(&a->got, got, (size_t)n) < 0)
		return -1;
	while ((r = words_line(&a->got, &line)) > 0) {
		r = handle_order(a, line);
		free(line);
		if (r < 0)
			return -1;
	}
	return r == 0 && a->got.n > ORDER_MAX ? fail(FAIL_DATA, "an order from the supervisor is too long") : r;
}

static void
write_answers(struct agent *a)
{
	ssize_t n = write(1, a->answers.p, a->answers.n);

	if (n > 0)
		buf_drop(&a->answers, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		a->over = 1;
	if (a->answers.n > ANSWERS_MAX)
		a->over = 1;
}

/* --- the loop --- */

static int
open_signals(struct agent *a)
{
	signal(SIGALRM, SIG_DFL);
	(void)setpgid(0, 0);    /* Ctrl-C is handled by the supervisor */
	a->signals = streams_signals(&a->mask);
	a->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)fcntl(1, F_SETFL, O_NONBLOCK);
	return a->signals < 0 ? -1 : a->null < 0 ? fail(FAIL_SYSTEM, "cannot open '/dev/null':") : 0;
}

static int
wait_for(struct agent *a)
{
	double now = clock_now(), left = a->heard + a->timeout - now, due = standstill_due(a, now);
	struct pollfd *p;

	left = due < left ? due : left;
	if (mem_grow(&a->polls, &a->polls_cap, (size_t)a->n + 3, sizeof(*a->polls)) < 0)
		return -1;
	p = a->polls;
	p[0] = (struct pollfd){.fd = a->over ? -1 : 0, .events = POLLIN};
	p[1] = (struct pollfd){.fd = a->answers.n > 0 ? 1 : -1, .events = POLLOUT};
	p[2] = (struct pollfd){.fd = a->signals, .events = POLLIN};
	for (int i = 0; i < a->n; i++)
		p[3 + i] = (struct pollfd){.fd = a->p[i]->child.err, .events = POLLIN};
	/* if even we hang, in a write to a stopped terminal, the kernel ends us and our
	 * processes */
	alarm((unsigned)(2 * a->timeout) + 2);
	if (poll(p, (nfds_t)(3 + a->n), a->over ? -1 : left > 0 ? (int)(left * 1000) + 1 : 0) < 0)
		for (int i = 0; i < 3 + a->n; i++)
			p[i].revents = 0;
	return 0;
}

static int
read_signals(struct agent *a)
{
	struct signalfd_siginfo s;

	while (read(a->signals, &s, sizeof(s)) == sizeof(s))
		if (s.ssi_signo != SIGCHLD)
			a->over = 1;
	return reap(a);
}

static int
step(struct agent *a)
{
	int n = a->n;

	if (wait_for(a) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (a->polls[3 + i].revents)
			child_read_stderr(&a->p[i]->child, !a->stopping);
	if (a->polls[2].revents && read_signals(a) < 0)
		return -1;
	if (a->polls[0].revents && read_orders(a) < 0)
		return -1;
	if (report_standstill(a) < 0)
		return -1;
	if (clock_now() - a->heard > a->timeout)
		a->over = 1;
	if (a->stopping && a->alive == 0) {
		a->stopping = 0;
		reset(a);
		if (buf_addf(&a->answers, "stopped\n") < 0)
			return -1;
	}
	if (a->answers.n > 0)
		write_answers(a);
	return 0;
}

int
agent_run(const char *dir)
{
	struct agent a = {.dir = dir, .timeout = FIRST_WORD, .heard = clock_now()};
	int r;

	/* we have cleaning up to do; the end of the supervisor shows on standard input */
	prctl(PR_SET_PDEATHSIG, 0);
	r = open_signals(&a);

	while (r == 0 && !a.over)
		r = step(&a);
	if (r < 0)
		warn("%s", fail_text());
	a.stopping = 1;
	kill_all(&a);
	for (int i = 0; i < a.n; i++)
		if (a.p[i]->child.pid > 0)
			(void)waitpid(a.p[i]->child.pid, NULL, 0);
	reset(&a);
	for (struct table_slot *s = NULL; (s = table_next(&a.versions, s)); )
		free(s->value);
	table_free(&a.versions);
	free(a.p);
	free(a.polls);
	buf_free(&a.got);
	buf_free(&a.answers);
	return r < 0 ? fail_status() : 0;
}
