/*
 * Write-behind: a thread writes a frame while the stage reads and computes the next one.
 *
 * It serves stages on a GPU: their frames are large, and the processor is idle meanwhile.  The
 * queue holds one frame, the one that is being written.
 */
#ifndef DS_WRITE_BEHIND_H
#define DS_WRITE_BEHIND_H

#include <pthread.h>

#include "frame/frame.h"
#include "device/device.h"
#include "link/link.h"

#define WRITE_BEHIND_MIN ((size_t)64 << 10) /* bytes of tensors: a pipe holds less than that,
					     * without a thread */

struct write_behind {
	struct link *out;       /* [nout]; the thread's while it is busy */
	int nout;
	struct device *gpu;     /* NULL: the caller writes all frames */

	int started;            /* 1: there is a thread, and the rest is set */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* busy or last */
	int busy, last;         /* under lock: a frame is being written; no other follows */
	int written;            /* an eventfd: readable after a frame was written */
	struct frame f;         /* the thread's while it is busy */
	int status;             /* under lock: of a write that failed, or 0; */
	char text[1024];        /* its message */
};

/* For frames that gpu computes and out [nout] gets; starts nothing yet.  The caller's thread writes
 * all frames if gpu is NULL, or if one of the links sends memory of the GPU itself.  */
void write_behind_init(struct write_behind *b, struct link *out, int nout, struct device *gpu);

/* As link_receive and stage_send; f is empty after a send.  Both may fail with the message of an
 * earlier frame's write; receive does so as soon as that write has failed.  */
int write_behind_receive(struct write_behind *b, struct link *in, struct frame *f);
int write_behind_send(struct write_behind *b, struct frame *f);

/* 1 if the thread would write f: all its tensors must be fetched (frame_fetch) before
 * write_behind_send.  */
int write_behind_suits(const struct write_behind *b, const struct frame *f);

/* Wait until all is written, and end the thread.  0, or -1 and the message of a write that failed;
 * on success the message that fail() keeps stays as it is.  */
int write_behind_end(struct write_behind *b);

#endif
