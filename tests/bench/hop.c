/*
 * What it costs to hand bytes over; run by tests/bench/net, which prints what comes of it.
 *
 *	hop WAY ROWS COUNT there-and-back|stream
 *
 * WAY is pipe, ipc or tcp: a frame at attn with h [ROWS, 7168] goes through common/link, between two processes, made anew
 * (header, CRC) by who sends it and checked whole by who takes it, as between two stages.  Or raw-pipe, raw-ipc, raw-tcp: the bytes of
 * that frame without it, by write and read, or by a PUSH and a PULL socket that send them from where they lie and
 * throw them away.  Or memcpy.  Prints seconds for each time that they went one way, and how many bytes they are.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/io.h"
#include "frame/frame.h"
#include "link/zmq/libzmq.h"
#include "link/link.h"

#define HIDDEN 7168
#define WARM 4

/* One of the two processes: how it reaches the other. */
struct side {
	int child;
	struct frame f;
	struct buf bytes;               /* of f, for the raw ways */
	char in[128], out[128];         /* endpoints */
	struct link from, to;
	int rfd, wfd;
	void *pull, *push;
};

struct way {
	const char *name;
	void (*open)(struct side *s);
	void (*put)(struct side *s);
	void (*get)(struct side *s);
	void (*close)(struct side *s);
};

static void
need(int ok, const char *what)
{
	if (!ok)
		die(FAIL_SYSTEM, "%s:", what);
}

static void
did(int r)
{
	if (r < 0)
		die_failed();
}

/* --- through common/link --- */

static void
link_open_both(struct side *s)
{
	/* (who binds and who connects takes turns, and no one waits for the other) */
	did(link_open(&s->from, s->in, LINK_IN));
	did(link_open(&s->to, s->out, LINK_OUT));
}

static void
link_put(struct side *s)
{
	frame_set_at(&s->f, AT_ATTN, s->f.layer ^ 1);
	did(link_send(&s->to, &s->f));
}

static void
link_get(struct side *s)
{
	did(link_receive(&s->from, &s->f));
}

static void
link_close_both(struct side *s)
{
	struct frame end;

	frame_init(&end);
	end.op = OP_END;
	end.changed = 1;
	did(link_send(&s->to, &end));
	link_get(s);
	did(link_close(&s->from));
	did(link_close(&s->to));
}

/* --- write and read --- */

static void
fd_open_both(struct side *s)
{
	did(sscanf(s->in, "/dev/fd/%d", &s->rfd) == 1 && sscanf(s->out, "/dev/fd/%d", &s->wfd) == 1 ? 0 : -1);
}

static void
fd_put(struct side *s)
{
	did(io_write(s->wfd, s->bytes.p, s->bytes.n));
}

static void
fd_get(struct side *s)
{
	need(io_read(s->rfd, s->bytes.p, s->bytes.n) == (ptrdiff_t)s->bytes.n, "read");
}

static void
nothing(struct side *s)
{
	(void)s;
}

/* --- PUSH and PULL --- */

static void
zmq_attach(void *sock, const char *endpoint)
{
	need((*endpoint == '@' ? zmq_bind(sock, endpoint + 1) : zmq_connect(sock, endpoint)) == 0, endpoint);
}

static void
zmq_open_both(struct side *s)
{
	void *context;

	did(libzmq_load());
	context = zmq_ctx_new();
	s->pull = zmq_socket(context, ZMQ_PULL);
	s->push = zmq_socket(context, ZMQ_PUSH);
	zmq_attach(s->pull, s->in);
	zmq_attach(s->push, s->out);
}

static void
keep(void *data, void *hint)
{
	(void)data, (void)hint;
}

static void
zmq_put(struct side *s)
{
	zmq_msg_t m;

	zmq_msg_init_data(&m, s->bytes.p, s->bytes.n, keep, NULL);
	need(zmq_msg_send(&m, s->push, 0) >= 0, "zmq_msg_send");
}

static void
zmq_get(struct side *s)
{
	zmq_msg_t m;

	zmq_msg_init(&m);
	need(zmq_msg_recv(&m, s->pull, 0) == (int)s->bytes.n, "zmq_msg_recv");
	zmq_msg_close(&m);
}

/* --- memcpy --- */

static void
copy_open(struct side *s)
{
	s->pull = mem_raw(s->bytes.n, 1);
	need(s->pull != NULL, "memory");
	memset(s->pull, 1, s->bytes.n);
}

static void
copy(struct side *s)
{
	void *from = s->bytes.p;

	memcpy(s->pull, from, s->bytes.n);
	s->bytes.p = s->pull;
	s->pull = from;
}

static const struct way ways[] = {
	{"memcpy", copy_open, nothing, copy, nothing},
	{"pipe", link_open_both, link_put, link_get, link_close_both},
	{"ipc", link_open_both, link_put, link_get, link_close_both},
	{"tcp", link_open_both, link_put, link_get, link_close_both},
	{"raw-pipe", fd_open_both, fd_put, fd_get, nothing},
	{"raw-ipc", zmq_open_both, zmq_put, zmq_get, nothing},
	{"raw-tcp", zmq_open_both, zmq_put, zmq_get, nothing},
};

/* --- the two processes --- */

/* Two ends of one connection: who takes, who sends. */
static void
endpoints(const char *way, char *in, char *out, size_t size)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	static int count;
	int p[2];

	if (strstr(way, "pipe")) {
		need(pipe(p) == 0, "pipe");
		snprintf(in, size, "/dev/fd/%d", p[0]);
		snprintf(out, size, "/dev/fd/%d", p[1]);
	} else if (strstr(way, "ipc")) {
		snprintf(in, size, "@ipc://@dspipe-hop-%d-%d", (int)getpid(), count++);
		strcpy(out, in + 1);
	} else {
		p[0] = socket(AF_INET, SOCK_STREAM, 0);
		need(p[0] >= 0 && bind(p[0], (struct sockaddr *)&a, n) == 0 && getsockname(p[0], (struct sockaddr *)&a, &n) == 0, "socket");
		snprintf(in, size, "@tcp://127.0.0.1:%d", ntohs(a.sin_port));
		strcpy(out, in + 1);
		close(p[0]);
	}
}

static void
make_frame(struct side *s, uint32_t rows)
{
	uint64_t shape[2] = {rows, HIDDEN};
	struct span span = {1, 0, rows, 0};
	struct tensor *t;

	frame_init(&s->f);
	frame_set_at(&s->f, AT_ATTN, 2);
	did(frame_set_spans(&s->f, &span, 1));
	need((t = frame_add(&s->f, "ids", I32, 1, shape)) != NULL, "frame");
	memset(t->data, 1, t->bytes);
	need((t = frame_add(&s->f, "h", F32, 2, shape)) != NULL, "frame");
	for (size_t i = 0; i < t->bytes; i += 4)
		memcpy((char *)t->data + i, &(float){(float)i * 1e-6f}, 4);
	did(frame_bytes(&s->f, &s->bytes));
}

static double
measure(const struct way *w, struct side *s, int count, int back)
{
	double start = 0;

	w->open(s);
	for (int i = -WARM; i < count; i++) {
		if (i == 0)
			start = clock_now();
		if (s->child ? !back : back)
			w->put(s);
		if (!s->child || back)
			w->get(s);
		if (s->child && back)
			w->put(s);
	}
	start = (clock_now() - start) / count / (back ? 2 : 1);
	w->close(s);
	return start;
}

int
main(int argc, char **argv)
{
	struct side s = {0};
	const struct way *w = ways, *end = ways + sizeof(ways) / sizeof(*ways);
	int back = argc == 5 && strcmp(argv[4], "there-and-back") == 0, status = 0;
	pid_t child = -1;
	double t;
	int bye[2];

	program = "hop";
	mem_retain_freed();
	while (argc == 5 && w < end && strcmp(w->name, argv[1]) != 0)
		w++;
	if (argc != 5 || w == end || atoi(argv[2]) < 1 || atoi(argv[3]) < 1)
		die(FAIL_USAGE, "hop WAY ROWS COUNT there-and-back|stream: see tests/bench/net");
	make_frame(&s, (uint32_t)atoi(argv[2]));
	if (w->open != copy_open) {
		char parent[2][128];

		endpoints(w->name, parent[0], s.out, sizeof(s.out));
		endpoints(w->name, s.in, parent[1], sizeof(s.in));
		need(pipe(bye) == 0 && (child = fork()) >= 0, "fork");
		s.child = child == 0;
		close(bye[!s.child ? 0 : 1]);
		if (!s.child) {
			strcpy(s.in, parent[0]);
			strcpy(s.out, parent[1]);
		}
	}
	t = measure(w, &s, atoi(argv[3]), back && child >= 0);
	if (s.child)    /* libzmq sends as long as we live: until the parent has got all */
		_exit(read(bye[0], &status, 1) != 0);
	if (child > 0)
		need(close(bye[1]) == 0 && waitpid(child, &status, 0) == child && status == 0, "the other process");
	printf("%.9f %zu\n", t, s.bytes.n);
	return 0;
}
