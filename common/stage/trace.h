/*
 * Time in the stream: a frame with the key `trace` collects an entry of every stage that acts on it,
 *	[program, host, layer, start, end, bytes]
 * start and end in nanoseconds of the realtime clock, layer -1 where there is none.  ds-frame(5) has
 * the details.  A frame without the key costs one look for it.
 */
#ifndef DS_TRACE_H
#define DS_TRACE_H

#include "frame/frame.h"

struct trace {
	int64_t start;          /* 0: nobody asked */
	int layer;
	uint64_t bytes;         /* of the frame as it came */
	const void *seen;       /* the key's value at the start */
};

/* Note when work on f begins. */
struct trace trace_begin(const struct frame *f);

/* Append the entry of what trace_begin noted, if f has been changed and nobody has appended one
 * meanwhile.  0, or -1 and a message. */
int trace_end(const struct trace *t, struct frame *f);

/* Append an entry: whatever f has by now, ended now. */
int trace_add(struct frame *f, int layer, int64_t start, uint64_t bytes);

/* to gets the entries of from that it lacks: both went side by side.  0, or -1 and a message. */
int trace_merge(struct frame *to, const struct frame *from);

int64_t trace_now(void);

#endif
