/*
 * Writing behind: a thread writes a frame while the stage reads and computes the next.
 *
 * For stages on a GPU, where frames are large and the processor has nothing else to do.  A queue of one: the
 * frame that is being written is the only one that waits.
 */
#ifndef DS_WRITE_BEHIND_H
#define DS_WRITE_BEHIND_H

#include <pthread.h>

#include "frame/frame.h"
#include "device/device.h"
#include "link/link.h"

#define WRITE_BEHIND_MIN ((size_t)64 << 10) /* bytes of tensors: less goes into a pipe at once, before a thread wakes */

struct write_behind {
	struct link *out;       /* the thread's as long as it is busy */
	int nout;
	struct device *gpu;     /* NULL: nothing is written behind */

	int started;            /* the thread has been; what is below is there */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* busy or last */
	int busy, last;         /* under lock: a frame is being written; no other will come */
	int written;               /* an eventfd: readable once a frame has been written */
	struct frame f;         /* the thread's as long as it is busy */
	int status;             /* of what failed: */
	char text[1024];
};

/* Frames that gpu computes go to out [nout]: nothing is started yet.  gpu NULL, or a link among them that takes memory of the
 * GPU's itself, which belongs to the caller's thread: all is sent by the caller. */
void write_behind_init(struct write_behind *b, struct link *out, int nout, struct device *gpu);

/* As link_receive and stage_send; f is empty behind a send.  Each may also say what writing a frame before failed of, and reading
 * says so at once.  0 or what link_receive gives, or -1 and a message. */
int write_behind_receive(struct write_behind *b, struct link *in, struct frame *f);
int write_behind_send(struct write_behind *b, struct frame *f);

/* Whether f is worth it: then all its tensors must be here (frame_fetch) before write_behind_send. */
int write_behind_suits(const struct write_behind *b, const struct frame *f);

/* Wait until all is written and end the thread: 0, or -1 and a message that writing behind has failed (else none is touched). */
int write_behind_end(struct write_behind *b);

#endif
