/*
 * Shared by embed.c (what arrives) and embed_batch.c (what leaves).
 */
#ifndef DS_EMBED_MEM_H
#define DS_EMBED_MEM_H

#include "stage/embed.h"

struct embed_name {
	uint64_t seq;                   /* as the input calls it */
	uint64_t input;
};

struct embed_seq {
	uint64_t seq;                   /* as the pipeline calls it */
	struct embed_name name;
	uint32_t pos;                   /* the next position that it will get */
	int sampled;                    /* it has asked for a sampled row */
	uint32_t through;               /* in a ring: the position up to which its rows have been answered */
	int asked;                      /* a row that waits or is under way is to be sampled */
	int under_way;                  /* its token has not come back */
	int batch;                      /* the one that it is under way in */
	int cancelled;                  /* to be freed when all of it has come back: what does is dropped */
};

/* A frame that arrived, alive while pieces of it wait. */
struct embed_source {
	struct frame f;
	int refs;
	int own;                        /* it has keys or tensors of its own: a batch by itself */
	int trace;                      /* it came round the loop with a trace */
	uint64_t bytes;                 /* as it came, 0 once a batch has counted them */
	int told;                       /* its `seqs` have been sent */
};

void embed_release(struct embed_source *s);
int embed_push(struct embed_queue *q, struct embed_piece p);

/* Take pieces off the queues and queue one frame on every output: 1, or 0 where nothing may go now, or -1. */
int embed_batch(struct embed *e);

#endif
