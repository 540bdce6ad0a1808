/*
 * Endpoints: where frames come from and go to.
 *
 *	-               standard input or output
 *	PATH            a file, a FIFO or a device; an output file is truncated
 *	/dev/fd/N       a descriptor inherited from the parent
 *	@tcp://ADDRESS:PORT, @ipc://PATH        bind and wait for one program (ZeroMQ)
 *	tcp://HOST:PORT, ipc://PATH             connect to one, which may start later; also with >
 *	nccl:ADDRESS, cuda:ADDRESS      such an ADDRESS; tensors go from GPU to GPU
 *
 * A transport supplies five functions (struct transport): fd.c for descriptors, zmq/zmq.c for
 * ZeroMQ, gpu.c for those between GPUs.
 */
#ifndef DS_LINK_H
#define DS_LINK_H

#include <poll.h>

#include "frame/frame.h"

enum link_dir { LINK_IN, LINK_OUT };

struct device;
struct link;

struct transport {
	int (*open)(struct link *l);
	/* Receive. Without wait, read what is available after `ready` polled readable; with
	 * wait, read a whole frame. Returns 1 with a frame, 0 for not yet, -2 at end of file, or
	 * -1 and a message. */
	int (*receive)(struct link *l, struct frame *f, int wait);
	/* Send the queue, then f. If f is NULL, send the queue alone: all of it with wait, else
	 * what goes without blocking. Returns 1 if nothing is left, 0 if something is, or -1 and
	 * a message. */
	int (*send)(struct link *l, struct frame *f, int wait);
	/* The descriptor and events to poll. */
	struct pollfd (*ready)(struct link *l);
	int (*close)(struct link *l);
};

struct link {
	const struct transport *transport;
	enum link_dir dir;
	char *name;             /* the endpoint as given; "standard input" for - */
	int opened;
	int fd;
	int wide;               /* the pipe has been enlarged */
	void *state;            /* private to the transport */
	unsigned char *frame;   /* the frame being received: [cap], `have` of `need` bytes */
	size_t have, need, cap;
	uint32_t crc;           /* CRC-32C of the bytes received */
	size_t largest;         /* frame so far: at most this much is allocated in advance */
	struct buf queue;       /* bytes waiting to be sent */
	size_t sent;            /* bytes of queue already sent */
	int ended;              /* an end frame went through */
	uint64_t frames, bytes; /* counts */
	int joined;       /* opened by link_open_all: streams after an end frame are read as well */
	const char *const *more;        /* [nmore] the next endpoints of the list, borrowed */
	int nmore;
	uint64_t before;        /* frames from earlier endpoints of the list */
};

/* Open an endpoint. May block: a FIFO waits for its other end. Returns 0, or -1 and a message
 * with the endpoint (FAIL_SYSTEM, or FAIL_USAGE for wrong syntax). Free with link_close or
 * link_drop. */
int link_open(struct link *l, const char *endpoint, enum link_dir dir);

/* Check syntax and keys as link_open does, without opening. Returns 0, or -1 and a message. */
int link_check(const char *endpoint);

/* Receive the next frame into f, which was initialised. Returns 1 with a frame, the end frame
 * included; 0 after the end frame; or -1 and a message. End of file without an end frame is an
 * error. */
int link_receive(struct link *l, struct frame *f);

/*
 * Open n >= 1 inputs, read in turn as if by cat. Files, pipes and FIFOs are read to end of file,
 * through all their streams; other endpoints hold one stream. link_receive delivers each end frame
 * and returns 0 after the last input. The list must outlive the link. Returns 0, or -1 and a
 * message; a path that does not exist is reported here.
 */
int link_open_all(struct link *l, const char *const *endpoints, int n);

/* After an end frame: 1 if another stream is known to follow, without blocking. */
int link_has_more(const struct link *l);

/* 1 if it is a file given by name and data follow the end frame that was read. Unlike for
 * standard input, no other program can read them. */
int link_unread(const struct link *l);

/* 1 if it may hold several streams. */
int link_is_file(const struct link *l);

/* Check that a path exists; other endpoints pass. Returns 0, or -1 and a message. */
int link_exists(const char *endpoint);

/* Send a whole frame, blocking as long as needed. Returns 0, or -1 and a message. */
int link_send(struct link *l, struct frame *f);

/* Non-blocking use. link_poll returns what to poll until the next of these calls, for an output
 * only if its queue is not empty. link_try_receive returns 1 with a frame, 0 for not yet, -2 at
 * end of file, or -1 and a message (end of file inside a frame included). link_queue appends a
 * copy of f to the queue: 0 or -1. link_flush sends what goes: 1 if the queue is empty, 0 if
 * not, or -1. */
struct pollfd link_poll(struct link *l);
int link_try_receive(struct link *l, struct frame *f);
int link_queue(struct link *l, struct frame *f);
int link_flush(struct link *l);

/* 1 if it is a pipe or FIFO. */
int link_is_pipe(const struct link *l);

/* 1 if it sends tensors from GPU memory (nccl:, cuda:). Its frames must be sent by the thread
 * that computes there. */
int link_accepts_device(const struct link *l);

/* 1 if output goes to a file or a device such as /dev/null, so that no program waits for it. */
int link_is_stored(const struct link *l);

/* Send the queue, close and free. Returns 0, or -1 and a message; write errors such as a full
 * disk surface here at the latest. */
int link_close(struct link *l);

/* Close and free at once. Data in the queue or in transit are lost. */
void link_drop(struct link *l);

/*
 * Parts of the messages of a program whose peer failed. launch/child.h tells effects from causes by
 * them.
 */
#define LOST_UPSTREAM "the upstream program failed"
#define LOST_DOWNSTREAM "the downstream program has exited"
#define LOST_LOOP "the loop ended with work pending"
#define LOST_STUCK "the downstream program reads nothing"
#define LOST_SILENT "no sign of life for %g seconds"
#define LOST_NEVER_CAME "no program connected for %g seconds"
#define LOST_ABSENT "no program is connected"
#define LOST_HANDSHAKE "handshake failed: another program listens there, or one with another key"

/* no such message; the peer has ended; the peer is silent or never came */
enum lost { LOST_NOT, LOST_GONE, LOST_UNHEARD };
enum lost link_lost(const char *message);

/* Settings of all endpoints of the process; set before the first is opened. */
struct link_settings {
	double timeout;         /* seconds of silence after which a peer counts as dead */
	double wait;            /* seconds to wait for a peer to connect; 0: no limit */
	const char *key, *peers;        /* files, or NULL */
	int unsafe;             /* 1: other hosts may connect without keys */
	struct device *gpu;   /* where the program computes; NULL: on the CPU, or not started yet */
};
extern struct link_settings link_settings;

#endif
