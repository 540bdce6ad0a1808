/*
 * libzmq calls abort() if it runs out of descriptors, memory or threads. These resources are
 * checked in advance, and a remaining abort becomes a message and exit status 3.
 */
#ifndef DS_GUARD_H
#define DS_GUARD_H

/* From now on an abort inside the library that contains `function` prints one line and exits.
 * Call once, after loading it. */
void guard_aborts(void *function);

/* Check that so many descriptors, and address space for so many threads and 1 MiB, are
 * available. Returns 0, or -1 and a message. */
int guard_room(int descriptors, int threads);

#endif
