/*
 * Shared by the files of ds-sample: what a frame of logits yields.
 */
#ifndef DS_SAMPLE_INTERNAL_H
#define DS_SAMPLE_INTERNAL_H

#include "stage/sample.h"
#include "stage/trace.h"

struct freed {
	uint64_t seq;
	const char *reason;             /* NULL: not asked for */
};

/* What a frame yields: ids of new tokens, and with --draft of all rows that count.  */
struct tokens {
	struct span *spans;
	int32_t *ids;
	int32_t *from;                  /* the row of the frame that an id is of; -1: it is new */
	float *logprobs;                /* [nids]; NaN: not asked for */
	int has_logprobs;               /* 1: one of them is not NaN */
	struct freed *freed;
	int n, nids, nfreed;
};

/* Send what f has yielded in one frame, then `free` for the sequences that ended.  0, or -1 and a
 * message.  */
int sample_send(const struct sample *s, struct frame *f, const struct tokens *t,
    const struct trace *trace, struct link *out, int nout);

#endif
