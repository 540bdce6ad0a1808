/*
 * The head: frames at `head` exchange h for the logits of the rows that want them and wait for
 * `sample`.  Outside of a ring no stage but ds-sample follows: rows for any other are refused.
 */
#ifndef DS_HEAD_H
#define DS_HEAD_H

#include "device/mirror.h"
#include "base/scratch.h"
#include "stage/stage.h"

struct head_learn;

struct head {
	const struct stage *s;
	int ring;                       /* frames for other stages are passed on: they come round */
	float *norm;                    /* [D] */
	struct mat weight;              /* [V][D] */
	struct scratch rows;            /* the wanted ones, of the device */
	struct mirror wanted;           /* which they are */
	struct head_learn *learn;       /* of backward passes; NULL without --learn */
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int head_open(struct head *h, const struct stage *s);
void head_close(struct head *h);

/* A stage_fn, arg the struct head. */
int head_frame(void *arg, struct frame *f, struct link *out, int nout);

#endif
