/*
 * The scheduler of ds-embed: prompts and tokens from the loop become batches.
 *
 * With several inputs the last one is the loop.  Its rows go first; prompts are admitted while
 * there is room for them.  At most e->batches batches with sampled rows are in flight; what arrives
 * meanwhile is collected.  The live sequences are spread evenly over these batches, so that with
 * one batch all sequences advance together.
 *
 * A fault of one sequence (a prompt that is too long, an id outside of the vocabulary) ends that
 * sequence: an `error` frame with its number is sent instead of its `free`.  What its input still
 * brings of it is dropped.
 *
 * Memory for prompts is bounded, whatever frames they come in; the loop is always read.
 *
 * A frame that the loop brings for another stage is forwarded before anything else.  In a ring,
 * where frames come round for each layer, ds-sample answers every span (see sample.h).  Only the
 * answer shows that the span's rows have passed all layers.  Until then the sequence is neither
 * freed nor forked, and there is no `end`.
 *
 * With --cache-size it knows the tokens of all sequences and the pages that they have in the
 * caches.  A prompt is forked from the sequence with which it has most tokens in common.  A
 * sequence that ends stays as a retained prefix.  If pages run out, retained prefixes are freed,
 * the least recently used first; then prompts wait; then the youngest sequence is preempted: the
 * caches truncate it, and later its tokens are computed again.
 *
 * A frame with the key `learn` is forwarded in its turn, undivided, and its sequences are not
 * admitted.  The loop brings it for each layer of its backward pass.  Before that is over there is
 * no `end`, and no control frame of learning is sent: a `step` follows all gradients.
 *
 * A batch gets a `trace` if e->trace is set or if a frame that brought some of its rows had one.
 * The loop's trace ends here; a prompt's is kept, like all keys that belong to its frame alone.
 */
#ifndef DS_EMBED_H
#define DS_EMBED_H

#include "attention/cache.h"
#include "stage/embed_prefix.h"
#include "stage/saved.h"
#include "stage/stage.h"

struct embed_seq;
struct embed_source;

enum embed_kind { ITEM_ROWS, ITEM_FRAME, ITEM_FREE, ITEM_FAILED };

/* An item of a queue: rows to embed, consecutive ones of one span of a source frame; a frame to
 * forward in its turn; or the end of a sequence, whose frame is made when it is sent.  */
struct embed_item {
	struct embed_source *source;    /* of ITEM_ROWS and ITEM_FRAME */
	struct span span;               /* of ITEM_ROWS; otherwise all but seq is 0 */
	uint32_t row;                   /* in the source frame */
	int params;                     /* entry of the source's `seqs` that goes with it, or -1 */
	enum embed_kind kind;
	char *text;                     /* of ITEM_FAILED; the item owns it */
	struct prefix *prefix;          /* with --cache-size: of its sequence; of a fork, that of
					 * the sequence that it copies */
};

struct embed_queue {
	struct embed_item *p;           /* [cap]; first .. n-1 wait */
	size_t first, n, cap;
	uint64_t rows;
};

/* The pages of the caches, with --cache-size (embed_kv.c).  */
struct embed_kv {
	int on;
	uint64_t size;                  /* bytes of the caches of a process */
	size_t limit;                   /* pages of each layer; 0: the stages have not answered */
	struct cache mirror;            /* the pages that the caches of a layer have */
	struct prefixes prefixes;
	struct embed_queue again;       /* items of preempted sequences, the oldest first */
	struct span *cuts;              /* [ncuts] truncations that begin the next batch */
	size_t ncuts, cuts_cap;
	size_t ending;                  /* sequences whose last token has come, but not their end */
	uint64_t begun, hits, saved;    /* prompts; forked ones, and positions */
	uint64_t dropped, preempted, again_rows;
};

/* Prefixes on disk, with --cache-dir (embed_files.c).  */
struct embed_files {
	int on;
	int stopped;                    /* something could not be saved: no more is */
	struct saved index;
	struct saved_key *saving;       /* [nsaving] of `save` frames that have not returned */
	size_t nsaving, cap;
	size_t nloading;                /* `load` frames that have not returned */
	uint64_t saved, loaded, positions;
};

/* --batches auto (embed_auto.c).  */
struct embed_auto {
	int on;
	int skip;                       /* frames of the loop until the window begins */
	double start, rate, base;       /* of the window; tokens a second in it, and with `from` */
	int frames;                     /* of the loop in the window */
	uint64_t rows, sequences, last; /* in them; the sum of live sequences; the mean before */
	int from;                       /* the number before the one on trial; 0: none is */
	int direction, failed;          /* of the next trial: 1 or -1; trials that were slower */
	int rest, pause;                /* windows without a trial: left, and in all */
};

#define EMBED_BATCHES_MAX 64
#define RETIRED_MAX 128         /* failed sequences whose names are known */

struct embed {
	const struct stage *stage;
	struct mat table;               /* [V][D] */
	struct link *in, *out;
	int nin, nout;
	int loop;                       /* index of the loop, or -1 */
	uint32_t batch;                 /* most rows of a batch */
	struct table seqs;              /* sequence id -> struct embed_seq: live sequences */
	struct embed_seq *first, *last; /* of these, in the order in which they began */
	struct table names;             /* (input, its id) -> struct embed_seq: live and retired
					 * ones */
	size_t sampling;                /* live sequences that have asked for a sampled row */
	struct batch *made;             /* memory of the one that is being made, or NULL */
	int batches;                    /* most batches in flight (1) */
	size_t away[EMBED_BATCHES_MAX]; /* of each, sequences whose token has not returned; 0: not
					 * in flight */
	struct embed_queue passing, loops, prompts;     /* passing: frames of the loop for other
							 * stages */
	uint64_t held;                  /* bytes of the frames that hold waiting prompts */
	uint64_t serial;                /* number of the batch that is being made */
	uint64_t looks;                 /* of fair_list at the queue */
	uint64_t fresh;                 /* where to look for an unused id */
	struct embed_seq *retired[RETIRED_MAX]; /* the oldest is at nretired % RETIRED_MAX */
	size_t nretired;
	struct table learning;          /* id -> struct embed_learn: frames that learn, under way */
	struct param *gradient;         /* of table, with --learn */
	struct table echoes;            /* sequence id -> struct embed_echo: sent errors that the
					 * loop will bring */
	unsigned char ended[LINKS_MAX]; /* inputs that have ended */
	int ring;                       /* frames come round for each layer */
	int trace;                      /* every batch gets a `trace` */
	int finished;                   /* the end frame has been queued */
	struct embed_kv kv;
	struct embed_auto tune;
	struct embed_files files;
};

/* 0, or -1 and a message.  in [nin] and out [nout] are open, and stay the caller's.  */
int embed_open(struct embed *e, const struct stage *s, struct link *in, int nin,
    struct link *out, int nout, uint32_t batch);

/* Run until `end` has been written and the loop has ended.  0, or -1 and a message; no error frame
 * is sent.  */
int embed_run(struct embed *e);

void embed_close(struct embed *e);

/* --cache-size: limit the KV caches, share prefixes.  After embed_open and e->ring.  0, or -1 and a
 * message (FAIL_USAGE).  */
int kv_open(struct embed *e, uint64_t size);
/* --cache-dir: save and load prefixes.  After kv_open.  0, or -1 and a message.  */
int files_open(struct embed *e, const char *dir);
void files_report(const struct embed *e);
void kv_report(const struct embed *e);          /* print what it did; nothing without kv_open */

#endif
