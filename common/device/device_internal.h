/*
 * What the files of this folder share.
 */
#ifndef DS_DEVICE_MEM_H
#define DS_DEVICE_MEM_H

#include "device/device.h"

/* Bytes that are wanted in the GPU, and whose address there is to be known in one place. */
struct device_part {
	const void *host;
	size_t bytes;
	void *slot;                     /* where the pointer to them stands */
	int own;                        /* host was allocated, and is freed once they are there */
	size_t piece, at;               /* where they come to be */
};

struct device_piece {
	void *p;
	size_t bytes;
};

/* The library's table.  0, or -1 and a message without the device's name. */
int gpu_load(const struct gpu_lib **lib);

/* Give each part its place in a piece, and add up weights: 0, or -1 and a message. */
int parts_place(struct device *d);

/* Part i is the same memory as the one before it (once they have their places). */
int part_again(const struct device *d, size_t i);

/* Allocate the pieces and put all parts there: 0, or -1 and a message; the slots are not touched. */
int parts_upload(struct device *d);

#endif
