/*
 * Endpoints: where frames come from and go to.
 *
 *	-               standard input or output
 *	PATH            a file, a FIFO or a device; written files are made anew
 *	/dev/fd/N       a descriptor that the parent left open
 *	@tcp://ADDRESS:PORT, @ipc://PATH        wait there for one program (ZeroMQ)
 *	tcp://HOST:PORT, ipc://PATH             connect to one, which may come later; also with >
 *	nccl:ADDRESS, cuda:ADDRESS              the same, ADDRESS being one of these; tensors go from GPU to GPU
 *
 * A transport supplies five functions (struct transport); fd.c is the one for
 * everything that has a descriptor, zmq.c the one for ZeroMQ, gpu.c those between GPUs.
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
	/* Take in what there is without waiting (after ready said so) or, with wait,
	 * until a whole frame is there: 1 a frame, 0 not yet, -2 end of file, -1 and a message. */
	int (*receive)(struct link *l, struct frame *f, int wait);
	/* Send what is queued and then f, whole; f NULL: what is queued alone, all of it (wait)
	 * or what goes without waiting.  1 nothing is left, 0 some is, -1 and a message. */
	int (*send)(struct link *l, struct frame *f, int wait);
	/* What to poll for. */
	struct pollfd (*ready)(struct link *l);
	int (*close)(struct link *l);
};

struct link {
	const struct transport *transport;
	enum link_dir dir;
	char *name;             /* the endpoint as given; "standard input" for - */
	int opened;
	int fd;
	int wide;               /* a pipe has been made larger */
	void *state;            /* the transport's own */
	unsigned char *frame;   /* the frame that is arriving: [cap], have of need bytes there */
	size_t have, need, cap;
	uint32_t crc;           /* of what has come of it */
	size_t largest;         /* frame that has come: as much memory is believed at once */
	struct buf queue;       /* bytes waiting to be sent */
	size_t sent;            /* of queue, already gone */
	int ended;              /* an end frame has gone through */
	uint64_t frames, bytes; /* so far */
	int joined;             /* by link_open_all: what follows an end frame is read as well */
	const char *const *more;        /* [nmore] the endpoints that follow this one, borrowed */
	int nmore;
	uint64_t before;        /* of frames: came from the endpoints before this one */
};

/* Open an endpoint; may wait (a FIFO waits for its other side).  0, or -1 and
 * a message (FAIL_SYSTEM) that names it. */
int link_open(struct link *l, const char *endpoint, enum link_dir dir);

/* Would link_open refuse it for how it is written, or for want of keys?  0, or -1 and a message. */
int link_check(const char *endpoint);

/* The next frame: 1, or 0 at the end (the end frame itself is delivered with 1, nothing
 * after it is read), or -1 and a message: end of file before `end` included. */
int link_receive(struct link *l, struct frame *f);

/*
 * Open a list of inputs [n], read one after another as if by cat: each up to its end of file, with all
 * streams that it holds.  link_receive then gives 0 after the last of them; each end frame is
 * delivered.  What is no file, pipe or FIFO holds one stream.  The list outlives the link.
 * 0, or -1 and a message: a path that does not exist is noticed here.
 */
int link_open_all(struct link *l, const char *const *endpoints, int n);

/* After an end frame: 1 if it is known without waiting that another stream follows. */
int link_has_more(const struct link *l);

/* 1 if it is a file that was given by its name, and more follows the end frame that came: no other program
 * can read it on, as they can standard input. */
int link_unread(const struct link *l);

/* 1 if it can hold several streams, one after another. */
int link_is_file(const struct link *l);

/* 0, or -1 and a message where the endpoint is a path that does not exist. */
int link_exists(const char *endpoint);

/* Send it whole, waiting as long as it takes.  0, or -1 and a message. */
int link_send(struct link *l, struct frame *f);

/* Without waiting: link_poll says what to poll for until the next call of these, an output where
 * something is queued; link_try_receive
 * gives 1 a frame, 0 not yet, -2 end of file (in the middle of a frame: -1);
 * link_queue copies a frame behind what waits; link_flush sends what goes: 1 all, 0 some is left, -1. */
struct pollfd link_poll(struct link *l);
int link_try_receive(struct link *l, struct frame *f);
int link_queue(struct link *l, struct frame *f);
int link_flush(struct link *l);

/* 1 if it is a pipe or a FIFO. */
int link_is_pipe(const struct link *l);

/* 1 if it takes tensors where they lie in the GPU (nccl:, cuda:): its frames are sent by the thread that computes there. */
int link_accepts_device(const struct link *l);

/* 1 if what is sent is stored, or goes to a device such as /dev/null: no other program reads it as it comes. */
int link_is_stored(const struct link *l);

/* Send what is queued, close and check: a full disk is noticed here at the
 * latest.  0, or -1 and a message. */
int link_close(struct link *l);

/* Close it at once: what waits or is on its way is lost. */
void link_drop(struct link *l);

/*
 * What a program says where another one is missing, so that who watches both (launch/child.h) knows an effect from a cause:
 * parts of messages, each once.
 */
#define LOST_UPSTREAM "the program before it failed"
#define LOST_DOWNSTREAM "the program after it has gone"
#define LOST_LOOP "the loop ended while there was work"
#define LOST_STUCK "the program after it takes nothing"
#define LOST_SILENT "no sign of life for %g seconds"
#define LOST_NEVER_CAME "no program came for %g seconds"
#define LOST_ABSENT "no program is there"
#define LOST_HANDSHAKE "no handshake: another program listens there, or one with another key"

enum lost { LOST_NOT, LOST_GONE, LOST_UNHEARD };        /* it is no such message; the other has ended; or it is not heard of */
enum lost link_lost(const char *message);

/* What holds for all endpoints of the process; set before the first is opened. */
struct link_settings {
	double timeout;         /* seconds after which a peer that gives no sign of life is dead */
	double wait;            /* seconds that a peer has to come; 0: any time */
	const char *key, *peers;        /* files, or NULL */
	int unsafe;             /* 1: other hosts may connect without keys */
	struct device *gpu;     /* where the program computes; NULL: on the CPU, or it has not been started yet */
};
extern struct link_settings link_settings;

#endif
