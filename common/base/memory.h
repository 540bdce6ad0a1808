/*
 * How much memory there is.
 */
#ifndef DS_MEMORY_H
#define DS_MEMORY_H

#include <stdint.h>

/* Bytes of memory available to a process: of the machine and its control group; 0: unknown. */
uint64_t memory_free(void);

/* Bytes of memory of the machine, or of its control group. */
uint64_t memory_all(void);

#endif
