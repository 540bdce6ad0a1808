/*
 * libzmq ends the program by abort() where it runs out of descriptors, memory or threads.  What it is about to take is
 * therefore asked for here first, and an abort that happens all the same becomes a message and exit status 3.
 */
#ifndef DS_GUARD_H
#define DS_GUARD_H

/* Aborts of the library that has this function end the program with one line.  Called once, when it has been loaded. */
void guard_aborts(void *function);

/* Are there so many descriptors, and address space for so many threads and 1 MiB more?  0, or -1 and a message. */
int guard_room(int descriptors, int threads);

#endif
