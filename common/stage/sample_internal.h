/*
 * Shared by the files of ds-sample: sequences, and what a frame of logits yields.
 */
#ifndef DS_SAMPLE_INTERNAL_H
#define DS_SAMPLE_INTERNAL_H

#include "stage/sample.h"
#include "stage/think.h"
#include "stage/trace.h"

/* A sequence with sampled rows.  */
struct sample_seq {
	uint64_t seq;
	struct sampling p;
	struct think think;
	uint32_t n;                     /* new tokens so far */
	int stopped;                    /* 1: its last token is one that ends it */
	int failed;                     /* 1: it is not sampled any more */
	char *why;                      /* the cause, if it must still be sent, or NULL */
};

void sample_seq_free(struct sample_seq *q);

/* The sequence, which is added if it is new.  NULL and a message.  */
struct sample_seq *sample_seq_find(struct sample *s, uint64_t seq);
void sample_seq_forget(struct sample *s, uint64_t seq);

/* The sequence fails with the message that fail() keeps; the others go on.  0, or -1 and a
 * message.  */
int sample_seq_refuse(struct sample_seq *q);

/* Read the parameters of a frame's sequences.  0, or -1 and a message.  */
int sample_seq_read(struct sample *s, const struct frame *f);

/* Keep the tokens of a span, whose first row in the frame is `row`, if the sequence counts some of
 * its prompt as new.  0, or -1 and a message.  */
int sample_seq_keep(struct sample *s, struct frame *f, const struct span *at, int32_t row);

/* Sample the token after a span into *to, *id and *logprob, NaN if the sequence asks for none.
 * logits [V] are the same afterwards.  1; 0 if the sequence ends without one; -1 and a message.  */
int sample_seq_next(struct sample *s, struct sample_seq *q, const struct span *at, float *logits,
    struct span *to, int32_t *id, float *logprob);

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
