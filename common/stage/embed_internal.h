/*
 * Shared by the files of ds-embed: embed.c (what arrives), embed_seq.c, embed_queue.c,
 * embed_kv.c, embed_admit.c, embed_fair.c, embed_batch.c (what leaves), embed_run.c.
 */
#ifndef DS_EMBED_INTERNAL_H
#define DS_EMBED_INTERNAL_H

#include "frame/learn.h"
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
	int request;                    /* it answers a request */
	uint64_t look;                  /* the last fair_list that has met it */
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
	struct prefix *prefix;          /* its tokens, with --cache-size */
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

uint64_t seq_fresh(struct embed *e);    /* an id that no sequence has */

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

/* An error of the sequence was queued, and will come round.  0, or -1 and a message.  */
int seq_expect_echo(struct embed *e, uint64_t seq);

/* Drop it and its name.  */
void seq_drop(struct embed *e, struct embed_seq *s);

/* --- pages and prefixes (embed_kv.c, embed_admit.c); most do nothing without --cache-size --- */

void kv_close(struct embed *e);

/* Queue the frame that asks the stages for their limit; it has come back.  0, or -1 and a
 * message.  */
int kv_start(struct embed *e);
int kv_limit(struct embed *e, const struct frame *f);

/* A new sequence; it begins with the first n tokens of another one; n tokens arrive, from `row` of
 * the source on.  0, or -1 and a message.  */
int kv_seq(struct embed *e, struct embed_seq *s);
int kv_copy(struct embed_seq *to, const struct embed_seq *from, uint32_t n);
int kv_tokens(struct embed_seq *s, const struct embed_source *src, uint32_t row, uint32_t pos,
    uint32_t n);

/* Its last token has come, so that its end follows: 1; its end has come: 0.  */
void kv_ending(struct embed *e, struct embed_seq *s, int ending);

int kv_is_retained(const struct embed *e, uint64_t seq);

/* The item that ends a sequence is about to be sent; frees p->prefix.  0, or -1 and a message.  */
int kv_end(struct embed *e, const struct embed_item *p);

/* A frame that is forwarded.  If it forks more than the caches have now, it is changed.  1: send
 * it, 0: do not, -1 and a message.  */
int kv_forked(struct embed *e, struct frame *f);

/* Before a batch, e->serial new: queue forks and frees, choose sequences to preempt, and prompts
 * that may begin.  0, or -1 and a message.  */
int kv_prepare(struct embed *e);

/* Of the batch that is being made: may the item of that queue join it; how many rows of the span
 * have pages; how many rows before the item the caches have lost.  */
int kv_admitted(const struct embed *e, const struct embed_item *p, const struct embed_queue *q);
uint32_t kv_room(const struct embed *e, const struct span *p);
uint32_t kv_lost(const struct embed *e, const struct embed_item *p);

/* The span joins it.  0, or -1 and a message.  */
int kv_append(struct embed *e, const struct span *p);

/* --- prefixes on disk (embed_files.c); nothing without --cache-dir --- */

void files_close(struct embed *e);

/* The caches are about to release x, whose first n tokens they hold: save these.  0, or -1 and a
 * message.  */
int files_save(struct embed *e, const struct prefix *x, uint32_t n);

/* How many of ids [n], from the first on, are saved, and under which key; 0: none.  */
uint32_t files_find(const struct embed *e, const int32_t *ids, uint32_t n, struct saved_key *key);

/* Have ids [n] loaded as a retained prefix.  The mirror has its pages at once.  0, or -1 and a
 * message.  */
int files_load(struct embed *e, const struct saved_key *key, const int32_t *ids, uint32_t n);

/* A `save` or `load` has come round the loop.  0, or -1 and a message.  */
int files_returned(struct embed *e, struct frame *f);

/* --- what arrives (embed.c) --- */

/* A frame of an input; it may be moved out of f.  0, or -1 and a message.  */
int embed_receive(struct embed *e, int input, struct frame *f);

/* Queue the frame, to be forwarded in its turn.  prefix: that of a fork's source, or NULL.  */
int embed_push_frame(struct embed *e, int input, struct embed_queue *q, struct frame *f,
    struct prefix *prefix);

/* --- frames that learn (embed_learn.c, embed_back.c) --- */

/* A frame with that key `learn` has come.  0, or -1 and a message.  */
int embed_learn_receive(struct embed *e, int input, struct frame *f, const struct frame_learn *l);

/* Before a frame of the driver is sent: embed its rows, or act on a control frame of learning.
 * Others are left alone.  0, or -1 and a message.  */
int embed_learn_begin(struct embed *e, struct frame *f);
void embed_learn_free(struct embed *e);

/* The gradient of the embeddings of a frame at embed.back, which moves on.  0, or -1 and a
 * message.  */
int embed_back(struct embed *e, struct frame *f);

/* --- the number of batches (embed_auto.c) --- */

/* A frame of the loop with that many new tokens has come: with --batches auto e->batches may
 * change.  */
void auto_returned(struct embed *e, int rows);

/* --- queues (embed_queue.c) --- */

void embed_release(struct embed_source *s);
int embed_push(struct embed_queue *q, struct embed_item p);
int embed_unshift(struct embed_queue *q, struct embed_item p);  /* moved from another queue */
void embed_drop(struct embed_queue *q);         /* its first item */

/* Drop the first n rows of item i, and the item with its last row.  */
void embed_pop(struct embed_queue *q, size_t i, uint32_t n);

/* --- prompts that overtake a long one (embed_fair.c) --- */

#define FAIR_MAX 16

/* Rows, of `room` that the batch has left for prompts, that the first prompt leaves to others.  */
uint32_t fair_rows(const struct embed *e, uint64_t room);

/* 1 if more prompts should be read.  */
int fair_reads(const struct embed *e);

/* Indices of items of e->prompts that may overtake the first, by rows ascending; their number.  */
int fair_list(struct embed *e, size_t list[FAIR_MAX]);

/* --- what leaves (embed_batch.c) --- */

int embed_queue_all(struct embed *e, struct frame *f);  /* on every output */

/* Most sampled sequences of a batch, so that each of several batches gets its share.  */
size_t embed_share(const struct embed *e);

/* Move items from the queues to a frame, and queue that on every output: 1; 0 if nothing may be
 * sent now; -1 and a message.  */
int embed_batch(struct embed *e);

#endif
