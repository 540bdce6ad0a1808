/*
 * What the stages of a process keep of a forward pass until its rows come back: copies of tensors,
 * of each frame with the key `learn`, step and layer.
 */
#ifndef DS_KEEP_H
#define DS_KEEP_H

#include "base/table.h"
#include "frame/frame.h"

#define KEEP_MOST ((size_t)1 << 30)    /* bytes with what could be computed again */

struct keep {
	struct table kept;              /* id, step and layer -> struct kept */
	size_t bytes, most;             /* now, and the most there were */
};

void keep_free(struct keep *k);

/* Keep what backward needs of f, which waits for a step of the forward pass that is about to be
 * done: its spans, and those of the tensors that it has.  names ends with NULL.  Nothing if k is
 * NULL or f has no backward pass.  0, or -1 and a message. */
int keep_rows(struct keep *k, struct frame *f, const char *const *names);

/* Keep a tensor [rows][cols] F32 more of f, which keep_rows was called for: *to is its memory,
 * which the caller fills.  NULL if f is not kept, or if the process keeps KEEP_MOST bytes: then the
 * backward pass computes it again.  0, or -1 and a message. */
int keep_more(struct keep *k, const struct frame *f, const char *name, uint64_t rows,
    uint64_t cols, float **to);

/* Take out what was kept at that step of the forward pass of f, which has come back to it.  It
 * becomes the content of to, which the caller frees.  0, or -1 and a message: nothing was kept, or
 * it was of other rows. */
int keep_take(struct keep *k, const struct frame *f, enum at forward, struct frame *to);

/* -v: the most memory there was, if any. */
void keep_report(const struct keep *k);

#endif
