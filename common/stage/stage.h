/*
 * Stages: functions over a batch, and the loop that feeds them.
 *
 * A stage is a struct with its weights, NAME_open(), NAME_frame() and NAME_close() in a file here, and a row
 * in the table of stages (stages.h says how to add one).  NAME_frame() gets every frame, in order: it acts on
 * the batches that name it (stage_acts), may look at control frames, and leaves the rest alone.
 */
#ifndef DS_STAGE_H
#define DS_STAGE_H

#include "base/pool.h"
#include "frame/frame.h"
#include "device/device.h"
#include "link/link.h"
#include "arch/model.h"
#include "stage/tap.h"

#define LINKS_MAX 64            /* inputs, or outputs, of a program */

/* Layers, written as RANGES_SYNTAX says. */
struct layers {
	unsigned char has[LAYERS_MAX];
};

/* NULL means all n.  0, or -1 and a message (FAIL_USAGE). */
int layers_parse(struct layers *l, const char *text, int n);

/* What every stage of a process shares. */
struct stage {
	struct model *model;
	const struct kernels *k;        /* of the precision that its frames have */
	struct pool *pool;
	struct layers layers;
	struct device *device;          /* where it computes */
	struct device *gpu;             /* the same if it is a GPU, else NULL */
	uint64_t taps;                  /* TAP_BIT of the inner tensors that its frames get */
	struct link *in, *out;          /* [nin], [nout] of a stage that reads its inputs itself */
	int nin, nout;
};

/*
 * A function over a batch: 1 send the frame on, 0 it is swallowed, -1 and a
 * message.  It may send frames of its own first with link_send on out, but where the process has a GPU: there a
 * frame before may still be on its way.
 */
typedef int stage_fn(void *arg, struct frame *f, struct link *out, int nout);

/*
 * Read frames until `end`, hand each to fn, send on what it leaves; then send `end` and
 * return 0.  An error frame is passed on and fails with status 3.  When fn fails, an error frame
 * with the message is sent on, if that is still possible, and -1 returned.  What fn changed of a frame that has a
 * `trace` gets an entry there, if fn has not made its own.
 *
 * Of an input by link_open_all several streams become one: fn sees each end frame, the last alone is sent on.  The end of a
 * pipe is sent on at once, since a ring may wait for it; a stream that then follows is an error, unless nout is 0.
 *
 * gpu: where fn computes, NULL on the CPU.  What it leaves there is fetched, and large frames are then written by a thread while
 * the next is read and computed (stage/write_behind.h): the same frames in the same order, and a failure is as if
 * they had been written at once, but that the next frame may have been computed already.
 */
int stage_run(struct link *in, struct link *out, int nout, stage_fn *fn, void *arg, struct device *gpu);

/*
 * For programs with a loop of their own; both return -1.
 * stage_fail prints the message kept (fail_print), then sends an error frame with it, "who: " in front, if that is still
 * possible; it ignores SIGPIPE from then on.
 * stage_upstream makes a message of an error frame that came.  Who failed has printed why: where it came through a
 * pipe, so from this host, its name suffices.  in NULL: the message is repeated.
 */
int stage_fail(struct link *out, int nout, const char *who);
int stage_upstream(const struct frame *f, const struct link *in);

int stage_send(struct link *out, int nout, struct frame *f);    /* to all of them; a failed sequence is reported where this is the end */

/* 1 if f is a batch that waits for this stage on one of its layers (layers NULL: the stage has none);
 * 0 if it is not; -1 and a message if it is, but of another model. */
int stage_acts(const struct stage *s, const struct frame *f, enum at at);

/* The same for a stage that multiplies with weights: -1 and a message also where f is of another precision than s->k. */
int stage_multiplies(const struct stage *s, const struct frame *f, enum at at);

/* Products are there in the stage's precision: 0; -1 and a message (FAIL_USAGE) where GPUs alone have them and it is on the CPU. */
int stage_has_products(const struct stage *s);

/* The residual stream [rows][D] in the device's memory; NULL and a message if it is not as it must be. */
float *stage_hidden(const struct stage *s, struct frame *f);

#endif
