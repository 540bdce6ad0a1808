/*
 * Shared by the files of this folder.
 */
#ifndef DS_DEVICE_INTERNAL_H
#define DS_DEVICE_INTERNAL_H

#include "device/device.h"

/* Registered bytes, and the pointer that becomes their address in the GPU. */
struct device_weight {
	const void *host;
	size_t bytes;
	void *slot;                     /* the pointer */
	int own;                        /* host was allocated, and is freed once they are there */
	size_t slab, at;                /* where in the slabs they go */
};

struct device_slab {
	void *p;
	size_t bytes;
};

/* The library's table.  0, or -1 and a message without the device's name. */
int gpu_load(const struct gpu_lib **lib);

/* Lay the registered weights out in slabs, and add up d->weights: 0, or -1 and a message. */
int weights_layout(struct device *d);

/* Weight i is the same memory as the one before it (once they are laid out). */
int weight_again(const struct device *d, size_t i);

/* Allocate the slabs and copy all weights there: 0, or -1 and a message; the pointers are not
 * changed. */
int weights_upload(struct device *d);

/* The registered weights are in the slabs now: set the pointers to them. */
void weights_moved(struct device *d);

/* Copy the registered weights to huge pages, if the system has them: 1; 0 after a warning that
 * they stay where they are, or if there are none; -1 and a message. */
int huge_start(struct device *d);
void huge_free(struct device *d);

/* ops_cuda's page: cut from a larger allocation.  NULL and a message. */
void *device_page(struct device *d, size_t bytes);

#endif
