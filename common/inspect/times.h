/*
 * Reader of the header key `trace`, to which each stage appends its times.
 */
#ifndef DS_TIMES_H
#define DS_TIMES_H

#include "frame/frame.h"

struct times_stage {            /* not NUL-terminated */
	const char *program, *host;
	uint32_t nprogram, nhost;
	int64_t layer;                  /* -1: none */
};

struct times_entry {
	struct times_stage at;
	int64_t start, end;             /* ns since 1970 */
	uint64_t bytes;                 /* input size */
};

/* Call fn for each entry in order, until it returns -1. Returns 0, also without the key, or -1
 * and a message (FAIL_DATA if the value is invalid). Strings are valid until times_read returns. */
int times_read(const struct frame *f, int (*fn)(void *arg, const struct times_entry *e), void *arg);

#endif
