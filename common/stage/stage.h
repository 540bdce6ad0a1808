/*
 * Stages: functions over a batch, and the loop that feeds them.
 *
 * A stage is a struct with its weights, NAME_open(), NAME_frame() and NAME_close() in a file here,
 * and a row in the table of stages (stages.h says how to add one).  NAME_frame() gets every frame,
 * in order: it acts on the batches that name it (stage_acts), may look at control frames, and
 * leaves the rest alone.
 */
#ifndef DS_STAGE_H
#define DS_STAGE_H

#include "base/pool.h"
#include "frame/frame.h"
#include "device/device.h"
#include "link/link.h"
#include "arch/model.h"
#include "stage/tap.h"

struct keep;
struct learn;

#define LINKS_MAX 64            /* inputs, or outputs, of a program */

/* A set of layers; RANGES_SYNTAX is its syntax.  */
struct layers {
	unsigned char has[LAYERS_MAX];
};

/* Of a model with n layers; text NULL: all of them.  0, or -1 and a message (FAIL_USAGE).  */
int layers_parse(struct layers *l, const char *text, int n);

/* What all stages of a process share.  */
struct stage {
	struct model *model;
	const struct kernels *k;        /* of the precision of its frames */
	struct pool *pool;
	struct layers layers;
	struct device *device;          /* where it computes */
	uint64_t taps;                  /* TAP_BIT of the inner tensors that its frames get */
	struct link *in, *out;          /* [nin], [nout] of a stage that reads its inputs itself */
	int nin, nout;
	struct learn *learn;            /* --learn: its tensors that learn, or NULL */
	struct keep *keep;              /* --learn: what backward passes need, or NULL */
};

/*
 * What a stage does with a frame: 1 forward it, 0 drop it, -1 and a message.  On the CPU it may
 * first send frames of its own to out [nout] with link_send; on a GPU an earlier frame may still be
 * in the write-behind thread.
 */
typedef int stage_fn(void *arg, struct frame *f, struct link *out, int nout);

/*
 * Read frames until `end`, call fn with each and forward the results to out [nout]; then send `end`
 * and return 0.  An error frame is forwarded and fails with FAIL_SYSTEM.  If fn fails, an error
 * frame with its message is sent if possible.  A frame with a `trace` that fn changed gets an
 * entry, unless fn has added one.  Otherwise -1 and a message.
 *
 * An input by link_open_all has several streams, which become one: fn sees each end frame, and only
 * the last is forwarded.  The end of a pipe is forwarded at once, since a ring may wait for it.  A
 * stream after it is an error, unless nout is 0.
 *
 * gpu: where fn computes, or NULL.  Its results are fetched, and a thread writes large frames while
 * the next one is read and computed (write_behind.h).  Frames and order are the same; after a
 * failed write the next frame may have been computed already.
 */
int stage_run(struct link *in, struct link *out, int nout, stage_fn *fn, void *arg, struct device *gpu);

/*
 * For programs that read their inputs themselves; both return -1. stage_fail prints the message
 * that fail() keeps, then sends an error frame with it, prefixed "who: ", if possible.  It ignores
 * SIGPIPE from then on. stage_upstream keeps a message about an error frame that arrived.  The
 * program that failed has printed the cause.  If the frame came through a pipe, so from this host,
 * its name suffices; otherwise, and if in is NULL, the cause is repeated.
 */
int stage_fail(struct link *out, int nout, const char *who);
int stage_upstream(const struct frame *f, const struct link *in);

/* Send f to all outputs; a failed sequence is reported if no program reads them.  0, or -1 and a
 * message.  */
int stage_send(struct link *out, int nout, struct frame *f);

/* 1 if f is a batch for the stage `at` and, if that has layers, one of s->layers.  0 if not.  -1
 * and a message if it is of another model.  */
int stage_acts(const struct stage *s, const struct frame *f, enum at at);

/* The same for a stage that multiplies with weights: -1 and a message also if f is of another
 * precision than s->k; or if it waits for attention and is of another type of cache.  */
int stage_multiplies(const struct stage *s, const struct frame *f, enum at at);

/* 1 if f has come back to a stage that learns, at the step `back` of a backward pass, in one of its
 * layers.  0 if not, or without --learn.  -1 and a message if it is of another model or
 * precision.  */
int stage_learns(const struct stage *s, const struct frame *f, enum at back);

/* f gets the stage's model, precision and type of cache. */
void stage_stamp(const struct stage *s, struct frame *f);

/* 0 if the device has products in the stage's precision; -1 and a message (FAIL_USAGE) if only GPUs
 * have them, or only CPUs.  */
int stage_has_products(const struct stage *s);

/* The residual stream [rows][D] in the device's memory; NULL and a message if it is not as it must
 * be.  */
float *stage_hidden(const struct stage *s, struct frame *f);

#endif
