/*
 * py ARG...: runs `python3 ARG...` in a process that tests/pyserver.py forks, where numpy is loaded already.
 * py --serve SOCKET PYTHON SERVER.PY: listens, and becomes that server.
 * py --stop: ends it.
 *
 * DS_PYSERVER names the socket.  Descriptors 0 to 2, the folder, the environment and the arguments go to the server;
 * the exit status comes back.  Without a server, or where PYTHONPATH is not the server's, DS_PYSERVER_PYTHON itself runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static int
address(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(a->sun_path))
		return -1;
	strcpy(a->sun_path, path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int
serve(char **argv)
{
	struct sockaddr_un a;
	int fd = address(&a, argv[2]);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1000) < 0 || dup2(fd, 3) < 0 || fcntl(3, F_SETFD, 0) < 0) {
		perror("py: cannot listen");
		return 1;
	}
	signal(SIGINT, SIG_DFL);        /* a shell ignores these two in what it starts by & */
	signal(SIGQUIT, SIG_DFL);
	execlp(argv[3], argv[3], argv[4], NULL);
	perror("py: cannot run Python");
	return 127;
}

/* Connected, or -1.  A server that was started a moment ago may have no socket yet; one that does
 * not listen at it has most likely ended. */
static int
reach(const char *path)
{
	struct sockaddr_un a;
	int fd = address(&a, path);

	for (int left = 200; fd >= 0;) {
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return fd;
		if ((errno != ENOENT && errno != ECONNREFUSED) || left <= 0)
			break;
		left -= errno == ENOENT ? 1 : 10;
		usleep(5000);
	}
	return -1;
}

/* N strings, each with its NUL */
static void
put(FILE *f, char **list)
{
	uint32_t n = 0;

	while (list[n])
		n++;
	fwrite(&n, sizeof(n), 1, f);
	for (; *list; list++)
		fwrite(*list, 1, strlen(*list) + 1, f);
}

/* The request: its length with descriptors 0 to 2 and the folder, then arguments and environment. */
static int
request(int fd, char **argv)
{
	int fds[4] = {0, 1, 2, open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	union {
		char bytes[CMSG_SPACE(sizeof(fds))];
		struct cmsghdr align;
	} control = {0};
	char *text;
	size_t length, at = 0;
	uint32_t size;
	struct iovec io = {&size, sizeof(size)};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	FILE *f = open_memstream(&text, &length);

	if (!f || fds[3] < 0)
		return -1;
	put(f, argv);
	put(f, environ);
	if (fclose(f) != 0)
		return -1;
	size = (uint32_t)length;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)sizeof(size))
		return -1;
	while (at < length) {
		ssize_t n = send(fd, text + at, length - at, MSG_NOSIGNAL);

		if (n < 0)
			return -1;
		at += (size_t)n;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	const char *path = getenv("DS_PYSERVER"), *python = getenv("DS_PYSERVER_PYTHON");
	const char *theirs = getenv("DS_PYSERVER_PATH"), *ours = getenv("PYTHONPATH");
	int fd, status;

	if (argc == 5 && strcmp(argv[1], "--serve") == 0)
		return serve(argv);
	if (argc == 2 && strcmp(argv[1], "--stop") == 0) {
		argv[1] = NULL;         /* a request without arguments */
		return path && (fd = reach(path)) >= 0 && request(fd, argv + 1) == 0 && recv(fd, &status, sizeof(status), 0) == 0 ? 0 : 1;
	}
	/* (of options, the server knows -c) */
	if (argc > 1 && (argv[1][0] != '-' || !argv[1][1] || strcmp(argv[1], "-c") == 0) && path && theirs && ours && strcmp(theirs, ours) == 0 && (fd = reach(path)) >= 0) {
		if (request(fd, argv + 1) == 0 && recv(fd, &status, sizeof(status), MSG_WAITALL) == (ssize_t)sizeof(status)) {
			if (status < 0) {       /* killed by a signal: so is this process */
				signal(-status, SIG_DFL);
				raise(-status);
			}
			return status & 255;
		}
		fputs("py: the server failed\n", stderr);
		return 125;
	}
	argv[0] = (char *)(python ? python : "python3");
	execvp(argv[0], argv);
	perror("py: cannot run Python");
	return 127;
}
