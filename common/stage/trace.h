/*
 * Traces: a frame with the key `trace` collects an entry from every stage that acts on it,
 * 	[program, host, layer, start, end, bytes]
 * start and end in nanoseconds of the realtime clock, layer -1 for none.  ds-frame(5) has the
 * details.
 */
#ifndef DS_TRACE_H
#define DS_TRACE_H

#include "frame/frame.h"

struct trace {
	int64_t start;          /* 0: the frame has no trace */
	int layer;
	uint64_t bytes;         /* of the frame as it came */
	const void *seen;       /* the key's value at the start */
};

/* Note when a stage begins with f.  */
struct trace trace_begin(const struct frame *f);

/* Append the entry for t if f was changed and has no newer entry.  0, or -1 and a message.  */
int trace_end(const struct trace *t, struct frame *f);

/* Append an entry that ends now.  0, or -1 and a message.  */
int trace_add(struct frame *f, int layer, int64_t start, uint64_t bytes);

/* Append the entries of from that to lacks, for frames that were processed side by side.  0, or -1
 * and a message.  */
int trace_merge(struct frame *to, const struct frame *from);

int64_t trace_now(void);

#endif
