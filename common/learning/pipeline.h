/*
 * Both ends of a pipeline: frames go into ds-embed, and all that leaves the last program comes
 * back.  A frame that is sent waits in memory, and receiving also sends.  So neither end blocks
 * the other.
 */
#ifndef DS_PIPELINE_H
#define DS_PIPELINE_H

#include "link/link.h"

struct pipeline {
	struct link feed, back;
	uint64_t sequence;              /* the next unused id of a sequence */
	uint64_t learn;                 /* the next unused id of a `learn` frame */
	int lost;                       /* 1: nothing is sent any more: the pipeline has failed */
	int signals;                    /* a descriptor that polls readable when the run must end;
					 * -1: none */
	int sig;                        /* the signal that has been read there, or 0 */
};

/* Open both endpoints, in this order.  0, or -1 and a message. */
int pipeline_open(struct pipeline *p, const char *feed, const char *back);

/* After p->signals polled readable: -1 and a message if a signal asks for the end, otherwise 0. */
int pipeline_interrupted(struct pipeline *p);

/* Queue a copy of f for ds-embed, and send what goes.  0, or -1 and a message. */
int pipeline_send(struct pipeline *p, struct frame *f);

/*
 * Receive the next frame from the end of the pipeline into f, which was initialised; meanwhile send
 * what is queued.  An `error` frame, and a stream that ends, is a failure.  0, or -1 and a message.
 */
int pipeline_receive(struct pipeline *p, struct frame *f);

/* Receive frames until one has that operation. */
int pipeline_await(struct pipeline *p, enum op op, struct frame *f);

/* Send `end`, wait until it comes back, close.  0, or -1 and a message. */
int pipeline_end(struct pipeline *p);

/* Print the stored message, and report it to the programs of the pipeline, unless one of them has
 * failed before. */
void pipeline_fail(struct pipeline *p);

/* Close at once. A zeroed *p is accepted. */
void pipeline_drop(struct pipeline *p);

#endif
