/*
 * Taps: inner tensors of a stage that --tap adds to its frames, a row for each of the frame's
 * (head.norm: for each that wants logits), F32 but for attn.index, I32.  What they hold is in
 * tap.c.
 */
#ifndef DS_TAP_H
#define DS_TAP_H

#include <stdint.h>

#include "attention/attention.h"
#include "frame/frame.h"

enum tap {
	TAP_ATTN_NORM,                  /* and on: enum attention_tap */
	TAP_ATTN_OUT = TAP_ATTN_NORM + ATTENTION_TAPS - 1,
	TAP_ROUTE_NORM, TAP_ROUTE_SCORES, TAP_ROUTE_CHOICE,
	TAP_EXPERT_IN, TAP_EXPERT_EACH, TAP_EXPERT_SHARED, TAP_EXPERT_OUT,
	TAP_HEAD_NORM, TAP_HEAD_HIDDEN, TAPS
};

#define TAP_HIDDEN "head.hidden"        /* name of TAP_HEAD_HIDDEN, which ds-draft reads */

#define TAP_ALL (UINT64_C(1) << 63)     /* the user said "all": also what the model may lack */
#define TAP_BIT(tap) (UINT64_C(1) << (tap))
#define TAP_BITS(from, to) ((TAP_BIT(to) << 1) - TAP_BIT(from))
#define TAPS_ATTN TAP_BITS(TAP_ATTN_NORM, TAP_ATTN_OUT)
#define TAPS_ROUTE TAP_BITS(TAP_ROUTE_NORM, TAP_ROUTE_CHOICE)
#define TAPS_EXPERT TAP_BITS(TAP_EXPERT_IN, TAP_EXPERT_OUT)
#define TAPS_BLOCK (TAPS_ATTN | TAPS_ROUTE | TAPS_EXPERT)
#define TAPS_HEAD TAP_BITS(TAP_HEAD_NORM, TAP_HEAD_HIDDEN)

/* NAME,NAME or "all" of the taps that a program offers, as bits added to *on, TAP_ALL too for
 * the latter. 0, or -1 and a message (FAIL_USAGE). */
int tap_parse(uint64_t *on, uint64_t offered, const char *text);

/* Print those offered on standard output. */
void tap_list(uint64_t offered);

/*
 * If the tap is on, *data (host) is that of a new tensor named after it, followed by "@layer"
 * unless layer is -1; it is not set yet. If it is off, *data is NULL. 0, or -1 and a message: the
 * frame can hold no more.
 */
int tap_add(float **data, uint64_t on, enum tap tap, struct frame *f, int layer, int rank,
    const uint64_t *shape);

/* The same, and the tensor becomes what `from`, of the device, holds. */
int tap_copy(struct device *d, uint64_t on, enum tap tap, struct frame *f, int layer, int rank,
    const uint64_t *shape, const float *from);

/* The tap whose name is the n bytes; TAPS: there is none. */
enum tap tap_find(const char *name, size_t n);

/* The name of a tap's tensor, in the memory of to. */
char *tap_name(enum tap tap, int layer, char *to, size_t size);

#endif
