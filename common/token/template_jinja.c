/* Client of template.py, the program that renders chat templates with Jinja. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "token/template_internal.h"

#define SCRIPT "template.py"
#define ANSWER_MAX ((size_t)1 << 31)

extern char **environ;

struct jinja {
	int fd;                         /* its standard input and output */
	pid_t pid;
};

/* Find the script: installed in lib/dspipe, or in the sources if the programs are in bin or
 * build-asan/bin. */
static int
find_script(char *path, size_t size)
{
	static const char *const places[] = {
		"../lib/dspipe/" SCRIPT, "../common/token/" SCRIPT, "../../common/token/" SCRIPT
	};
	const char *dir = program_folder();

	for (size_t i = 0; dir && i < sizeof(places) / sizeof(*places); i++)
		if (io_path(path, size, dir, places[i]) == 0 && access(path, R_OK) == 0)
			return 0;
	return fail(FAIL_SYSTEM, "no " SCRIPT " in '%s/../lib/dspipe': it renders chat templates and is installed by 'make install'",
	    dir ? dir : "?");
}

/* DS_PYTHON, then the Python that Debian's packages belong to. */
static const char *
find_python(void)
{
	const char *given = getenv("DS_PYTHON");

	if (given && *given)
		return given;
	return access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3";
}

/* The socket becomes its standard input and output; standard error goes to /dev/null. */
static int
spawn(struct jinja *j, const char *python, char *script, int fd)
{
	char isolated[] = "-I", *argv[] = {(char *)(uintptr_t)python, isolated, script, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, own;
	int r;

	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	sigemptyset(&own);
	/* SIGXCPU ends an endless template, even if our parent ignores it */
	sigaddset(&own, SIGXCPU);
	posix_spawnattr_setsigdefault(&attributes, &own);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, 0);
	posix_spawn_file_actions_adddup2(&actions, fd, 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&j->pid, python, &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return r;
}

static int
start(struct jinja *j)
{
	const char *python = find_python();
	char script[PATH_MAX];
	int fd[2], r;

	if (find_script(script, sizeof(script)) < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		return fail(FAIL_SYSTEM, "cannot make a socket:");
	j->fd = fd[0];
	r = spawn(j, python, script, fd[1]);
	close(fd[1]);
	errno = r;
	return r ? fail(FAIL_SYSTEM, "cannot run '%s', which renders chat templates:", python) : 0;
}

/* The renderer ended too early: report why. */
static int
ended(struct jinja *j)
{
	int status = 0;

	while (j->pid > 0 && waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
		;
	j->pid = 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
		return fail(FAIL_DATA, "it exceeded its limit of processor time");
	if (WIFSIGNALED(status))
		return fail(FAIL_SYSTEM, "its renderer was killed by signal %d", WTERMSIG(status));
	return fail(FAIL_SYSTEM, "its renderer, %s, ended with status %d", find_python(), WEXITSTATUS(status));
}

static int
send_all(struct jinja *j, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(j->fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return ended(j);
		p += sent;
		n -= (size_t)sent;
	}
	return 0;
}

/* Read the length prefix of an answer: a decimal number and a newline. */
static int
receive_length(struct jinja *j, size_t *n)
{
	char c = 0;

	*n = 0;
	for (int i = 0; i < 20; i++) {
		if (io_read(j->fd, &c, 1) != 1)
			return ended(j);
		if (c == '\n')
			return *n > 0 && *n < ANSWER_MAX ? 0 : fail(FAIL_DATA, "it produces %zu bytes of text", *n);
		if (c < '0' || c > '9')
			break;
		*n = 10 * *n + (size_t)(c - '0');
	}
	return fail(FAIL_SYSTEM, "its renderer, %s, gave an invalid answer", find_python());
}

/* Send a request and append the answer. If the renderer refuses it, *refused becomes 1 and the
 * answer becomes the message. */
static int
send_request(struct jinja *j, const char *request, size_t n, struct buf *to, int *refused)
{
	char head[32], status;
	size_t len, before = to->n;
	int k = snprintf(head, sizeof(head), "%zu\n", n);

	*refused = 0;
	if (send_all(j, head, (size_t)k) < 0 || send_all(j, request, n) < 0 || receive_length(j, &len) < 0 ||
	    mem_grow(&to->p, &to->cap, to->n + len + 1, 1) < 0)
		return -1;
	if (io_read(j->fd, &status, 1) != 1 || io_read(j->fd, to->p + to->n, len - 1) != (ptrdiff_t)len - 1)
		return ended(j);
	to->n += len - 1;
	to->p[to->n] = 0;
	if (status == '+')
		return 0;
	*refused = 1;
	fail(FAIL_DATA, "%s", (char *)to->p + before);
	to->n = before;
	return -1;
}

/* Add a template with the final newline that Jinja drops. */
static int
add_template(cJSON *o, const char *name, const char *text)
{
	char *whole = NULL;
	int ok = text ? asprintf(&whole, "%s\n", text) >= 0 && cJSON_AddStringToObject(o, name, whole) :
	    cJSON_AddNullToObject(o, name) != NULL;

	free(whole);
	return ok;
}

/* {"template": ..., "tool_use": ..., "tokens": ..., "variables": ...} */
static char *
setup_text(const struct template *t)
{
	static const char *const names[] = {"thinking", "enable_thinking"};
	cJSON *o = cJSON_CreateObject(), *variables = cJSON_AddObjectToObject(o, "variables");
	int ok = add_template(o, "template", t->text) && add_template(o, "tool_use", t->tool_use) &&
	    cJSON_AddRawToObject(o, "tokens", t->tokens);
	char *text;

	for (int i = 0; i < 2 && ok && t->thinking >= 0; i++)
		ok = cJSON_AddBoolToObject(variables, names[i], t->thinking) != NULL;
	text = ok ? cJSON_PrintUnformatted(o) : NULL;
	cJSON_Delete(o);
	if (!text)
		fail(FAIL_SYSTEM, "no memory for a chat template");
	return text;
}

int
jinja_open(struct template *t, char **names)
{
	struct buf reads = {0};
	char *setup = setup_text(t);
	int refused = 0, r = -1;

	if (setup && (t->jinja = mem_new(1, sizeof(*t->jinja)))) {
		t->jinja->fd = -1;
		r = start(t->jinja) < 0 ? -1 : send_request(t->jinja, setup, strlen(setup), &reads, &refused);
	}
	if (refused && strcmp(fail_text(), "!") == 0)
		fail(FAIL_SYSTEM, "%s has no jinja2, which renders chat templates: install the package python3-jinja2",
		    find_python());
	free(setup);
	if (r < 0)
		buf_free(&reads);
	*names = (char *)reads.p;
	return r;
}

void
jinja_close(struct jinja *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		close(j->fd);
	if (j->pid > 0)
		(void)kill(j->pid, SIGKILL);
	while (j->pid > 0 && waitpid(j->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(j);
}

int
jinja_render(struct template *t, struct buf *to, const char *json, size_t n, int *refused)
{
	int no = 0, r = send_request(t->jinja, json, n, to, &no);

	if (refused)
		*refused = no;
	return r;
}
