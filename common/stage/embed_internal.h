/*
 * Shared by embed.c (what arrives) and embed_batch.c (what leaves).
 */
#ifndef DS_EMBED_INTERNAL_H
#define DS_EMBED_INTERNAL_H

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
	struct embed_seq *before, *after;       /* of those alive */
	int failed;                     /* it has failed: what its input still brings of it is dropped */
	char *text;                     /* why, to be sent in slot of `free`; NULL: the end of the line knows */
	struct embed_seq **slot;       /* among those retired, or NULL */
	int dead;                       /* it failed and is no longer alive: only its name is known */
	uint64_t params_serial;         /* the last batch that had its parameters */
};

/* Errors of a sequence that ds-embed has queued and that have not come round: a sequence that begins anew under
 * the number is not what they are about. */
struct embed_echo {
	uint64_t seq;
	uint64_t n;
};

/* Of a text that came, so much is kept: fail() keeps no more of one of ours. */
#define TEXT_MAX 1023

/* A frame that arrived, alive while items of it wait. */
struct embed_source {
	struct frame f;
	int refs;
	int own;                        /* it has keys or tensors of its own: a batch by itself */
	int trace;                      /* it came round the loop with a trace */
	uint64_t bytes;                 /* as it came, 0 once a batch has counted them */
	size_t header;                  /* bytes of its header */
	struct embed_params *params;    /* [f.nseqs] ascending by name */
	char *claimed;                    /* [f.nseqs] the entry goes with rows of its sequence, or nowhere */
	int others_sent;                /* the entries that no span claims have been sent */
	uint64_t *held;                 /* counts its bytes, or NULL */
};

/* An entry of a frame's `seqs`, f.seqs[i], by the number that its sequence has there. */
struct embed_params {
	uint64_t name;
	int i;
};

/* What stages may add to a header on its way: entries of `trace`, tensors. */
#define HEADER_ROOM (64 << 10)


/* --- sequences (embed_seq.c) --- */

#define SEQ "sequence %llu"
#define LLU(n) ((unsigned long long)(n))

struct embed_seq *seq_find(const struct embed *e, uint64_t seq);
struct embed_seq *seq_named(const struct embed *e, int input, uint64_t seq);    /* also one that has failed */

/* A sequence that an input begins: under the id that it has there, or, where one
 * of another input lives under it, an id of its own.  NULL and a message. */
struct embed_seq *seq_new(struct embed *e, int input, uint64_t seq, uint32_t pos);

/* Its token has come back, or never will. */
void seq_returned(struct embed *e, struct embed_seq *s);

/* It is over: every cache lets go of it, now or when what is under way has come back.  0, or -1 and a message. */
int seq_end(struct embed *e, struct embed_seq *s);

/* The same, now. */
int seq_free(struct embed *e, struct embed_seq *s);

/* It has failed as the text says, and is let go; NULL: as the end of the line has heard.  0, or -1 and a message. */
int seq_fail(struct embed *e, struct embed_seq *s, const char *text);

/* The same, the text being what fail() keeps, with the program's name. */
int seq_refuse(struct embed *e, struct embed_seq *s);

/* The loop brings an error of the sequence: 1 it is one that ds-embed sent, 0 it is not. */
int seq_echo(struct embed *e, uint64_t seq);

/* Forget even its name. */
void seq_drop(struct embed *e, struct embed_seq *s);

/* --- queues (embed_batch.c) --- */

void embed_release(struct embed_source *s);
int embed_push(struct embed_queue *q, struct embed_item p);
void embed_drop(struct embed_queue *q);         /* forget its first item, whole */

/* Take items off the queues and queue one frame on every output: 1, or 0 where nothing may go now, or -1. */
int embed_batch(struct embed *e);

#endif
