#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "link/address.h"
#include "link/link_internal.h"

struct link_settings link_settings = {.timeout = 5};

static const struct transport *
transport_of(const char *endpoint)
{
	if (*endpoint == '@' || *endpoint == '>')
		endpoint++;
	if (strncmp(endpoint, "tcp://", 6) == 0 || strncmp(endpoint, "ipc://", 6) == 0)
		return &link_zmq;
	if (strncmp(endpoint, "nccl:", 5) == 0)
		return &link_nccl;
	if (strncmp(endpoint, "cuda:", 5) == 0)
		return &link_ipc;
	if (strstr(endpoint, "://")) {
		fail(FAIL_USAGE, "endpoint '%s': give -, a file, a FIFO, or tcp://, ipc://, nccl: or cuda: and an address", endpoint);
		return NULL;
	}
	return &link_fd;
}

int
link_open(struct link *l, const char *endpoint, enum link_dir dir)
{
	memset(l, 0, sizeof(*l));
	l->dir = dir;
	l->fd = -1;
	if (strcmp(endpoint, "-") == 0)
		l->name = strdup(dir == LINK_IN ? "standard input" : "standard output");
	else
		l->name = strdup(endpoint);
	if (!l->name)
		return fail(FAIL_SYSTEM, "no memory for an endpoint's name");
	l->transport = transport_of(endpoint);
	if (l->transport && l->transport->open(l) == 0) {
		l->opened = 1;
		return 0;
	}
	free(l->name);
	l->name = NULL;
	return -1;
}

int
link_check(const char *endpoint)
{
	const struct transport *t = transport_of(endpoint);

	return !t ? -1 : t == &link_zmq ? address_check(endpoint) : 0;
}

enum lost
link_lost(const char *message)
{
	static const struct {
		const char *part;
		enum lost lost;
	} table[] = {
		{LOST_UPSTREAM, LOST_GONE}, {LOST_DOWNSTREAM, LOST_GONE}, {LOST_LOOP, LOST_GONE}, {LOST_STUCK, LOST_GONE},
		{LOST_SILENT, LOST_UNHEARD}, {LOST_NEVER_CAME, LOST_UNHEARD}, {LOST_ABSENT, LOST_UNHEARD},
		{LOST_HANDSHAKE, LOST_UNHEARD}};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		char part[80];

		snprintf(part, sizeof(part), "%.*s", (int)strcspn(table[i].part, "%"), table[i].part);
		if (strstr(message, part))
			return table[i].lost;
	}
	return LOST_NOT;
}

static int
receive_one(struct link *l, struct frame *f, int wait)
{
	int r = l->transport->receive(l, f, wait);

	if (r == -1)
		return fail_in("%s", l->name);
	if (r == 1) {
		l->frames++;
		l->ended = f->op == OP_END;
	}
	return r;
}

/* Replace an endpoint at its end by the next one of the list. Returns 1, 0 if there is none, or
 * -1. */
static int
open_next(struct link *l)
{
	struct link next;

	if (l->nmore == 0)
		return 0;
	if (link_open(&next, l->more[0], LINK_IN) < 0)
		return -1;
	next.joined = 1;
	next.more = l->more + 1;
	next.nmore = l->nmore - 1;
	next.frames = next.before = l->frames;
	next.bytes = l->bytes;
	(void)link_close(l);
	*l = next;
	return 1;
}

int
link_receive(struct link *l, struct frame *f)
{
	int r;

	if (l->ended && !l->joined)
		return 0;
	do {
		if (!l->ended || link_is_file(l)) {
			if ((r = receive_one(l, f, 1)) != -2)
				return r;
			if (!l->ended)
				return fail(FAIL_SYSTEM, "%s: ended without an end frame: " LOST_UPSTREAM,
				    l->name);
		}
	} while ((r = open_next(l)) > 0);
	return r;
}

int
link_open_all(struct link *l, const char *const *endpoints, int n)
{
	for (int i = 0; i < n; i++)
		if (link_exists(endpoints[i]) < 0)
			return -1;
	if (link_open(l, endpoints[0], LINK_IN) < 0)
		return -1;
	l->joined = 1;
	l->more = endpoints + 1;
	l->nmore = n - 1;
	return 0;
}

int
link_has_more(const struct link *l)
{
	struct stat st;

	if (!l->joined || l->nmore > 0)
		return l->joined;
	return link_is_file(l) && fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    lseek(l->fd, 0, SEEK_CUR) < st.st_size;
}

int
link_unread(const struct link *l)
{
	struct stat st;

	return l->opened && l->ended && l->dir == LINK_IN && link_is_file(l) &&
	    strcmp(l->name, "standard input") != 0 &&
	    fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    lseek(l->fd, 0, SEEK_CUR) < st.st_size;
}

int
link_is_file(const struct link *l)
{
	return l->transport == &link_fd;
}

int
link_exists(const char *endpoint)
{
	if (strcmp(endpoint, "-") == 0 || transport_of(endpoint) != &link_fd || access(endpoint, F_OK) == 0)
		return 0;
	return fail(FAIL_SYSTEM, "cannot open '%s':", endpoint);
}

int
link_try_receive(struct link *l, struct frame *f)
{
	return receive_one(l, f, 0);
}

struct pollfd
link_poll(struct link *l)
{
	return l->transport->ready(l);
}

int
link_accepts_device(const struct link *l)
{
	return l->transport == &link_nccl || l->transport == &link_ipc;
}

int
link_is_stored(const struct link *l)
{
	struct stat st;

	return l->transport == &link_fd && fstat(l->fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISCHR(st.st_mode));
}

int
link_is_pipe(const struct link *l)
{
	struct stat s;

	return l->transport == &link_fd && l->fd >= 0 && fstat(l->fd, &s) == 0 && S_ISFIFO(s.st_mode);
}

int
link_queue(struct link *l, struct frame *f)
{
	if (frame_bytes(f, &l->queue) < 0)
		return -1;
	l->frames++;
	l->ended = f->op == OP_END;
	return 0;
}

int
link_send(struct link *l, struct frame *f)
{
	if (l->transport->send(l, f, 1) < 0)
		return fail_in("%s", l->name);
	l->frames++;
	l->ended = f->op == OP_END;
	return 0;
}

int
link_flush(struct link *l)
{
	int r = l->transport->send(l, NULL, 0);

	return r < 0 ? fail_in("%s", l->name) : r;
}

int
link_close(struct link *l)
{
	int r = 0;

	if (l->opened) {
		if (l->dir == LINK_OUT && l->transport->send(l, NULL, 1) < 0)
			r = -1;
		if (l->transport->close(l) < 0)
			r = -1;
		if (r < 0)
			fail_in("%s", l->name);
	}
	buf_free(&l->queue);
	free(l->frame);
	free(l->name);
	memset(l, 0, sizeof(*l));
	l->fd = -1;
	return r;
}

void
link_drop(struct link *l)
{
	l->queue.n = l->sent = 0;
	l->frames = 0;
	l->ended = 0;
	(void)link_close(l);
}
