/*
 * What the stages of a process keep of a forward pass until its rows come back: copies of tensors,
 * of each frame with the key `learn`, step and layer.
 */
#ifndef DS_KEEP_H
#define DS_KEEP_H

#include "base/table.h"
#include "frame/frame.h"

struct keep {
	struct table kept;              /* id, step and layer -> struct kept */
	size_t bytes, most;             /* now, and the most there were */
};

void keep_free(struct keep *k);

/* Keep what backward needs of f, which waits for a step of the forward pass that is about to be
 * done: its spans, and those of the tensors that it has.  names ends with NULL.  Nothing if k is
 * NULL or f has no backward pass.  0, or -1 and a message. */
int keep_rows(struct keep *k, struct frame *f, const char *const *names);

/* Take out what was kept at that step of the forward pass of f, which has come back to it.  It
 * becomes the content of to, which the caller frees.  0, or -1 and a message: nothing was kept, or
 * it was of other rows. */
int keep_take(struct keep *k, const struct frame *f, enum at forward, struct frame *to);

/* -v: the most memory there was, if any. */
void keep_report(const struct keep *k);

#endif
