/*
 * Small arrays of the host's that the GPU reads and that hardly change from one batch to the
 * next: page tables, positions. The device has a copy, and only what differs is sent there.
 */
#ifndef DS_MIRROR_H
#define DS_MIRROR_H

#include "device/device.h"

struct mirror {
	/* in the GPU: stays where it is while what is mirrored fits (device->moves) */
	void *p;
	void *host;             /* what is there, pinned */
	size_t n, cap;          /* bytes */
	uint64_t waits;         /* d->waits when some was sent last */
};

/* What is at p begins with these n bytes from here on in the stream: 1, or 0 where it did
 * already, or -1 and a message. Waits for the device only where two changes meet no device_wait
 * between them. */
int mirror_set(struct device *d, struct mirror *m, const void *data, size_t n);
void mirror_free(struct device *d, struct mirror *m);

#endif
