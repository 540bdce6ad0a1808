/*
 * Shared by the files of ds-embed: embed.c (what arrives), embed_seq.c, embed_batch.c (what
 * leaves), embed_run.c.
 */
#ifndef DS_EMBED_INTERNAL_H
#define DS_EMBED_INTERNAL_H

#include "stage/embed.h"

struct embed_name {
	uint64_t seq;                   /* its id on the input */
	uint64_t input;
};

struct embed_seq {
	uint64_t seq;                   /* its id in the pipeline */
	struct embed_name name;
	uint32_t pos;                   /* its next position */
	int sampled;                    /* it has asked for a sampled row */
	uint32_t through;               /* in a ring: rows before this position have passed all
					 * layers */
	int asked;                      /* a row that waits or is in flight will be sampled */
	int in_flight;                  /* its token has not returned */
	int batch;                      /* the batch that it is in flight in */
	int cancelled;                  /* ended, and freed once all of it has returned: what
					 * returns is dropped */
	struct embed_seq *before, *after;       /* neighbours in the list of live sequences */
	int failed;                     /* what its input still brings of it is dropped */
	char *text;                     /* the cause, sent instead of `free`; NULL: ds-sample knows
					 * it */
	struct embed_seq **slot;        /* its entry in retired, or NULL */
	int dead;                       /* no longer live: only its name is known */
	uint64_t params_serial;         /* the last batch that had its parameters */
};

/* Errors of a sequence that ds-embed has sent and that have not come round the loop.  They do not
 * concern a new sequence with the same id.  */
struct embed_echo {
	uint64_t seq;
	uint64_t n;
};

/* Bytes of a message that are kept, as by fail().  */
#define TEXT_MAX 1023

/* A frame that arrived; it lives while items refer to it.  */
struct embed_source {
	struct frame f;
	int refs;
	int own;                        /* it has keys or tensors of its own, so that it shares no
					 * batch */
	int trace;                      /* the loop brought it with a trace */
	uint64_t bytes;                 /* of the whole frame; 0 once a batch has counted them */
	size_t header;                  /* bytes of its header */
	struct embed_params *params;    /* [f.nseqs] ascending by name */
	char *claimed;                  /* [f.nseqs] 1: the entry goes with rows of its sequence, or
					 * nowhere */
	int others_sent;                /* the entries that no span claims were sent */
	uint64_t *held;                 /* counts its bytes, or NULL */
};

/* An entry of a frame's `seqs`, f.seqs[i], and the id of its sequence on the input.  */
struct embed_params {
	uint64_t name;
	int i;
};

/* Bytes that stages may add to a header: entries of `trace`, tensors.  */
#define HEADER_ROOM (64 << 10)

/* --- sequences (embed_seq.c) --- */

#define SEQ "sequence %llu"
#define LLU(n) ((unsigned long long)(n))

struct embed_seq *seq_find(const struct embed *e, uint64_t seq);
/* also one that has failed */
struct embed_seq *seq_named(const struct embed *e, int input, uint64_t seq);

/* A new sequence of an input.  It keeps its id unless a live sequence of another input has it.
 * NULL and a message.  */
struct embed_seq *seq_new(struct embed *e, int input, uint64_t seq, uint32_t pos);

/* Its token has returned, or never will.  */
void seq_returned(struct embed *e, struct embed_seq *s);

/* End it: all caches free it, now or once what is in flight has returned.  0, or -1 and a
 * message.  */
int seq_end(struct embed *e, struct embed_seq *s);

/* The same, now.  */
int seq_free(struct embed *e, struct embed_seq *s);

/* It has failed with that text, and ends.  text NULL: ds-sample has sent the cause.  0, or -1 and a
 * message.  */
int seq_fail(struct embed *e, struct embed_seq *s, const char *text);

/* The same with the message that fail() keeps, prefixed with the program's name.  */
int seq_refuse(struct embed *e, struct embed_seq *s);

/* The loop brings an error of the sequence: 1 if ds-embed sent it, else 0.  */
int seq_echo(struct embed *e, uint64_t seq);

/* Drop it and its name.  */
void seq_drop(struct embed *e, struct embed_seq *s);

/* --- what arrives (embed.c) --- */

/* A frame of an input; it may be moved out of f.  0, or -1 and a message.  */
int embed_receive(struct embed *e, int input, struct frame *f);

/* --- queues (embed_batch.c) --- */

void embed_release(struct embed_source *s);
int embed_push(struct embed_queue *q, struct embed_item p);
void embed_drop(struct embed_queue *q);         /* its first item */

/* Move items from the queues to a frame, and queue that on every output: 1; 0 if nothing may be
 * sent now; -1 and a message.  */
int embed_batch(struct embed *e);

#endif
