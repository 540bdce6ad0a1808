/*
 * Taps of what is in the GPU.
 */
#ifndef DS_TAP_GPU_H
#define DS_TAP_GPU_H

#include "stage/stage.h"

/* As tap_add; if the tap is on, its tensor gets what `from`, in the GPU, holds when the stream has come to here, which
 * is waited for.  0, or -1 and a message. */
int tap_gpu_copy(const struct stage *s, enum tap tap, struct frame *f, int layer, int rank, const uint64_t *shape,
    const float *from);

#endif
