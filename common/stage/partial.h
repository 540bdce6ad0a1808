/*
 * Frames whose experts are being done: which ones are (experts_done), their sum so far
 * (expert.acc), and how a frame is finished.  Shared by ds-expert and ds-join.
 */
#ifndef DS_PARTIAL_H
#define DS_PARTIAL_H

#include "stage/expert_set.h"
#include "stage/stage.h"

struct partial {
	struct expert_set done;         /* empty: none yet */
	int begun;                      /* there is a sum already */
	/* host: [T][K] chosen experts; NULL on a dense layer, or if this process has them in its
	 * GPU */
	const int32_t *idx;
	const float *w;                 /* [T][K], the same */
	int64_t *acc;                   /* [T][D] in the device's memory; NULL if not begun */
};

/*
 * Read and check a frame at `expert`: the choice ascending and in range, the sum within what the
 * experts that are done can have contributed.  What this process has made in its GPU stays there,
 * unchecked.  0, or -1 and a message (FAIL_DATA).
 */
int partial_read(struct partial *p, const struct stage *s, struct frame *f);

/* The same of a frame at `expert.back`, with the choice of its forward pass in `kept`; NULL: this
 * process does not know it.  Its expert.acc is the gradient of the normed rows. */
int partial_read_back(struct partial *p, const struct stage *s, struct frame *f,
    struct frame *kept);

/* The sum is about to grow; where there is none it is made, zero.  0, or -1 and a message. */
int partial_begin(struct partial *p, const struct stage *s, struct frame *f);

/*
 * Where on the host the tap expert.each of the frame's layer goes, [T][K][D]: the tensor that is
 * there, if another process has begun one, else a new one of zeros; NULL if the tap is off. 0, or
 * -1 and a message.
 */
int partial_tap_each(const struct stage *s, struct frame *f, float **each);

/*
 * p->done and p->acc are as the frame is to leave: where all is done the sum is added to h and
 * the frame moves on to the next layer or the head, else both are written into the frame. 0, or
 * -1 and a message.
 */
int partial_write(struct partial *p, const struct stage *s, struct frame *f);

/* The same at `expert.back`.  Where all is done, expert.acc and expert.wacc become x.grad and
 * w.grad, and the frame moves on to `route.back`. */
int partial_write_back(struct partial *p, const struct stage *s, struct frame *f);

/* f's layer is done, its sum added to h: expert.* goes, and the frame moves on to the next layer
 * or the head. */
void partial_leave(const struct config *c, struct frame *f);

#endif
