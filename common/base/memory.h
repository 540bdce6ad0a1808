/*
 * How much memory there is.
 */
#ifndef DS_MEMORY_H
#define DS_MEMORY_H

#include <stdint.h>

/* Bytes of memory available to a process: of the machine, and of each control group that it is
 * in; 0: unknown. */
uint64_t memory_free(void);

/* Bytes of memory of the machine, or of the smallest of these groups; 0: unknown. */
uint64_t memory_all(void);

/* The same, from files below `root` instead of "/": for tests. */
uint64_t memory_free_below(const char *root);
uint64_t memory_all_below(const char *root);

#endif
