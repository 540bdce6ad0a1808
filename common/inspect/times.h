/*
 * Reading the header key `trace`: what each stage wrote about its work on a frame.
 */
#ifndef DS_TIMES_H
#define DS_TIMES_H

#include "frame/frame.h"

struct times_stage {            /* who worked; the text is not ended by NUL */
	const char *program, *host;
	uint32_t nprogram, nhost;
	int64_t layer;                  /* -1: none */
};

struct times_entry {
	struct times_stage at;
	int64_t start, end;             /* ns since 1970 */
	uint64_t bytes;                 /* that came in */
};

/* Call fn for each entry, in order, until it fails: 0, also where the frame has no such key; -1 and a message
 * (FAIL_DATA) if the key holds something else.  Text is valid until times_read returns. */
int times_read(const struct frame *f, int (*fn)(void *arg, const struct times_entry *e), void *arg);

#endif
