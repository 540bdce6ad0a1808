#include "launch/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "link/link.h"

#define LINE_MAX_BYTES 4096

/* --- in the child, which has the parent's memory until exec --- */

static _Noreturn void
exec_child(const struct command *p, const struct child_options *s, pid_t parent, int err)
{
	char path[4096];
	char **argv = (char **)(uintptr_t)p->words;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)        /* the parent died before prctl() */
		_exit(FAIL_SYSTEM);
	if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || (!s->bare && dup2(err, 2) < 0))
		_exit(FAIL_SYSTEM);
	for (int i = 0; i < CHILD_KEEP; i++)
		if (s->keep[i] >= 0)
			(void)fcntl(s->keep[i], F_SETFD, 0);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, s->mask, NULL);
	if (s->dir && snprintf(path, sizeof(path), "%s/%s", s->dir, p->words[0]) < (int)sizeof(path))
		execv(path, argv);
	if (!s->dir || errno == ENOENT)
		execvp(p->words[0], argv);
	dprintf(2, "%s: cannot run '%s': %s\n", p->words[0], p->words[0], strerror(errno));
	_exit(FAIL_SYSTEM);
}

/* --- in the parent --- */

int
child_start(struct child *c, const struct child_options *s)
{
	pid_t parent = getpid(), pid;
	int err[2] = {-1, -1};

	c->err = -1;
	if (!s->bare && pipe2(err, O_CLOEXEC) < 0)
		return fail(FAIL_SYSTEM, "%s: cannot create a pipe:", c->command->label);
	pid = vfork();          /* copies no page tables */
	if (pid == 0)
		exec_child(c->command, s, parent, err[1]);
	if (!s->bare)
		close(err[1]);
	c->err = err[0];
	c->pid = pid > 0 ? pid : 0;
	if (pid < 0)
		return fail(FAIL_SYSTEM, "%s: cannot start it:", c->command->label);
	if (!s->bare)
		(void)fcntl(c->err, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Copy the first n pending bytes to our standard error, each line with the prefix. */
static void
print_prefixed(const struct child *c, size_t n)
{
	struct buf b = {0};

	for (size_t i = 0; c->prefix && i < n; i++) {
		if ((i == 0 || c->pending.p[i - 1] == '\n') && buf_addf(&b, "%s: ", c->prefix) < 0)
			break;
		if (c->pending.p[i] == '\r' && i + 1 < n && c->pending.p[i + 1] == '\n')
			continue;       /* ssh ends lines with CR LF */
		if (buf_addc(&b, c->pending.p[i]) < 0)
			break;
	}
	(void)io_write(2, c->prefix ? b.p : c->pending.p, c->prefix ? b.n : n);
	buf_free(&b);
}

/* The bytes of "WORD: " at the beginning of the n bytes, or 0. */
static size_t
prefixed(const char *word, const void *line, size_t n)
{
	size_t name = strlen(word);

	return name > 0 && n >= name + 2 && memcmp(line, word, name) == 0 &&
	    memcmp((const char *)line + name, ": ", 2) == 0 ? name + 2 : 0;
}

/* Likewise of the program or, after such as env or numactl, another word of the command. */
static size_t
named(const struct child *c, const void *line, size_t n)
{
	size_t found = 0;

	for (const char *const *w = c->command->words; *w && !found; w++)
		found = prefixed(*w, line, n);
	return found;
}

/* 1 if the n bytes, a complete line, report a failed sequence as stage/failed.h does. */
static int
is_sequence_failure(const struct child *c, const unsigned char *line, size_t n)
{
	const char *end = memmem(line, n, " failed: ", 9);

	return end && named(c, line, n) > 0 && line[n - 1] == '\n' &&
	    memmem(line, (size_t)(end - (const char *)line), " sequence", 9);
}

/* Print all pending lines but the last, which may be the reason of a failure. */
static void
pass_lines(struct child *c, int pass)
{
	unsigned char *last = c->pending.n > 1 ? memrchr(c->pending.p, '\n', c->pending.n - 1) : NULL;
	size_t n = last ? (size_t)(last - c->pending.p) + 1 : 0;

	if (is_sequence_failure(c, c->pending.p + n, c->pending.n - n)) {
		n = c->pending.n;
		c->failed = 1;
	}
	if (n == 0 && c->pending.n > LINE_MAX_BYTES)
		n = c->pending.n;
	if (pass && n > 0)
		print_prefixed(c, n);
	buf_drop(&c->pending, n);
}

static void
close_stderr(struct child *c)
{
	if (c->err >= 0)
		close(c->err);
	c->err = -1;
}

void
child_read_stderr(struct child *c, int pass)
{
	char got[LINE_MAX_BYTES];
	ssize_t n;

	if (c->err < 0)
		return;
	while ((n = read(c->err, got, sizeof(got))) > 0) {
		if (buf_add(&c->pending, got, (size_t)n) < 0)
			break;
		pass_lines(c, pass);
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_stderr(c);
}

/* The last pending line as text, without the program's name. */
static const char *
last_line(struct child *c)
{
	char *s;

	while (c->pending.n > 0 && (c->pending.p[c->pending.n - 1] == '\n' || c->pending.p[c->pending.n - 1] == '\r'))
		c->pending.n--;
	if (buf_addc(&c->pending, 0) < 0)
		return "";
	s = (char *)c->pending.p;
	return s + prefixed(c->command->words[0], s, strlen(s));
}

/* A stage that fails because of another one exits 3 and reports what it saw of it. */
static enum blame
blame_of(int status, const char *words)
{
	static const enum blame by[] = {[LOST_NOT] = BLAME_OWN, [LOST_GONE] = BLAME_CUT, [LOST_UNHEARD] = BLAME_UNHEARD};

	if (status != FAIL_SYSTEM)
		return BLAME_OWN;
	return strncmp(words, "upstream: ", 10) == 0 ? BLAME_UPSTREAM : by[link_lost(words)];
}

/* Store the text of a verdict: who, unless it is our own program, and what. */
__attribute__((format(printf, 3, 4)))
static void
set_text(struct verdict *v, const struct child *c, const char *fmt, ...)
{
	const char *who = c->command->label;
	int n = strcmp(who, program) == 0 ? 0 : snprintf(v->text, sizeof(v->text), "%s: ", who);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(v->text + n, sizeof(v->text) - (size_t)n, fmt, ap);
	va_end(ap);
}

static struct verdict
judge(struct child *c, int wstatus)
{
	struct verdict v = {.status = FAIL_SYSTEM};

	if (WIFSIGNALED(wstatus) && WTERMSIG(wstatus) == SIGPIPE && c->to_stdout) {
		v.blame = BLAME_OWN;            /* our own reader has exited */
		v.signal = SIGPIPE;
	} else if (WIFSIGNALED(wstatus)) {
		int sig = WTERMSIG(wstatus);

		v.blame = sig == SIGPIPE || sig == SIGINT || sig == SIGQUIT ? BLAME_GONE : BLAME_OWN;
		set_text(&v, c, "killed by signal %d", sig);
	} else if (WEXITSTATUS(wstatus) == FAIL_DATA && c->failed) {
		v.failed = 1;
	} else if (WEXITSTATUS(wstatus) != 0) {
		int status = WEXITSTATUS(wstatus);
		const char *words = last_line(c);

		v.status = status < FAIL_SYSTEM ? status : FAIL_SYSTEM;
		v.blame = blame_of(v.status, words + named(c, words, strlen(words)));
		if (*words)
			set_text(&v, c, "%s", words);
		else
			set_text(&v, c, "ended with status %d without a message", status);
	}
	return v;
}

void
child_ended(struct child *c, int wstatus, struct verdict *v)
{
	struct verdict now;

	c->pid = 0;
	child_read_stderr(c, 1);
	now = judge(c, wstatus);
	now.failed |= v->failed;
	if (now.blame > v->blame)
		*v = now;
	v->failed = now.failed;
	if ((wstatus == 0 || now.blame == BLAME_NONE) && c->pending.n > 0)
		print_prefixed(c, c->pending.n);
	child_discard(c);
}

void
child_discard(struct child *c)
{
	c->pid = 0;
	close_stderr(c);
	buf_free(&c->pending);
}

int
verdict_own(struct verdict *v)
{
	if (v->blame == BLAME_OWN)
		return 0;
	v->blame = BLAME_OWN;
	v->status = fail_status();
	snprintf(v->text, sizeof(v->text), "%s", fail_text());
	return 1;
}
