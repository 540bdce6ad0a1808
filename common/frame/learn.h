/*
 * Frames that teach: the key `learn` of rows, and the numbers of the control frames norm, step and
 * save (the one with a folder).
 */
#ifndef DS_FRAME_LEARN_H
#define DS_FRAME_LEARN_H

#include "frame/frame.h"

/* The value of the key `learn`.  */
struct frame_learn {
	uint64_t id;                    /* of the frame: unique in the stream */
	int score;                      /* log-probabilities only: no backward pass */
	int has_clip;
	double clip[2];                 /* epsilons of the ratio: 1 - clip[0] .. 1 + clip[1] */
	double beta;                    /* weight of the KL divergence; 0: none */
};

/* The frame's key `learn`: 1, 0 the frame has none, -1 and a message (FAIL_DATA).  */
int frame_learn(const struct frame *f, struct frame_learn *l);

/* The line of a sequence's record in its file, for messages: 0 if `learn` has no `lines`.  */
uint64_t frame_learn_line(const struct frame *f, uint64_t seq);

/* A number of a control frame: its key, its place in struct frame_step, its limits, and the set of
 * ops (bits 1 << op) that must have it.  */
struct frame_number {
	const char *key;
	size_t offset;
	double most;                    /* the least is 0: */
	int positive;                   /* 1: 0 is refused */
	unsigned ops;
};

/* Ends with a key of NULL.  */
extern const struct frame_number frame_numbers[];

static inline double
frame_number(const struct frame *f, const struct frame_number *n)
{
	return *(const double *)(const void *)((const char *)&f->step + n->offset);
}

/* 1 if the control frame has that number: a `save` has one only with gradients.  */
int frame_has_number(const struct frame *f, const struct frame_number *n);

/* 1 if two control frames of the same op have the same step, numbers and texts.  */
int frame_same_step(const struct frame *a, const struct frame *b);

/* "weights", "state", "gradients": what a `save` with a folder writes.  */
const char *save_name(enum save what);

#endif
