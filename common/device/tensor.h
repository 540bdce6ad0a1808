/*
 * Tensors of frames in the GPU.
 *
 * What a stage leaves in the GPU stays there until the host reads it (frame_require, or the frame
 * is sent), so that stages of one process hand a frame on without copying. Every tensor name has
 * one slot in the GPU, which stays where it is as long as it is large enough: of all frames with a
 * tensor of that name one at a time is computed. To use an overwritten tensor is an error.
 *
 * On the host a slot has two buffers of pinned memory. While a frame is being written
 * (stage/write_behind.h) its tensors stay in one, and device->turn names the other.
 */
#ifndef DS_DEVICE_TENSOR_H
#define DS_DEVICE_TENSOR_H

#include "frame/frame.h"
#include "device/device.h"

/* f's tensor in the GPU, of that dtype and shape as for frame_require, copied there if its newest
 * data are the host's. It may be written to, then device_wrote. NULL and a message. */
void *device_tensor(struct device *d, struct frame *f, const char *name, enum dtype dtype,
    uint64_t rows, uint64_t cols);

/* What device_tensor gave has been written to, or will be by what is on the stream: the newest
 * data are there. */
void device_wrote(struct frame *f, const char *name);

/* A new tensor (an old one of the name is dropped) whose data the GPU makes: where. NULL and a
 * message. On the host they are in pinned memory, once somebody has asked for them, until a
 * tensor of this name in another frame comes or goes in the same turn. */
void *device_add(struct device *d, struct frame *f, const char *name, enum dtype dtype, int rank,
    const uint64_t *shape);

/* Where in the GPU the newest data of t are (t->fetch is set). */
const void *device_where(const struct tensor *t);

void device_slots_free(struct device *d);       /* part of device_close */

#endif
